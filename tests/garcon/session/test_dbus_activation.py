"""D-Bus activation against a real bus that starts a real service (Desktop Entry Specification)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from garcon.desktop.desktop_entry import DesktopEntry, parse_desktop_entry
from garcon.session.failures import ApplicationFailure, FailureWatch
from garcon.session.launch_plan import CannotLaunch
from garcon.session.launcher import Launcher
from garcon.session.programs import Programs
from guestlink import bus_strings, user_manager
from guestlink.bus import BusError, SessionBus
from guestlink.user_manager import UserManager
from support.needs import need

SERVICE = """
import asyncio, json, os, sys, time
from dbus_fast.aio import MessageBus
from dbus_fast.constants import MessageType
from dbus_fast.message import Message

async def main():
    bus = await MessageBus().connect()
    done = asyncio.Event()

    def handle(message):
        if message.message_type is MessageType.METHOD_CALL and message.interface == "org.freedesktop.Application":
            while len(sys.argv) > 3 and not os.path.exists(sys.argv[3]):
                time.sleep(0.01)
            plain = lambda part: {k: v.value for k, v in part.items()} if isinstance(part, dict) else part
            body = [plain(part) for part in message.body]
            with open(sys.argv[2], "w") as stream:
                json.dump([message.path, message.member, body], stream)
            bus.send(Message.new_method_return(message)).add_done_callback(lambda _: done.set())
            return True  # answered

    bus.add_message_handler(handle)
    await bus.request_name(sys.argv[1])
    await done.wait()

asyncio.run(main())
"""

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={path}/bus</listen><servicedir>{path}/services</servicedir>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy></busconfig>
"""


@pytest.fixture
def bus_address(tmp_path: Path) -> Iterator[str]:
    need("dbus-daemon", packages="dbus")
    (tmp_path / "services").mkdir()
    (tmp_path / "service.py").write_text(SERVICE)
    words = [sys.executable, f"{tmp_path}/service.py", "org.example.Active", f"{tmp_path}/called"]
    _add_service(tmp_path, "org.example.Active", " ".join(words))
    (tmp_path / "session.conf").write_text(CONFIG.format(path=tmp_path))
    argv = ["dbus-daemon", f"--config-file={tmp_path}/session.conf", "--nofork", "--print-address"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        yield daemon.stdout.readline().strip()
        daemon.send_signal(signal.SIGTERM)


class EntryFinder:
    """The same desktop file for every id."""

    def __init__(self, keys: str) -> None:
        self._entry = parse_desktop_entry(f"[Desktop Entry]\nType=Application\nName=N\n{keys}".encode())

    def find(self, desktop_file_id: str) -> tuple[str, DesktopEntry]:
        if desktop_file_id == "missing":
            raise CannotLaunch("Desktop file does not exist")
        return "/x.desktop", self._entry


async def _launch(address: str, keys: str, desktop_file_id: str, files: Sequence[str] = ()) -> str:
    async with _launcher(address, keys) as (launcher, _programs):
        return await launcher.launch(desktop_file_id, files)


@contextlib.asynccontextmanager
async def _launcher(address: str, keys: str) -> AsyncIterator[tuple[Launcher, Programs]]:
    bus = SessionBus(address)
    programs = Programs(UserManager(bus), {"PATH": "/usr/bin:/bin", "HOME": "/"})
    launcher = Launcher(EntryFinder(keys), programs, bus)
    try:
        yield launcher, programs
        async with asyncio.timeout(60):
            while programs.detached or launcher.starting:
                await asyncio.sleep(0.01)
    finally:
        await launcher.close()
        await bus.close()
        await programs.close()


def _add_service(directory: Path, name: str, command: str) -> None:
    (directory / "services" / f"{name}.service").write_text(f"[D-BUS Service]\nName={name}\nExec={command}\n")


async def test_an_activatable_application_is_activated(bus_address: str, tmp_path: Path) -> None:
    keys = "Exec=/nonexistent\nDBusActivatable=true\nStartupNotify=true\n"
    assert await _launch(bus_address, keys, "org.example.Active") == ""
    platform = {"desktop-startup-id": "org.example.Active", "activation-token": "org.example.Active"}
    assert json.loads((tmp_path / "called").read_text()) == ["/org/example/Active", "Activate", [platform]]


async def test_files_are_opened_as_urls(bus_address: str, tmp_path: Path) -> None:
    keys = "Exec=/nonexistent\nDBusActivatable=true\n"
    assert await _launch(bus_address, keys, "org.example.Active", ["/a b", "https://x"]) == ""
    _path, member, body = json.loads((tmp_path / "called").read_text())
    assert (member, body) == ("Open", [["file:///a%20b", "https://x"], {}])


async def test_texts_are_sent_whole_whatever_the_library_counts(
    bus_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_strings, "_miscounts", lambda: True)
    keys = "Exec=/nonexistent\nDBusActivatable=true\nStartupNotify=true\n"
    assert await _launch(bus_address, keys, "org.example.Active", ["https://x/é€😀", "/ü"]) == ""
    _path, _member, body = json.loads((tmp_path / "called").read_text())
    assert body[0] == ["https://x/é€😀", "file:///%C3%BC"]


async def test_without_a_service_the_exec_line_is_the_way(bus_address: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert await _launch(bus_address, f"Exec=touch {mark}\nDBusActivatable=true\n", "org.example.Unknown") == ""
    assert mark.exists()


async def test_a_slow_application_holds_nobody_up_and_is_started_once(bus_address: str, tmp_path: Path) -> None:
    mark, go, called = tmp_path / "mark", tmp_path / "go", tmp_path / "called"
    words = [sys.executable, f"{tmp_path}/service.py", "org.example.Slow", str(called), str(go)]
    _add_service(tmp_path, "org.example.Slow", " ".join(words))
    async with _launcher(bus_address, f"Exec=touch {mark}\nDBusActivatable=true\n") as (launcher, programs):
        assert await launcher.launch("org.example.Slow", []) == ""
        assert launcher.starting == 1
        assert not go.exists(), "the application has not answered: it waits for this file"
        go.touch()
        async with asyncio.timeout(60):
            while not called.exists() or launcher.starting:
                await asyncio.sleep(0.01)
        assert programs.detached == 0
    assert not mark.exists()


async def test_an_application_that_cannot_be_activated_after_all_is_executed(
    bus_address: str, tmp_path: Path
) -> None:
    mark, go = tmp_path / "mark", tmp_path / "go"
    _add_service(tmp_path, "org.example.Late", f"/bin/sh -c 'until [ -e {go} ]; do sleep 0.01; done; exit 1'")
    async with _launcher(bus_address, f"Exec=touch {mark}\nDBusActivatable=true\n") as (launcher, _programs):
        assert await launcher.launch("org.example.Late", []) == ""
        assert not mark.exists()
        go.touch()
        async with asyncio.timeout(60):
            while not mark.exists():
                await asyncio.sleep(0.01)


async def test_an_application_that_cannot_be_started_after_all_is_reported(
    bus_address: str, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    _add_service(tmp_path, "org.example.Late", f"/bin/sh -c 'until [ -e {go} ]; do sleep 0.01; done; exit 1'")
    reported: asyncio.Queue[ApplicationFailure] = asyncio.Queue()
    keys = "Exec=no-such-program\nDBusActivatable=true\n"
    async with _launcher(bus_address, keys) as (launcher, _programs):
        bus = SessionBus(bus_address)
        failures = FailureWatch(UserManager(bus), EntryFinder(keys).find, reported.put)
        launcher.report_failures(failures, 0.0)
        assert await launcher.launch("org.example.Late", []) == ""
        assert reported.empty()
        go.touch()
        async with asyncio.timeout(60):
            failure = await reported.get()
        await failures.close()
        await bus.close()
    assert failure == ApplicationFailure("org.example.Late", detail="there is no program no-such-program")


async def test_an_application_that_takes_the_call_and_ends_is_not_started_again(
    bus_address: str, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "crash.py").write_text(
        SERVICE.replace("            plain =", "            os._exit(1)\n            plain =")
    )
    words = [sys.executable, f"{tmp_path}/crash.py", "org.example.Crash", f"{tmp_path}/called"]
    _add_service(tmp_path, "org.example.Crash", " ".join(words))
    # Python starts slowly, so the service may crash before or after the launcher stops waiting: both answers are
    # right.
    async with _launcher(bus_address, f"Exec=touch {mark}\nDBusActivatable=true\n") as (launcher, programs):
        said = await launcher.launch("org.example.Crash", [])
        assert said in ("", "org.example.Crash accepted the call over D-Bus and exited without an answer")
        async with asyncio.timeout(60):
            while launcher.starting:
                await asyncio.sleep(0.01)
        assert programs.detached == 0
    assert not mark.exists()


async def test_a_manager_that_does_not_answer_starts_nothing_twice(
    bus_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    manager = await MessageBus(bus_address=bus_address).connect()

    def answer(message: Message) -> Message | bool:
        if message.message_type is not MessageType.METHOD_CALL:
            return False
        if message.member == "StartTransientUnit":
            return True  # True: handled without a reply.
        if message.member == "Get":
            return Message.new_method_return(message, "v", [Variant("as", [])])
        return Message.new_method_return(message)

    manager.add_message_handler(answer)
    await manager.request_name("org.freedesktop.systemd1")
    async with _launcher(bus_address, f"Exec=touch {mark}\n") as (launcher, programs):
        monkeypatch.setattr(user_manager, "_TIMEOUT", 1.0)
        assert "cannot tell whether systemd starts it" in await launcher.launch("org.example.Any", [])
        assert programs.detached == 0
    manager.disconnect()
    assert not mark.exists()


@pytest.mark.parametrize(("result", "expected"), [("oom-kill", [("", 0, 9, "out of memory")]), ("success", [])])
async def test_a_program_that_systemd_has_stopped_for_memory_is_a_failure_however_it_exits(
    bus_address: str, result: str, expected: list[tuple[str, int, int, str]]
) -> None:
    """systemd stops a service of which the kernel kills a process for memory; this program handles SIGTERM."""
    systemd = await MessageBus(bus_address=bus_address).connect()

    def signal_from(path: str, interface: str, member: str, signature: str, body: list[object]) -> None:
        systemd.send(
            Message(
                message_type=MessageType.SIGNAL,
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=body,
            )
        )

    def answer(message: Message) -> Message | bool:
        if message.message_type is not MessageType.METHOD_CALL or message.member != "StartTransientUnit":
            return message.message_type is MessageType.METHOD_CALL and Message.new_method_return(message)
        base, service = "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Service"
        path = base + "/unit/" + "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in message.body[0])
        job = [1, f"{base}/job/1", message.body[0], "done"]
        signal_from(base, "org.freedesktop.systemd1.Manager", "JobRemoved", "uoss", job)
        ended = {"ExecMainCode": Variant("i", 1), "ExecMainStatus": Variant("i", 0), "Result": Variant("s", result)}
        signal_from(path, "org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as", [service, ended, []])
        return Message.new_method_return(message, "o", [job[1]])

    systemd.add_message_handler(answer)
    await systemd.request_name("org.freedesktop.systemd1")
    bus = SessionBus(bus_address)
    manager = UserManager(bus)
    reported: asyncio.Queue[ApplicationFailure] = asyncio.Queue()
    failures = FailureWatch(manager, EntryFinder("").find, reported.put)
    unit = await manager.start_service("org.example.Any", ["/bin/true"], {}, "/")
    done = asyncio.Event()

    async def end(limit: float | None) -> int | None:
        try:
            return await manager.end_of(unit, limit)
        finally:
            asyncio.get_running_loop().call_soon(done.set)  # After the report, which waits for nothing.

    failures.watch("", end, unit, own_status=True)
    await done.wait()
    await failures.close()
    assert [tuple(reported.get_nowait()) for _ in range(reported.qsize())] == expected
    await bus.close()
    systemd.disconnect()


async def test_a_bus_that_is_not_there_is_an_error_not_a_wait(tmp_path: Path) -> None:
    bus = SessionBus(f"unix:path={tmp_path}/none")
    with pytest.raises(BusError) as caught:
        await bus.call("org.example", "/", "org.example", "Member")
    assert caught.value.nobody_there


async def test_the_reason_comes_back(bus_address: str) -> None:
    assert await _launch(bus_address, "Exec=x\n", "missing") == "Desktop file does not exist"
    assert "no program" in await _launch(bus_address, "Exec=no-such-program\n", "there")

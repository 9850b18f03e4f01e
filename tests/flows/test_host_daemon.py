"""guestlink-host as a real process: who may run it, how it stops, and which files remain after a kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from support.fake_garcon import FakeGarcon, application, png
from support.loopback import free_address
from support.stage import CHECKOUT, Stage, stage

HOST_PAGE = (CHECKOUT / "docs/host.md").read_text()


@pytest.fixture
def rig() -> Iterator[Stage]:
    with stage("demo") as made:
        yield made


def carried(rig: Stage, name: str = "demo") -> Path:
    return Path(rig.host_environ["XDG_RUNTIME_DIR"], "guestlink-host", "containers", name)


def test_a_second_daemon_says_that_one_runs_and_disturbs_nothing(rig: Stage) -> None:
    first = rig.start_host()
    rig.host("add", "demo")
    second = rig.host("serve", check=False)
    assert second.returncode == 1
    assert "guestlink-host is running already" in second.stderr
    assert "guestlink-host status" in second.stderr
    assert "guestlink-host serve --replace" in second.stderr
    assert first.poll() is None
    assert rig.host_json("status")["pid"] == first.pid
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(carried(rig) / "listener.sock"))
    assert rig.stop("host") == 0


def test_a_daemon_takes_the_place_of_the_one_of_an_earlier_session(rig: Stage) -> None:
    first = rig.start_host()
    rig.host("add", "demo")
    second = rig.start("second", [sys.executable, "-m", "guestlink_host", "serve", "--replace"], rig.host_environ)
    assert first.wait(60) == 0
    rig.wait("the second one answers", lambda: "guestlink-host serves in" in rig.log("second").read_text())
    assert rig.host_json("status")["pid"] == second.pid
    assert [entry["name"] for entry in rig.host_json("list")] == ["demo"]


@pytest.mark.slow
def test_the_start_up_file_of_a_window_manager_can_run_it(rig: Stage) -> None:
    """docs/host.md's command in a shell's background: Ctrl-C does not reach it; it runs until the shell exits."""
    [command] = re.findall(r"Without systemd the start-up file runs `(guestlink-host serve.* &)`", HOST_PAGE)
    shell = rig.start("shell", ["sh", "-c", f"{command} echo $! > {rig.root}/number; wait"], rig.host_environ)
    rig.wait("it says where it serves", lambda: "guestlink-host serves in" in rig.log("shell").read_text())
    number = int((rig.root / "number").read_text())
    assert rig.host_json("status")["pid"] == number
    os.kill(number, signal.SIGINT)
    rig.host("add", "demo")
    os.kill(number, signal.SIGHUP)
    assert shell.wait(60) == 0
    assert "Traceback" not in rig.logs()


def test_of_many_daemons_started_at_once_one_survives(rig: Stage) -> None:
    argv = [sys.executable, "-m", "guestlink_host", "serve"]
    for number in range(6):
        rig.start(f"host-{number}", argv, rig.host_environ)
    rig.wait("one answers", lambda: rig.host("status", check=False).returncode == 0)
    rig.wait("the others end", lambda: sum(p.poll() is None for p in rig.processes.values()) == 1)
    assert sorted(str(process.poll()) for process in rig.processes.values()) == ["1"] * 5 + ["None"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_is_clean(rig: Stage, number: int) -> None:
    rig.start_host()
    rig.host("add", "demo")
    assert rig.stop("host", number) == 0
    assert not (carried(rig) / "listener.sock").exists()
    assert not (carried(rig).parents[1] / "control.sock").exists()
    assert "Traceback" not in rig.logs()


def test_readiness_and_status_reach_the_service_manager(rig: Stage) -> None:
    path = rig.root / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(60)
        rig.host_environ["NOTIFY_SOCKET"] = str(path)
        rig.start_host()
        del rig.host_environ["NOTIFY_SOCKET"]
        seen: list[bytes] = []
        while b"READY=1" not in seen:
            seen.append(manager.recv(4096))
        assert b"STATUS=0 of 0 containers registered" in seen
        rig.host("add", "demo")
        assert manager.recv(4096) == b"STATUS=0 of 1 containers registered"
        rig.stop("host")
        assert manager.recv(4096) == b"STOPPING=1"


def test_the_opener_outlives_the_daemon(rig: Stage) -> None:
    record = rig.root / "pid"
    opener = rig.root / "opener"
    opener.write_text(f"#!/bin/sh\necho $$ > {record}.new; mv {record}.new {record}; exec sleep 600\n")
    opener.chmod(0o755)
    rig.host_environ["GUESTLINK_HOST_OPENER"] = str(opener)
    rig.start_host()
    rig.host("add", "demo")
    asyncio.run(_open_url(carried(rig)))
    rig.wait("the opener runs", record.exists)
    opened = psutil.Process(int(record.read_text()))
    try:
        assert rig.stop("host") == 0
        assert opened.is_running()
    finally:
        opened.kill()


async def _open_url(directory: Path) -> None:
    guest = FakeGarcon(directory)
    try:
        await guest.register()
        await guest.call("OpenUrl", url="https://example.org/")
    finally:
        await guest.close()


def _whole(path: Path) -> bool:
    """Whether a launcher is complete: its last line is the last line that guestlink-host writes."""
    return path.read_text().splitlines()[-1].startswith("X-Guestlink-Id=")


async def _publish(directory: Path, names: list[str]) -> None:
    guest = FakeGarcon(directory)
    guest.icons = {name: (False, png(48)) for name in names}
    try:
        await guest.register()
        await guest.publish(*(application(name) for name in names))
        while True:
            await asyncio.sleep(3600)
    finally:
        await guest.close()


@pytest.mark.slow
def test_sigkill_in_the_middle_of_an_update_leaves_only_whole_files_and_the_next_run_completes_them(
    rig: Stage,
) -> None:
    """Six kills, each at a different moment of an update of 1,000 launchers with icons."""
    asyncio.run(_kill_in_the_middle(rig))
    applications = Path(rig.host_environ["XDG_DATA_HOME"], "applications")
    assert rig.stop("host") == 0
    rig.start_host()
    rig.host("remove", "demo")
    data = Path(rig.host_environ["XDG_DATA_HOME"])
    assert not [path for path in data.rglob("*guestlink-*") if path.is_file()]
    # update-desktop-database may still be running, with a temporary file.
    rig.wait("no launcher", lambda: all(path.name == "mimeinfo.cache" for path in applications.iterdir()))
    state = Path(rig.host_environ["XDG_STATE_HOME"], "guestlink-host")
    rig.wait("no list", lambda: _names(state) == ["containers.json"])
    assert rig.stop("host") == 0


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*") if path.is_file())


async def _kill_in_the_middle(rig: Stage) -> None:
    data = Path(rig.host_environ["XDG_DATA_HOME"])
    names = [f"app{n}" for n in range(1000)]

    def start() -> None:
        rig.start_host()
        if not rig.host_json("list"):
            rig.host("add", "demo")

    await asyncio.to_thread(start)
    for number in range(6):
        # In every other round the list is empty, so kills interrupt removals too.
        wanted = names if number % 2 == 0 else []
        before = len(rig.launchers())
        goal = before + (len(names) - before) * (number + 1) // 7 if wanted else before * (6 - number) // 7
        update = asyncio.get_running_loop().create_task(_publish(carried(rig), wanted))
        deadline = time.monotonic() + 60
        while not (len(rig.launchers()) >= goal if wanted else len(rig.launchers()) <= goal):
            assert time.monotonic() < deadline
            assert not update.done(), update.exception()
            await asyncio.sleep(0.001)
        rig.stop("host", signal.SIGKILL)
        update.cancel()
        await asyncio.wait({update})
        assert all(_whole(path) for path in rig.launchers())
        await asyncio.to_thread(start)
    update = asyncio.get_running_loop().create_task(_publish(carried(rig), names))
    theme = data / "icons/hicolor/48x48/apps"
    deadline = time.monotonic() + 120
    while (
        len(rig.launchers()) != len(names)
        or len(list(theme.glob("guestlink-demo-*.png"))) != len(names)
        or list(
            data.rglob(".guestlink*")
        )  # temporary files: launchers are written again when their icons are there
    ):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    update.cancel()
    await asyncio.wait({update})


@pytest.mark.parametrize(
    ("variable", "name", "make"),
    [
        ("XDG_STATE_HOME", "containers.json", lambda path: path.write_text("{")),
        ("XDG_STATE_HOME", "containers.json", os.mkfifo),
        ("XDG_STATE_HOME", "containers.json", lambda path: path.symlink_to("/dev/zero")),
        ("XDG_RUNTIME_DIR", "lock", os.mkfifo),
        ("XDG_RUNTIME_DIR", "lock", Path.mkdir),
        ("XDG_RUNTIME_DIR", "lock", lambda path: path.symlink_to("elsewhere")),
        ("XDG_RUNTIME_DIR", "private/directory", Path.mkdir),
    ],
)
def test_a_file_that_somebody_broke_stops_the_daemon_with_a_clear_sentence(
    rig: Stage, variable: str, name: str, make: Callable[[Path], object]
) -> None:
    path = Path(rig.host_environ[variable], "guestlink-host", name)
    path.parent.mkdir(parents=True, mode=0o700)
    make(path)
    done = rig.host("serve", check=False)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_named(rig: Stage) -> None:
    rig.host_environ["GUESTLINK_HOST_URL_POLICY"] = "sometimes"
    done = rig.host("serve", check=False)
    assert done.returncode == 78
    assert "GUESTLINK_HOST_URL_POLICY" in done.stderr
    assert "allow, ask, deny" in done.stderr


def test_unknown_settings_in_the_file_are_named(rig: Stage) -> None:
    path = Path(rig.host_environ["XDG_CONFIG_HOME"], "guestlink", "guestlink-host.conf")
    path.parent.mkdir(parents=True)
    path.write_text("[guestlink-host]\nopenner = firefox\n")
    rig.start_host()
    assert "openner" in rig.logs()
    assert "opener" in rig.logs()


def test_an_address_that_is_taken_concerns_one_container_only(rig: Stage) -> None:
    rig.start_host()
    address = free_address()
    with socket.create_server((address.host, address.port)):
        done = rig.host("add", "tcp", "--listen", str(address), check=False)
        assert done.returncode == 1
        assert str(address.port) in done.stderr
    rig.host("add", "tcp", "--listen", str(address))
    rig.host("add", "other")
    rig.stop("host")
    with socket.create_server((address.host, address.port)):
        rig.start_host()
        entries = {entry["name"]: entry for entry in rig.host_json("list")}
        assert str(address.port) in entries["tcp"]["problem"]
        assert not entries["other"]["problem"]
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(carried(rig, "other") / "listener.sock"))
        assert rig.stop("host") == 0


GARBAGE = [
    b"",
    b"\0" * 1000,
    b"\xff\n",
    b"[1]\n",
    b"{" * 9999 + b"\n",
    b'{"call": 3}\n',
    b'{"call": "add"}\n',
    b'{"call": "launch", "name": ["x"]}\n',
    b'{"call": "launch", "name": "demo", "id": "x", "files": 3}\n',
    b'{"call": "icon", "name": "demo", "id": "x", "size": {}}\n',
    b'{"call": "share", "name": "demo", "host": [], "inside": 3}\n',
    b'{"call": "policy", "name": "demo", "url": {}}\n',
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500,
]


def test_garbage_on_the_sockets_does_not_stop_the_daemon(rig: Stage) -> None:
    process = rig.start_host()
    rig.host("add", "demo")
    control = carried(rig).parents[1] / "control.sock"
    for path in (control, carried(rig) / "listener.sock"):
        for content in GARBAGE:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                sock.sendall(content)
                sock.shutdown(socket.SHUT_WR)
                sock.settimeout(60)
                with contextlib.suppress(ConnectionError):
                    while sock.recv(1 << 16):
                        pass
    assert [entry["name"] for entry in rig.host_json("list")] == ["demo"]
    assert process.poll() is None
    assert "Traceback" not in rig.logs()


def test_nothing_is_left_in_the_environment_of_opened_programs(rig: Stage) -> None:
    record = rig.root / "environment"
    opener = rig.root / "opener"
    opener.write_text(
        f"#!/bin/sh\nenv > {record}.new; ls -l /proc/self/fd >> {record}.new; mv {record}.new {record}\n"
    )
    opener.chmod(0o755)
    rig.host_environ |= {"GUESTLINK_HOST_OPENER": str(opener), "NOTIFY_SOCKET": "/nonexistent"}
    rig.start_host()
    rig.host("add", "demo")
    asyncio.run(_open_url(carried(rig)))
    rig.wait("the opener ran", record.exists)
    text = record.read_text()
    assert "NOTIFY_SOCKET" not in text
    assert "socket:" not in text
    assert os.fspath(carried(rig)) not in text
    assert subprocess.run(["true"], check=False).returncode == 0

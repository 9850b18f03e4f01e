"""LaunchVshd with a real vshd: sessions of the standby vshd, sessions of a new one, and what remains of them
(chromeos-vsh.md §11.4)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from garcon.session.programs import Programs
from garcon.session.shells import Shells
from guestlink.address import Address, UnixAddress
from guestlink.authentication import authenticate
from guestlink.bus import SessionBus
from guestlink.errors import GuestlinkError
from guestlink.handshake import ListenerHandshake, Purpose
from guestlink.user_manager import UserManager
from guestlink.vsh import ClientProtocol, Data, Setup, StatusChange, encode_setup
from support.stage import CHECKOUT, LIMIT
from vshd.fork_server import SPARE_NAME

TOP_BIT = 2254857830
PYTHONPATH = os.pathsep.join(str(CHECKOUT / part) for part in ("lib", "guest"))


class Rig:
    """garcon's shell service, in a session without a user manager."""

    def __init__(self, runtime: Path) -> None:
        self.runtime = runtime
        self.directory = runtime / "carried"
        self.directory.mkdir()
        self.handshake = False
        self.bus = SessionBus()
        environ = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_RUNTIME_DIR")}
        environ |= {"PYTHONPATH": PYTHONPATH, "GREETING": "hello\udcff", "INVOCATION_ID": "1"}
        self.programs = Programs(UserManager(self.bus), environ)
        self.shells = Shells(
            self.programs, runtime / "run", self.address, str(runtime / "token"), lambda _: self.handshake
        )

    def address(self, port: int) -> Address:
        if port == 13:
            raise GuestlinkError("no such address")
        return UnixAddress(str(self.directory / f"vsh-{port}.sock"))

    @contextmanager
    def host(self, port: int) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.directory / f"vsh-{port}.sock"))
            listener.listen()
            listener.settimeout(LIMIT)
            yield listener

    @property
    def standby(self) -> list[psutil.Process]:
        """The standby vshd, while it is running; its sessions have the same command line and are not included."""
        mark = f"--standby={self.runtime}"
        found = {}
        for process in psutil.process_iter(["cmdline", "ppid"]):
            if any(word.startswith(mark) for word in process.info["cmdline"] or ()):
                found[process.pid] = process
        return [process for process in found.values() if process.info["ppid"] not in found]

    def has_sessions(self) -> bool:
        """Whether the standby vshd has sessions."""
        try:
            return any(child.name() != SPARE_NAME for process in self.standby for child in process.children())
        except psutil.NoSuchProcess:
            return True  # one of the processes has just exited

    def ended(self) -> bool:
        """Whether no vshd is left; those that run get SIGTERM, also one that was only just starting."""
        for process in self.standby:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)
        return not self.programs.detached

    async def until(self, what: str, condition: object) -> None:
        assert callable(condition)
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < deadline, what
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def rig(runtime: Path) -> AsyncIterator[Rig]:
    rig = Rig(runtime)
    await rig.shells.start()
    try:
        yield rig
    finally:
        await rig.shells.close()
        await rig.until("the standby vshd is reaped", rig.ended)
        await rig.bus.close()
        await rig.programs.close()


def greeting(connection: socket.socket, *argv: bytes) -> tuple[bytes, int]:
    """Run a command in a session; returns its output and exit code."""
    connection.settimeout(LIMIT)
    connection.sendall(encode_setup(Setup(argv=argv, nopty=True)))
    protocol, out = ClientProtocol(), b""
    while data := connection.recv(65536):
        for event in protocol.feed(data):
            if isinstance(event, Data) and event.stream == 2:
                out += bytes(event.data)
            elif isinstance(event, StatusChange):
                return out, event.code
    raise AssertionError("the session ended without a status")


async def test_a_session_connects_to_the_port(rig: Rig) -> None:
    """Case X3 (chromeos-vsh.md §11.4)."""
    with rig.host(TOP_BIT) as listener:
        assert await rig.shells.launch(TOP_BIT, [1, 2]) == ""
        connection, _ = await asyncio.to_thread(listener.accept)
        with connection:
            out, code = await asyncio.to_thread(greeting, connection, b"env")
    lines = out.splitlines()
    assert code == 0
    assert b"GREETING=hello\xff" in lines
    assert b"GTK_IM_MODULE=cros" in lines
    assert b"CROS_IM_VIRTUAL_KEYBOARD=1" in lines
    assert not any(line.startswith(b"INVOCATION_ID") for line in lines)


async def test_a_port_where_nobody_listens_leaves_nothing(rig: Rig) -> None:
    """Case X2 (chromeos-vsh.md §11.4)."""
    assert await rig.shells.launch(5) == ""
    await rig.until("the session ends", lambda: not rig.has_sessions())
    assert len(rig.standby) == 1


async def test_one_process_serves_all_sessions(rig: Rig) -> None:
    parents = set()
    with rig.host(1) as listener:
        for _ in range(3):
            assert await rig.shells.launch(1) == ""
            connection, _ = await asyncio.to_thread(listener.accept)
            with connection:
                out, _ = await asyncio.to_thread(greeting, connection, b"sh", b"-c", b"ps -o ppid= -p $PPID")
                parents.add(int(out))
    assert parents == {process.pid for process in rig.standby}


async def test_when_the_standby_one_is_killed_a_cold_one_serves_and_a_new_one_comes(rig: Rig) -> None:
    with rig.host(1) as listener:
        assert await rig.shells.launch(1) == ""
        connection, _ = await asyncio.to_thread(listener.accept)
        connection.close()
        first = rig.standby
        for process in first:
            process.kill()
        await rig.until("it is gone", lambda: not rig.standby)
        assert await rig.shells.launch(1) == ""
        connection, _ = await asyncio.to_thread(listener.accept)
        with connection:
            assert await asyncio.to_thread(greeting, connection, b"echo", b"on") == (b"on\n", 0)
    await rig.until("a new one runs", lambda: rig.standby and rig.standby != first)


async def test_a_session_proves_where_it_comes_from_also_one_of_a_new_vshd(rig: Rig) -> None:
    rig.handshake = True
    (rig.runtime / "token").write_text("the container's token")
    with rig.host(1) as listener:
        for _ in range(2):
            assert await rig.shells.launch(1) == ""
            connection, _ = await asyncio.to_thread(listener.accept)
            with connection:
                handshake = ListenerHandshake("the container's token", [Purpose.VSH])
                await asyncio.to_thread(authenticate, connection, handshake, LIMIT)
                assert await asyncio.to_thread(greeting, connection, b"echo", b"on") == (b"on\n", 0)
            for process in rig.standby:
                process.kill()
            await rig.until("it is gone", lambda: not rig.standby)


async def test_an_address_that_is_none_is_told(rig: Rig) -> None:
    assert await rig.shells.launch(13) == "no such address"


async def test_without_a_vshd_the_reason_names_the_package(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("garcon.session.shells.suite_program", lambda name, module: [])
    assert "guestlink-vshd is not installed" in await rig.shells.launch(1)


async def connected(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a socket that a program is about to create: its file exists before the program listens."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return await asyncio.open_unix_connection(path)
        except (FileNotFoundError, ConnectionRefusedError):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


async def test_sessions_go_on_when_garcon_ends_and_nothing_stays_behind_them(runtime: Path) -> None:
    """The standby vshd watches garcon's process; this test starts another process in garcon's place."""
    garcon = await asyncio.create_subprocess_exec("sleep", "1000")
    path = runtime / "standby.sock"
    (runtime / "token").write_text("")
    standby = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "vshd",
        f"--standby={path}",
        f"--until={garcon.pid}",
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )
    try:
        reader, writer = await connected(path)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(runtime / "host.sock"))
            listener.listen()
            listener.settimeout(LIMIT)
            address = f"unix:{runtime}/host.sock"
            request = {"address": address, "token_file": "", "handshake": False, "environ": {}}
            writer.write(json.dumps(request).encode() + b"\n")
            assert b'"ok"' in await reader.readline()
            writer.close()
            await writer.wait_closed()
            connection, _ = await asyncio.to_thread(listener.accept)
            with connection:
                garcon.kill()
                await garcon.wait()
                deadline = time.monotonic() + LIMIT
                while path.exists() and time.monotonic() < deadline:
                    try:
                        _, writer = await asyncio.open_unix_connection(path)
                    except OSError:
                        break
                    writer.close()
                    await asyncio.sleep(0.02)
                assert standby.returncode is None
                assert await asyncio.to_thread(greeting, connection, b"echo", b"on") == (b"on\n", 0)
        await asyncio.wait_for(standby.wait(), LIMIT)
        assert not path.exists()
    finally:
        for process in (garcon, standby):
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b'{"environ": 5}\n', b'{"environ": {"A": 1}}\n', b"\xff\n"])
async def test_nonsense_is_answered_by_an_error(rig: Rig, line: bytes) -> None:
    await rig.until("the standby vshd answers", lambda: list((rig.runtime / "run").glob("vshd-*.sock")))
    (path,) = (rig.runtime / "run").glob("vshd-*.sock")
    reader, writer = await connected(path)
    writer.write(line)
    assert b'"error"' in await reader.readline()
    writer.close()
    await writer.wait_closed()

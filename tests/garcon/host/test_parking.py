"""Connections that garcon parks at its host: there is always one, whatever the host does with the others."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from garcon.host import parking
from garcon.host.garcon_server import GarconServer
from garcon.host.host_calls import calls_parked_at
from garcon.host.listener_client import HostTooOld
from garcon.host.parking import PARKED, Parking
from garcon.host.sftp import UNIX_PORT, SftpStream
from guestlink.address import UnixAddress
from guestlink.errors import GuestlinkError
from guestlink.sockets import connect_soon, listen

LIMIT = 60.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.005)


class Host:
    """Accepts what is parked."""

    def __init__(self, path: Path) -> None:
        self.address = UnixAddress(str(path))
        self.parked: list[socket.socket] = []
        self._listener: socket.socket | None = None

    def listen(self) -> None:
        self._listener = listen(self.address)
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.setblocking(False)
        self.parked.append(connection)

    def stop(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            Path(self.address.path).unlink()
            self._listener = None
        while self.parked:
            self.parked.pop().close()


class Stage:
    """A host and what garcon parks there; the first bytes of each connection are kept."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.received: list[bytes] = []
        self.parking = Parking("tests", functools.partial(connect_soon, host.address), self._serve)

    async def _serve(self, connection: socket.socket) -> None:
        with connection:
            loop = asyncio.get_running_loop()
            self.received.append(await loop.sock_recv(connection, 100))
            await loop.sock_recv(connection, 1)  # until the host closes it


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    host = Host(tmp_path / "calls.sock")
    host.listen()
    made = Stage(host)
    await made.parking.park()
    await until(lambda: len(host.parked) == PARKED)
    yield made
    await made.parking.close()
    host.stop()


async def test_a_connection_that_the_host_uses_is_served_and_another_is_parked(stage: Stage) -> None:
    for number in range(1, 6):
        stage.host.parked[-1].send(b"PRI")
        await until(lambda number=number: len(stage.received) == number)  # type: ignore[misc]
        await until(lambda number=number: len(stage.host.parked) == PARKED + number)  # type: ignore[misc]
        assert len(stage.parking) == PARKED
    assert stage.received == [b"PRI"] * 5


async def test_what_the_host_closes_is_parked_again_ever_more_slowly(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real(0)

    monkeypatch.setattr(parking.asyncio, "sleep", sleep)
    for _ in range(12):
        stage.host.parked.pop().close()
        async with asyncio.timeout(LIMIT):
            while len(stage.host.parked) < PARKED:
                await real(0.001)
    assert pauses[-1] > 5 * pauses[0]
    assert max(pauses) <= 10


async def test_a_host_that_returns_has_connections_as_soon_as_garcon_registers(stage: Stage) -> None:
    stage.host.stop()
    await until(lambda: len(stage.parking) == 0)
    with pytest.raises(GuestlinkError):
        await stage.parking.park()
    stage.host.listen()
    await stage.parking.park()
    assert len(stage.parking) == PARKED
    await until(lambda: len(stage.host.parked) >= PARKED)


async def test_a_close_ends_what_is_parked_and_what_is_used(stage: Stage) -> None:
    used, idle = stage.host.parked
    used.send(b"PRI")
    await until(lambda: bool(stage.received))
    idle.send(b"PRI")
    await stage.parking.close()
    loop = asyncio.get_running_loop()
    for connection in (used, idle):
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(LIMIT):
                assert await loop.sock_recv(connection, 1) == b""
    assert stage.received == [b"PRI"]


async def test_garcon_listens_nowhere_and_names_a_host_that_is_too_old(tmp_path: Path) -> None:
    directory = tmp_path / "mounted"
    directory.mkdir()
    server = GarconServer([], tmp_path)
    stream = SftpStream("/bin/true", 1, {})
    calls = calls_parked_at(server, stream, UnixAddress(str(directory / "listener.sock")))
    hosts = [Host(directory / "calls.sock"), Host(directory / "sftp.sock")]
    try:
        with pytest.raises(HostTooOld, match=r"it has no socket .*calls\.sock"):
            await calls.serve()
        for host in hosts:
            host.listen()
        assert await calls.serve() == (UNIX_PORT, UNIX_PORT)
        assert sorted(path.name for path in directory.iterdir()) == ["calls.sock", "sftp.sock"]
    finally:
        await calls.close()
        await server.close()
        await stream.close()
        for host in hosts:
            host.stop()

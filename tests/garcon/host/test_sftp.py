"""The SFTP byte stream, with OpenSSH's real server at its end."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from garcon.host import sftp
from garcon.host.sftp import SERVERS, UNIX_PORT, SftpStream, sftp_address
from guestlink.address import CID_ANY, UnixAddress, VsockAddress
from guestlink.sockets import Peer, connect_soon
from support.needs import absent

LIMIT = 60.0
INIT = bytes.fromhex("000000050100000003")

Make = Callable[..., Awaitable[tuple[SftpStream, UnixAddress]]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """A function that starts streams on Unix sockets; the fixture closes them."""
    streams: list[SftpStream] = []

    async def start(program: str = "", limit: int = 16, **variables: str) -> tuple[SftpStream, UnixAddress]:
        environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]} | variables
        stream = SftpStream(program, limit, environ)
        streams.append(stream)
        address = UnixAddress(str(tmp_path / f"{len(streams)}.sock"))
        assert stream.start(address) == UNIX_PORT
        return stream, address

    yield start
    for stream in streams:
        await stream.close()
    assert not list(tmp_path.glob("*.sock"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.005)


async def receive(connection: socket.socket) -> bytes:
    """One whole SFTP packet without its length, or empty at the end of the stream."""
    loop = asyncio.get_running_loop()
    received = b""
    async with asyncio.timeout(LIMIT):
        while len(received) < 4 or len(received) < 4 + struct.unpack(">I", received[:4])[0]:
            try:
                part = await loop.sock_recv(connection, 65536)
            except ConnectionError:
                part = b""
            if not part:
                return b""
            received += part
    return received[4:]


async def ask(connection: socket.socket, packet: bytes) -> bytes:
    """Send a packet and return the answer; empty if the peer has closed the connection."""
    try:
        await asyncio.get_running_loop().sock_sendall(connection, packet)
    except ConnectionError:
        return b""
    return await receive(connection)


async def greeted(address: UnixAddress) -> socket.socket:
    """A connection on which the server has sent its version."""
    connection = await connect_soon(address)
    version = await ask(connection, INIT)
    assert version[:5] == bytes.fromhex("0200000003")
    return connection


async def test_init_is_answered_by_version_3(make: Make) -> None:
    """Case X7 (chromeos-vsh.md §11.4)."""
    _, address = await make()
    (await greeted(address)).close()


async def test_a_session_begins_in_the_users_home(make: Make, tmp_path: Path) -> None:
    _, address = await make()
    with await greeted(address) as connection:
        name = b"."
        realpath = struct.pack(">BII", 16, 7, len(name)) + name
        answer = await ask(connection, struct.pack(">I", len(realpath)) + realpath)
    assert str(tmp_path).encode() in answer


async def test_many_connections_are_served_at_once_and_leave_nothing(make: Make) -> None:
    stream, address = await make(limit=40)
    connections = [await greeted(address) for _ in range(40)]
    assert len(stream) == 40
    for connection in connections:
        connection.close()
    await until(lambda: len(stream) == 0)


async def test_more_than_the_limit_are_refused_until_one_ends(make: Make) -> None:
    stream, address = await make(limit=2)
    first, second = await greeted(address), await greeted(address)
    with await connect_soon(address) as third:
        assert await ask(third, INIT) == b""
    first.close()
    await until(lambda: len(stream) == 1)
    fourth = await greeted(address)
    fourth.close()
    second.close()


async def test_a_missing_server_is_said_and_found_once_it_is_there(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sftp, "SERVERS", ())
    stream, address = await make(PATH=str(tmp_path / "bin"))
    with await connect_soon(address) as connection:
        assert await ask(connection, INIT) == b""
    assert [record.getMessage() for record in caplog.records] == [
        "there is no sftp-server, so the host cannot show files; install OpenSSH's server package"
    ]
    real = next(path for path in SERVERS if os.path.exists(path))
    (tmp_path / "bin").mkdir()
    shutil.copy(real, tmp_path / "bin/sftp-server")
    (await greeted(address)).close()
    await until(lambda: len(stream) == 0)


async def test_a_server_that_is_set_is_used_and_no_other(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    _, address = await make(program="/does/not/exist")
    with await connect_soon(address) as connection:
        assert await ask(connection, INIT) == b""
    assert "/does/not/exist (setting sftp_server) cannot be run" in caplog.text


async def test_the_end_of_the_stream_ends_every_server(make: Make) -> None:
    stream, address = await make()
    connections = [await greeted(address) for _ in range(3)]
    await stream.close()
    for connection in connections:
        assert await receive(connection) == b""
        connection.close()


async def test_a_failing_accept_is_survived(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    real, failures = loop.sock_accept, [OSError(errno.EMFILE, "too many"), OSError(errno.ECONNABORTED, "gone")]

    async def accept(listener: socket.socket) -> Any:
        if failures:
            raise failures.pop()
        return await real(listener)

    monkeypatch.setattr(loop, "sock_accept", accept)
    _, address = await make()
    (await greeted(address)).close()
    assert not failures


@pytest.mark.parametrize(("cid", "served"), [(2, True), (1, False), (3, False)])
async def test_of_vsock_peers_the_host_alone_is_served(
    make: Make, cid: int, served: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sftp, "peer_of", lambda connection: Peer(cid=cid))
    _, address = await make()
    with await connect_soon(address) as connection:
        assert bool(await ask(connection, INIT)) is served


async def test_a_vsock_port_is_the_kernels_choice() -> None:
    try:
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    except OSError:
        pytest.skip("this kernel has no vsock")
    stream = SftpStream("", 16, {})
    port = stream.start(sftp_address(VsockAddress(CID_ANY, 10000)))
    await stream.close()
    assert port not in (0, UNIX_PORT, 0xFFFFFFFF)


def test_the_stream_is_served_beside_garcon() -> None:
    assert sftp_address(UnixAddress("/dev/.guestlink/garcon.sock")) == UnixAddress("/dev/.guestlink/sftp.sock")
    assert sftp_address(VsockAddress(CID_ANY, 10000)) == VsockAddress(CID_ANY, 0xFFFFFFFF)


@pytest.fixture(autouse=True)
def _ready(caplog: pytest.LogCaptureFixture) -> None:
    if not any(map(os.path.exists, SERVERS)):
        absent("sftp-server missing: apt install openssh-sftp-server")
    caplog.set_level(logging.WARNING)

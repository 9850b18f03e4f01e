"""ConnectChunnel: bytes between a port of the host and a TCP server of the container."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from garcon.services.chunnels import CHUNNELS, Chunnels
from guestlink.address import UnixAddress
from guestlink.sockets import listen

LIMIT = 60.0
SIZE = 10 * 1024 * 1024
"""Bytes each way in case X6."""


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[socket.socket]:
    """Where the host listens."""
    with listen(UnixAddress(f"{tmp_path}/77")) as listener:
        yield listener


@pytest.fixture
async def chunnels(tmp_path: Path) -> AsyncIterator[Chunnels]:
    made = Chunnels(lambda port: UnixAddress(f"{tmp_path}/{port}"), "", lambda address: False)
    yield made
    await made.close()


def _server(host: str = "127.0.0.1") -> socket.socket:
    listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setblocking(False)
    return listener


async def _accept(listener: socket.socket) -> socket.socket:
    async with asyncio.timeout(LIMIT):
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
    return connection


async def _read_all(sock: socket.socket) -> bytes:
    received = bytearray()
    async with asyncio.timeout(LIMIT):
        while piece := await asyncio.get_running_loop().sock_recv(sock, 65536):
            received += piece
    return bytes(received)


async def test_the_host_gets_an_end_at_once_if_nobody_serves_the_port(
    host: socket.socket, chunnels: Chunnels
) -> None:
    """Case X4."""
    with _server() as free:
        port = free.getsockname()[1]
    assert chunnels.connect(77, port) == ""
    with await _accept(host) as connection:
        assert await _read_all(connection) == b""


async def test_a_server_on_ipv6_only_is_found(host: socket.socket, chunnels: Chunnels) -> None:
    """Case X5."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(_server("::1"))
        except OSError:
            pytest.skip("this machine has no ::1")
        assert chunnels.connect(77, server.getsockname()[1]) == ""
        with await _accept(host) as near, await _accept(server) as far:
            await asyncio.get_running_loop().sock_sendall(near, b"hello")
            near.shutdown(socket.SHUT_WR)
            assert await _read_all(far) == b"hello"


async def test_10_mib_each_way_arrive_and_the_directions_end_separately(
    host: socket.socket, chunnels: Chunnels
) -> None:
    """Case X6."""
    loop = asyncio.get_running_loop()
    with _server() as server:
        assert chunnels.connect(77, server.getsockname()[1]) == ""
        with await _accept(host) as near, await _accept(server) as far:

            async def send(sock: socket.socket, byte: bytes) -> None:
                await loop.sock_sendall(sock, byte * SIZE)
                sock.shutdown(socket.SHUT_WR)

            async with asyncio.timeout(LIMIT):
                first = asyncio.gather(send(near, b"n"), _read_all(far))
                _, received = await first
                assert received == b"n" * SIZE
                _, received = await asyncio.gather(send(far, b"f"), _read_all(near))
                assert received == b"f" * SIZE
                while len(chunnels):
                    await asyncio.sleep(0.01)


async def test_a_host_that_does_not_listen_leaves_nothing(chunnels: Chunnels) -> None:
    with _server() as server:
        assert chunnels.connect(78, server.getsockname()[1]) == ""
        with await _accept(server) as far:
            assert await _read_all(far) == b""
    async with asyncio.timeout(LIMIT):
        while len(chunnels):
            await asyncio.sleep(0.01)


async def test_a_server_that_accepts_and_hangs_costs_one_connection_and_there_is_a_bound(
    host: socket.socket, chunnels: Chunnels, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CHUNNELS > 1
    monkeypatch.setattr("garcon.services.chunnels.CHUNNELS", 1)
    with _server() as server:
        port = server.getsockname()[1]
        assert chunnels.connect(77, port) == ""
        assert "already" in chunnels.connect(77, port)
        with await _accept(host) as near, await _accept(server):
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    async with asyncio.timeout(LIMIT):
        while len(chunnels):
            await asyncio.sleep(0.01)

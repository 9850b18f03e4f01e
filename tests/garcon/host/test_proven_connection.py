"""garcon's connections to a host over TCP: what each failure says, and that each is closed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from garcon.host.host_dialer import host_dialer
from garcon.host.proven_connection import ProvenConnections
from guestlink import vsock_bridge
from guestlink.address import Address, TcpAddress, VsockAddress
from guestlink.authentication import authenticate_soon
from guestlink.errors import GuestlinkError
from guestlink.handshake import HandshakeFailed, ListenerHandshake, Purpose
from guestlink.pb import container_host_pb2
from guestlink.rpc import CallFailed
from guestlink.sockets import connect_soon, listen
from guestlink.tasks import TaskOwner

TOKEN = "8a3f2b1c-0d4e-4f5a-9b6c-7d8e9f0a1b2c"
LIMIT = 60.0

Serve = Callable[[socket.socket], Coroutine[Any, Any, None]]


@pytest.fixture
def token(tmp_path: Path) -> str:
    (tmp_path / "token").write_text(TOKEN)
    return str(tmp_path / "token")


async def with_host(serve: Serve, use: Callable[[TcpAddress], Coroutine[Any, Any, None]]) -> None:
    """Run a client beside a host that serves one connection."""
    loop = asyncio.get_running_loop()
    owner = TaskOwner("test host")

    async def accept() -> None:
        connection, _ = await loop.sock_accept(listener)
        with connection:
            connection.setblocking(False)
            await serve(connection)

    with listen(TcpAddress("127.0.0.1", 0)) as listener:
        owner.start(accept(), name="accept")
        try:
            async with asyncio.timeout(LIMIT):
                await use(TcpAddress("127.0.0.1", listener.getsockname()[1]))
        finally:
            await owner.close()


async def test_a_host_that_knows_the_token_gets_a_connection_for_the_purpose(token: str) -> None:
    seen: list[Purpose | None] = []

    async def serve(connection: socket.socket) -> None:
        handshake = ListenerHandshake(TOKEN, set(Purpose))
        await authenticate_soon(connection, handshake)
        seen.append(handshake.purpose)
        await asyncio.get_running_loop().sock_sendall(connection, b"first bytes")

    async def use(address: TcpAddress) -> None:
        with await ProvenConnections(address, token, Purpose.CALLS).connect() as connection:
            assert await asyncio.get_running_loop().sock_recv(connection, 100) == b"first bytes"

    await with_host(serve, use)
    assert seen == [Purpose.CALLS]


async def test_a_probe_says_that_the_listener_is_another_program(token: str) -> None:
    async def serve(connection: socket.socket) -> None:
        with pytest.raises(HandshakeFailed):
            await authenticate_soon(connection, ListenerHandshake("another", set(Purpose)))

    async def use(address: TcpAddress) -> None:
        dialer = host_dialer(address, token, Path("/nonexistent"), handshake=True)
        with pytest.raises(GuestlinkError, match=f"^{address}: the other side did not accept our proof") as caught:
            await dialer.probe()
        assert "restart the container" in caught.value.hint

    await with_host(serve, use)


async def test_without_a_token_nobody_is_dialed(tmp_path: Path) -> None:
    connections = ProvenConnections(TcpAddress("127.0.0.1", 1), str(tmp_path / "token"), Purpose.SFTP)
    with pytest.raises(GuestlinkError, match="there is no token file"):
        await connections.connect()


async def test_a_missing_host_is_named(token: str) -> None:
    with pytest.raises(GuestlinkError, match=r"cannot connect to tcp:127\.0\.0\.1:1"):
        await ProvenConnections(TcpAddress("127.0.0.1", 1), token, Purpose.SFTP).connect()


async def test_a_linux_host_that_is_taken_for_chromeos_is_named_with_the_setting(
    token: str, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no vsock peer here, so the bridge connects to TCP."""

    async def serve(connection: socket.socket) -> None:
        with pytest.raises(HandshakeFailed, match="speaks gRPC without a handshake"):
            await authenticate_soon(connection, ListenerHandshake(TOKEN, set(Purpose)))

    async def use(address: TcpAddress) -> None:
        async def connect(vsock: Address) -> socket.socket:
            assert vsock == VsockAddress(2, 8889)
            return await connect_soon(address)

        monkeypatch.setattr(vsock_bridge, "connect_soon", connect)
        dialer = host_dialer(VsockAddress(2, 8889), token, runtime, handshake=False)
        channel = await dialer.dial()
        request = container_host_pb2.ContainerStartupInfo(token=TOKEN)
        with pytest.raises(CallFailed, match="set host_kind = linux"):
            await channel.call("ContainerReady", request, timeout=LIMIT)
        await channel.close()
        await dialer.close()

    await with_host(serve, use)

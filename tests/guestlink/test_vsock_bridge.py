"""The byte bridge, with Unix and TCP sockets instead of vsock; listens on real vsock where the kernel has it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from guestlink import vsock_bridge
from guestlink.address import CID_ANY, CID_HOST, Address, TcpAddress, UnixAddress, VsockAddress
from guestlink.errors import GuestlinkError
from guestlink.pb import container_guest_pb2 as pb
from guestlink.relay import CHUNK
from guestlink.rpc import GARCON, CallFailed, RpcChannel, RpcServer
from guestlink.sockets import AddressInUse, Peer, PeerPolicy, connect_soon, listen, same_user
from guestlink.vsock_bridge import CONNECTION_LIMIT, Bridge, listen_on_first_free

LIMIT = 60.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.005)


class Stage:
    """A bridge between two Unix sockets; the test is the client at the front and the server at the back."""

    def __init__(self, path: Path) -> None:
        self.front = UnixAddress(str(path / "front"))
        self.back = UnixAddress(str(path / "back"))
        self.listener = listen(self.back)
        self.bridge = Bridge(listen(self.front), self.back, same_user())
        self.bridge.start()

    async def pair(self) -> tuple[socket.socket, socket.socket]:
        """A connection through the bridge: the sockets of its client and its server."""
        client = await connect_soon(self.front)
        async with asyncio.timeout(LIMIT):
            server, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        server.setblocking(False)
        return client, server

    async def close(self) -> None:
        await self.bridge.close()
        self.listener.close()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    await made.close()


async def receive(sock: socket.socket) -> bytes:
    """All bytes up to the end of the stream."""
    loop = asyncio.get_running_loop()
    parts = []
    async with asyncio.timeout(LIMIT):
        while part := await loop.sock_recv(sock, 1 << 20):
            parts.append(part)
    return b"".join(parts)


async def send(sock: socket.socket, content: bytes) -> None:
    async with asyncio.timeout(LIMIT):
        await asyncio.get_running_loop().sock_sendall(sock, content)


async def fill(sock: socket.socket) -> int:
    """Send until the socket accepts nothing for a while; returns the number of bytes sent."""
    sent = 0
    refused = 0
    while refused < 20:
        try:
            sent += sock.send(bytes(CHUNK))
            refused = 0
        except BlockingIOError:
            refused += 1
            await asyncio.sleep(0.01)
        assert sent < 64 * 1024 * 1024, "the bridge takes what nobody reads"
    return sent


async def test_bytes_arrive_unchanged_in_both_directions_at_once(stage: Stage) -> None:
    client, server = await stage.pair()
    contents = [random.Random(seed).randbytes(5_000_000) for seed in (1, 2)]

    async def send_in_pieces(sock: socket.socket, content: bytes) -> None:
        sizes = random.Random(3)
        start = 0
        while start < len(content):
            size = sizes.choice([1, 7, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 300_000])
            await send(sock, content[start : start + size])
            start += size
        sock.shutdown(socket.SHUT_WR)

    with client, server:
        *_, at_server, at_client = await asyncio.gather(
            send_in_pieces(client, contents[0]),
            send_in_pieces(server, contents[1]),
            receive(server),
            receive(client),
        )
    assert hashlib.sha256(at_server).digest() == hashlib.sha256(contents[0]).digest()
    assert hashlib.sha256(at_client).digest() == hashlib.sha256(contents[1]).digest()
    await until(lambda: len(stage.bridge) == 0)


async def test_end_of_one_direction_leaves_the_other_open(stage: Stage) -> None:
    client, server = await stage.pair()
    with client, server:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert await receive(server) == b"question"
        sending = asyncio.ensure_future(send(server, bytes(1_000_000)))
        sending.add_done_callback(lambda _: server.close())
        assert len(await receive(client)) == 1_000_000
        await sending
    await until(lambda: len(stage.bridge) == 0)


async def test_what_was_sent_before_closing_still_arrives(stage: Stage) -> None:
    client, server = await stage.pair()
    with server:
        await send(client, bytes(100_000))
        client.close()
        assert len(await receive(server)) == 100_000
    await until(lambda: len(stage.bridge) == 0)


async def test_what_was_sent_before_closing_arrives_although_answers_can_no_longer_be_delivered(
    stage: Stage,
) -> None:
    client, server = await stage.pair()
    with server:
        await send(client, bytes(100_000))
        client.close()
        server.send(b"nobody reads this")
        assert len(await receive(server)) == 100_000
    await until(lambda: len(stage.bridge) == 0)


async def test_reader_that_stalls_stops_the_sender_and_nobody_else(stage: Stage) -> None:
    client, server = await stage.pair()
    other_client, other_server = await stage.pair()
    with client, server, other_client, other_server:
        sent = await fill(client)
        # Two socket buffers of about 200 KiB each and one of ours bound the amount.
        assert sent < 4 * 1024 * 1024
        other_client.sendall(b"still here")
        other_client.shutdown(socket.SHUT_WR)
        assert await receive(other_server) == b"still here"
        client.shutdown(socket.SHUT_WR)
        assert len(await receive(server)) == sent


async def test_both_sides_that_only_send_do_not_harm_each_other(stage: Stage) -> None:
    client, server = await stage.pair()
    with client, server:
        counts = await asyncio.gather(fill(client), fill(server))
        client.shutdown(socket.SHUT_WR)
        server.shutdown(socket.SHUT_WR)
        received = await asyncio.gather(receive(server), receive(client))
    assert [len(content) for content in received] == list(counts)


@pytest.mark.parametrize("who", ["client", "server"])
async def test_side_that_dies_with_unread_data_ends_the_other(stage: Stage, who: str) -> None:
    client, server = await stage.pair()
    dying, staying = (client, server) if who == "client" else (server, client)
    with staying:
        await send(staying, b"x" * 1000)
        await until(lambda: len(_peek(dying)) == 1000)
        dying.close()  # Closing a Unix socket with unread data resets its peer.
        assert await receive(staying) == b""
    await until(lambda: len(stage.bridge) == 0)


def _peek(sock: socket.socket) -> bytes:
    try:
        return sock.recv(2000, socket.MSG_PEEK)
    except BlockingIOError:
        return b""


async def test_reset_of_a_tcp_peer_ends_the_connection(tmp_path: Path) -> None:
    listener = listen(TcpAddress("127.0.0.1", 0))
    back = listen(UnixAddress(str(tmp_path / "back")))
    bridge = Bridge(listener, UnixAddress(str(tmp_path / "back")), PeerPolicy())
    bridge.start()
    loop = asyncio.get_running_loop()
    client = await connect_soon(TcpAddress(*listener.getsockname()[:2]))
    server, _ = await loop.sock_accept(back)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    with server, back:
        assert await receive(server) == b""
    await until(lambda: len(bridge) == 0)
    await bridge.close()


async def test_target_that_refuses_closes_the_connection_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    front = UnixAddress(str(tmp_path / "front"))
    bridge = Bridge(listen(front), UnixAddress(str(tmp_path / "nobody")), same_user())
    bridge.start()
    for _ in range(10):
        with await connect_soon(front) as client:
            assert await receive(client) == b""
    await until(lambda: len(bridge) == 0)
    await bridge.close()
    (record,) = caplog.records
    assert "nobody" in record.getMessage()


async def test_target_is_reached_once_it_is_there(tmp_path: Path) -> None:
    front, back = UnixAddress(str(tmp_path / "front")), UnixAddress(str(tmp_path / "back"))
    bridge = Bridge(listen(front), back, same_user())
    bridge.start()
    with await connect_soon(front) as client:
        assert await receive(client) == b""
    with listen(back) as listener, await connect_soon(front) as client:
        server, _ = await asyncio.get_running_loop().sock_accept(listener)
        with server:
            server.sendall(b"welcome")
        assert await receive(client) == b"welcome"
    await bridge.close()


@pytest.mark.parametrize(("cid", "carried"), [(CID_HOST, True), (1, False), (3, False), (0, False)])
async def test_only_the_host_may_connect(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, cid: int, carried: bool
) -> None:
    monkeypatch.setattr(vsock_bridge, "peer_of", lambda connection: Peer(cid=cid))
    await stage.bridge.close()
    stage.bridge = Bridge(listen(stage.front), stage.back, PeerPolicy(cids=frozenset({CID_HOST})))
    stage.bridge.start()
    if carried:
        client, server = await stage.pair()
        client.close()
        server.close()
        return
    for _ in range(3):
        with await connect_soon(stage.front) as client:
            assert await receive(client) == b""
    with pytest.raises(BlockingIOError):
        stage.listener.accept()
    (record,) = caplog.records
    assert f"context id {cid}" in record.getMessage()


async def test_connections_above_the_limit_are_refused_until_others_end(stage: Stage) -> None:
    pairs = [await stage.pair() for _ in range(CONNECTION_LIMIT)]
    for _ in range(200 - CONNECTION_LIMIT):
        with await connect_soon(stage.front) as extra:
            assert await receive(extra) == b""
    for number, (client, server) in enumerate(pairs):
        client.sendall(b"%d" % number)
        client.close()
        with server:
            assert await receive(server) == b"%d" % number
    await until(lambda: len(stage.bridge) == 0)
    client, server = await stage.pair()
    client.close()
    server.close()


async def test_two_hundred_connections_one_after_the_other_leave_nothing(stage: Stage) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(200):
        client, server = await stage.pair()
        with client, server:
            client.sendall(b"%d" % number)
            client.shutdown(socket.SHUT_WR)
            assert await receive(server) == b"%d" % number
    await until(lambda: len(stage.bridge) == 0)
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before)


async def test_close_ends_connections_that_are_stuck(stage: Stage) -> None:
    client, server = await stage.pair()
    with client, server:
        await fill(client)
        await fill(server)
        await stage.bridge.close()
        for sock in (client, server):
            with contextlib.suppress(ConnectionResetError):
                await receive(sock)
    assert len(stage.bridge) == 0


async def test_close_right_after_a_connection_leaves_nothing(stage: Stage) -> None:
    for turns in range(6):
        client = await connect_soon(stage.front)
        for _ in range(turns):
            await asyncio.sleep(0)
        await stage.bridge.close()
        with client, contextlib.suppress(ConnectionResetError):
            assert await receive(client) == b""
        assert len(stage.bridge) == 0
        stage.bridge = Bridge(listen(stage.front), stage.back, same_user())
        stage.bridge.start()


async def test_accept_goes_on_when_descriptors_were_short(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    accept = loop.sock_accept
    failures = [errno.EMFILE, errno.ECONNABORTED]

    async def failing(listener: socket.socket) -> tuple[socket.socket, object]:
        if listener is not stage.listener and failures:
            number = failures.pop()
            raise OSError(number, os.strerror(number))
        return await accept(listener)

    await stage.bridge.close()
    monkeypatch.setattr(loop, "sock_accept", failing)
    stage.bridge = Bridge(listen(stage.front), stage.back, same_user())
    stage.bridge.start()
    client, server = await stage.pair()
    client.close()
    server.close()
    assert not failures


class Garcon:
    """Implements one RPC."""

    async def get_icon(self, request: pb.IconRequest) -> pb.IconResponse:
        icons = [pb.DesktopIcon(icon=bytes(request.icon_size))]
        return pb.IconResponse(desktop_icons=icons)


async def test_grpc_works_through_two_bridges(tmp_path: Path) -> None:
    names = [UnixAddress(str(tmp_path / name)) for name in ("grpc", "vsock", "private")]
    server = RpcServer(GARCON, Garcon())
    server.bind(names[0])
    await server.start()
    # As in production: our gRPC behind an acceptor, and the other side's gRPC in front of a dialler.
    acceptor = Bridge(listen(names[1]), names[0], same_user())
    dialler = Bridge(listen(names[2]), names[1], same_user())
    acceptor.start()
    dialler.start()
    channel = RpcChannel(names[2], GARCON)
    for size in (0, 10, 3_000_000):
        answer = await channel.call("GetIcon", pb.IconRequest(icon_size=size), timeout=LIMIT)
        assert len(answer.desktop_icons[0].icon) == size
    lost = asyncio.ensure_future(channel.lost())
    await acceptor.close()
    assert await asyncio.wait_for(lost, LIMIT)
    with pytest.raises(CallFailed) as caught:
        await channel.call("GetIcon", pb.IconRequest(), timeout=LIMIT)
    assert caught.value.code == "UNAVAILABLE"
    await channel.close()
    await dialler.close()
    await server.stop()


def vsock_or_skip() -> None:
    try:
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    except OSError:
        pytest.skip("this kernel has no vsock")


def free_vsock_port() -> int:
    """The first of two consecutive ports that were free a moment ago."""
    while True:
        port = random.randrange(1 << 20, 1 << 30)
        try:
            with listen(VsockAddress(CID_ANY, port)), listen(VsockAddress(CID_ANY, port + 1)):
                return port
        except AddressInUse:
            continue


async def test_vsock_ports_are_taken_from_the_first_free_one(tmp_path: Path) -> None:
    vsock_or_skip()
    first = free_vsock_port()
    one, port = listen_on_first_free(CID_ANY, first, first + 1)
    two, next_port = listen_on_first_free(CID_ANY, first, first + 1)
    assert (port, next_port) == (first, first + 1)
    with one, two, pytest.raises(AddressInUse, match=f"from {first} to {first + 1}"):
        listen_on_first_free(CID_ANY, first, first + 1)
    again, port = listen_on_first_free(CID_ANY, first, first + 1)
    bridge = Bridge(again, UnixAddress(str(tmp_path / "back")), PeerPolicy(cids=frozenset({CID_HOST})))
    bridge.start()
    await asyncio.sleep(0)
    await bridge.close()
    assert port == first


async def test_host_that_is_not_there_closes_the_connection(tmp_path: Path) -> None:
    vsock_or_skip()
    front = UnixAddress(str(tmp_path / "front"))
    target: Address = VsockAddress(CID_HOST, free_vsock_port())
    with pytest.raises(GuestlinkError, match="vsock:2:"):
        (await connect_soon(target)).close()
    bridge = Bridge(listen(front), target, same_user())
    bridge.start()
    with await connect_soon(front) as client:
        assert await receive(client) == b""
    await bridge.close()

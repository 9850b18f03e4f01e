"""One connection for sound, between two sockets of the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from guestlink_host.border.allowance import Allowance
from guestlink_host.border.policies import DENY
from guestlink_host.border.sound import relay
from guestlink_host.border.sound.belongings import Belongings
from guestlink_host.border.sound.commands import NONE, Command
from guestlink_host.border.sound.conversation import PENDING_LIMIT
from guestlink_host.border.sound.frames import HEADER, packet_frame
from guestlink_host.border.sound.layouts import REPLIES, REQUESTS, put
from guestlink_host.border.sound.relay import FULL, SoundRelay
from guestlink_host.border.sound.session_server import SessionServer
from guestlink_host.border.sound.tagstruct import FormatInfo
from support.raw_pulse import PLAYBACK, SPEC, numbers

LIMIT = 60.0
KERNEL = 4 << 20
"""More bytes than the kernel keeps for two sockets."""


class Rules:
    container = "demo"

    def sound(self) -> bool:
        return True

    def microphone(self) -> str:
        return DENY

    def ask(self) -> None:
        pass

    def refused(self, what: str, key: str) -> None:
        pass


class Ends:
    """A relay between a client and a server that the test plays.

    :ivar ended: why the relay has ended, if it has.
    """

    def __init__(self, directory: Path) -> None:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(directory / "native"))
        self._listening.listen()
        self.client, inner = socket.socketpair()
        inner.setblocking(False)
        self.client.setblocking(False)
        self.server: socket.socket | None = None
        self.ended: list[str] = []
        self._loop = asyncio.get_running_loop()
        server = SessionServer({"PULSE_SERVER": str(directory / "native"), "PULSE_COOKIE": "/nonexistent"})
        work = Allowance(relay.WORK_BURST, relay.WORK_RATE, relay.WORK_DEBT)
        self.relay = SoundRelay(inner, server, Rules(), Belongings(), work, lambda _, why: self.ended.append(why))

    async def authenticate(self) -> socket.socket:
        """Authenticate; returns the server's end."""
        await self.send(packet_frame(numbers(Command.AUTH, 1, 35) + b"x\0\0\1\0" + bytes(256)))
        self._listening.setblocking(False)
        async with asyncio.timeout(LIMIT):
            self.server, _ = await self._loop.sock_accept(self._listening)
            self.server.setblocking(False)
            await self.received(self.server, HEADER.size + 15 + 261)
            await self._loop.sock_sendall(self.server, packet_frame(numbers(Command.REPLY, 0, 35)))
            await self.received(self.client, HEADER.size + 15)
        return self.server

    async def play(self) -> None:
        """Create a playback stream with the channel 0."""
        assert self.server is not None
        body = bytearray(numbers(Command.CREATE_PLAYBACK_STREAM, 2))
        put(REQUESTS[Command.CREATE_PLAYBACK_STREAM], 35, body, PLAYBACK)
        await self.send(packet_frame(body))
        head = await self.received(self.server, HEADER.size)
        await self.received(self.server, HEADER.unpack(head)[0])
        reply = bytearray(numbers(Command.REPLY, 1))
        values = dict.fromkeys(("channel", "index", "missing", "maxlength", "tlength", "prebuf", "minreq"), 0)
        more = {"spec": SPEC, "map": b"\1\2", "device": 0, "device_name": b"x", "suspended": False, "latency": 0}
        put(REPLIES[Command.CREATE_PLAYBACK_STREAM], 35, reply, values | more | {"format": FormatInfo(1, {})})
        await self._loop.sock_sendall(self.server, packet_frame(reply))
        await self.received(self.client, len(packet_frame(reply)))

    async def send(self, data: bytes) -> None:
        """Send as the client."""
        async with asyncio.timeout(LIMIT):
            await self._loop.sock_sendall(self.client, data)

    async def received(self, sock: socket.socket, size: int) -> bytes:
        """This number of bytes that a side has received."""
        data = b""
        async with asyncio.timeout(LIMIT):
            while len(data) < size:
                part = await self._loop.sock_recv(sock, size - len(data))
                assert part, "the connection was closed"
                data += part
        return data

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(LIMIT):
            while not condition():
                await asyncio.sleep(0.01)

    def close(self) -> None:
        self.relay.close()
        for sock in (self._listening, self.client, self.server):
            if sock is not None:
                sock.close()


@pytest.fixture
async def ends(tmp_path: Path) -> AsyncIterator[Ends]:
    made = Ends(tmp_path)
    yield made
    made.close()


def _fill(sock: socket.socket, data: bytes) -> int:
    """Send until the other side takes no more; returns the bytes sent."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += sock.send(data)
    return sent


async def _filled(sock: socket.socket, data: bytes) -> int:
    """Send until the other side takes no more for a while."""
    total, quiet = 0, 0
    while quiet < 20:
        sent = _fill(sock, data)
        total += sent
        quiet = 0 if sent else quiet + 1
        assert total < 64 << 20, "nothing stops the sender"
        await asyncio.sleep(0.01)
    return total


async def test_the_server_is_reached_when_there_is_something_to_send(ends: Ends) -> None:
    await ends.send(b"\0" * 10)
    ends._listening.settimeout(0.1)
    with pytest.raises(TimeoutError):
        ends._listening.accept()


async def test_a_server_that_does_not_read_stops_the_client_and_loses_nothing(ends: Ends) -> None:
    server = await ends.authenticate()
    await ends.play()
    size = 16 << 20
    await ends.send(HEADER.pack(size, 0, 0, 0, 0))
    sent = await _filled(ends.client, b"x" * 65536)
    assert sent < KERNEL + 2 * FULL
    reading = asyncio.ensure_future(ends.received(server, HEADER.size + size))
    async with asyncio.timeout(LIMIT):
        await asyncio.get_running_loop().sock_sendall(ends.client, b"x" * (size - sent))
    assert (await reading)[HEADER.size :] == b"x" * size


async def test_a_client_that_does_not_read_stops_the_server_and_is_disconnected(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "STALL_TIME", 1.0)
    server = await ends.authenticate()
    await ends.play()
    request = packet_frame(numbers(Command.REQUEST, NONE, 0, 4096))
    assert await _filled(server, request * 100) < KERNEL + 2 * FULL
    await ends.until(lambda: ends.ended)
    assert ends.ended == ["it does not read what the server sends"]


BLOCK = HEADER.pack(400, 0, 0, 0, 0) + bytes(range(200)) * 2
ASKED = packet_frame(numbers(Command.REQUEST, NONE, 0, 400))


async def test_single_blocks_and_requests_pass_as_they_are(ends: Ends) -> None:
    server = await ends.authenticate()
    await ends.play()
    for _ in range(3):
        async with asyncio.timeout(LIMIT):
            await asyncio.get_running_loop().sock_sendall(server, ASKED)
        assert await ends.received(ends.client, len(ASKED)) == ASKED
        await ends.send(BLOCK)
        assert await ends.received(server, len(BLOCK)) == BLOCK


@pytest.mark.parametrize("cut", [1, HEADER.size, HEADER.size + 1, len(BLOCK) - 1])
async def test_what_looks_like_a_block_within_a_block_is_its_data(ends: Ends, cut: int) -> None:
    """A read may begin anywhere; only the position in the stream says what is a header."""
    server = await ends.authenticate()
    await ends.play()
    other = HEADER.pack(400, 7, 0, 0, 0)  # A channel that the client does not have, as a header.
    outer = HEADER.pack(len(BLOCK) + len(other), 0, 0, 0, 0) + BLOCK + other
    for part in (outer[:cut], outer[cut : HEADER.size], outer[max(cut, HEADER.size) :]):
        await ends.send(part)
        if len(part) > HEADER.size:
            await asyncio.sleep(0.05)
    assert await ends.received(server, len(outer)) == outer


async def test_a_block_for_a_stream_of_nobody_is_not_passed_on(ends: Ends) -> None:
    server = await ends.authenticate()
    await ends.play()
    await ends.send(HEADER.pack(400, 7, 0, 0, 0) + bytes(400))
    await ends.send(BLOCK)
    assert await ends.received(server, len(BLOCK)) == BLOCK
    async with asyncio.timeout(LIMIT):
        await asyncio.get_running_loop().sock_sendall(
            server, packet_frame(numbers(Command.REQUEST, NONE, 7, 400)) + ASKED
        )
        assert await ends.received(ends.client, len(ASKED)) == ASKED


async def test_a_block_with_wrong_flags_ends_the_connection(ends: Ends) -> None:
    await ends.authenticate()
    await ends.play()
    await ends.send(HEADER.pack(400, 0, 0, 0, 0x80000000) + bytes(400))
    await ends.until(lambda: ends.ended)
    assert "shared memory" in ends.ended[0]


async def test_single_blocks_are_slowed_down_to_their_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "BYTE_BURST", 20 * len(BLOCK))
    monkeypatch.setattr(relay, "BYTE_RATE", 40 * len(BLOCK))
    ends = Ends(tmp_path)
    server = await ends.authenticate()
    await ends.play()
    began = asyncio.get_running_loop().time()
    for _ in range(64):
        await ends.send(BLOCK)
        await ends.received(server, len(BLOCK))
    ends.close()
    # 64 blocks are 44 more than the burst; the last 16 at least have to wait for 12 of the earlier ones.
    assert asyncio.get_running_loop().time() - began > 0.3


async def test_commands_are_slowed_down_to_their_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "COMMAND_BURST", 20)
    monkeypatch.setattr(relay, "COMMAND_RATE", 25)
    ends = Ends(tmp_path)
    server = await ends.authenticate()
    began = asyncio.get_running_loop().time()
    one = packet_frame(numbers(Command.GET_SERVER_INFO, 5))
    for _ in range(3):  # the second 20 commands are too many, and the third have to wait for that
        await ends.send(one * 20)
        await ends.received(server, 20 * len(one))
    ends.close()
    assert asyncio.get_running_loop().time() - began > 0.6


async def test_a_reply_is_work_of_the_container_that_asked(ends: Ends) -> None:
    """A short command may have a reply of many kilobytes; what the server sends unasked is not its work."""
    server = await ends.authenticate()
    await ends.play()
    spent: list[float] = []

    class Work(Allowance):
        def spend(self, amount: float, now: float) -> float:
            spent.append(amount)
            return 3600.0 if len(spent) == 2 else 0.0

    ends.relay._work = Work(1, 1)
    request = packet_frame(numbers(Command.REQUEST, NONE, 0, 4096))
    await asyncio.get_running_loop().sock_sendall(server, request)
    await ends.received(ends.client, len(request))
    assert spent == []
    await ends.send(one := packet_frame(numbers(Command.GET_SINK_INFO_LIST, 5)))
    await ends.received(server, len(one))
    await asyncio.get_running_loop().sock_sendall(server, packet_frame(numbers(Command.REPLY, 2)))
    await ends.until(lambda: len(spent) == 2)
    await ends.send(one)  # The client waits now.
    server.setblocking(False)
    await asyncio.sleep(0.1)
    with pytest.raises(BlockingIOError):
        server.recv(1)


async def test_a_client_waits_while_the_server_owes_it_replies(ends: Ends) -> None:
    await ends.authenticate()
    commands = packet_frame(numbers(Command.GET_SERVER_INFO, 5))
    sent = await _filled(ends.client, commands)
    assert sent < KERNEL
    assert ends.relay.conversation.pending <= PENDING_LIMIT


@pytest.mark.parametrize("side", ["client", "server"])
async def test_the_end_of_one_side_is_the_end_of_the_other(ends: Ends, side: str) -> None:
    server = await ends.authenticate()
    (ends.client if side == "client" else server).close()
    other = server if side == "client" else ends.client
    async with asyncio.timeout(LIMIT):
        assert await asyncio.get_running_loop().sock_recv(other, 1) == b""
    assert ends.ended == [""]


@pytest.mark.parametrize("side", ["client", "server"])
async def test_nonsense_ends_both_sides_with_a_reason(ends: Ends, side: str) -> None:
    server = await ends.authenticate()
    async with asyncio.timeout(LIMIT):
        await asyncio.get_running_loop().sock_sendall(ends.client if side == "client" else server, bytes(20))
    await ends.until(lambda: ends.ended)
    assert "a packet of 0 bytes" in ends.ended[0] or "a block of 0 bytes" in ends.ended[0]
    assert ("sound server" in ends.ended[0]) == (side == "server")


async def test_a_session_without_a_sound_server_is_a_reason(tmp_path: Path, ends: Ends) -> None:
    (tmp_path / "native").unlink()
    await ends.send(packet_frame(numbers(Command.AUTH, 1, 35) + b"x\0\0\1\0" + bytes(256)))
    await ends.until(lambda: ends.ended)
    assert "cannot be reached" in ends.ended[0]

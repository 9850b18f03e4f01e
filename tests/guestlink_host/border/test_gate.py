"""The gate's bounds, with a plain server behind it instead of gRPC's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guestlink.address import UnixAddress
from guestlink.errors import GuestlinkError
from guestlink.sockets import PeerPolicy, connect_soon, listen
from guestlink_host.border import gate as gate_module
from guestlink_host.border.gate import (
    ALL_UNANSWERED,
    CALLS,
    CONNECTION_DESCRIPTORS,
    CONTAINER_DESCRIPTORS,
    DESCRIPTOR_RESERVE,
    GUARANTEED,
    MIB,
    UNANSWERED,
    UNFINISHED,
    Gate,
    GateShare,
    GateTotals,
)
from support.http2_attacker import DATA, END_STREAM, HEADERS, PREFACE, frame

LIMIT = 60.0
PLENTY = 10_000


class Border:
    """A gate at the path ``front``; the test is the client, and the server behind it."""

    def __init__(self, path: Path) -> None:
        self.front = UnixAddress(str(path / "front"))
        back = UnixAddress(str(path / "back"))
        self.server = listen(back)
        self.totals = GateTotals(PLENTY)
        self.share = GateShare("demo", self.totals)
        self.gate = Gate(listen(self.front), back, PeerPolicy(), self.share)
        self.gate.start()

    async def connect(self, *words: bytes) -> socket.socket:
        client = await connect_soon(self.front)
        await asyncio.get_running_loop().sock_sendall(client, b"".join(words))
        return client

    async def speak(self) -> tuple[socket.socket, socket.socket]:
        """A connection through the gate: the client's socket, and the server's."""
        client = await self.connect(PREFACE)
        async with asyncio.timeout(LIMIT):
            server, _ = await asyncio.get_running_loop().sock_accept(self.server)
        server.setblocking(False)
        assert await receive(server, len(PREFACE)) == PREFACE
        return client, server

    async def close(self) -> None:
        await self.gate.close()
        self.share.close()
        self.server.close()
        assert (self.totals.containers, self.totals.further, self.totals.unanswered, self.totals.busy) == (
            0,
            0,
            0,
            0,
        )


async def receive(sock: socket.socket, size: int = 1 << 16) -> bytes:
    async with asyncio.timeout(LIMIT):
        return await asyncio.get_running_loop().sock_recv(sock, size)


async def ends(sock: socket.socket) -> None:
    """Wait until the gate has closed a connection."""
    try:
        while await receive(sock):
            pass
    except ConnectionResetError:
        pass


@pytest.fixture
async def border(tmp_path: Path) -> AsyncIterator[Border]:
    made = Border(tmp_path)
    yield made
    await made.close()


async def test_bytes_pass_in_both_directions_and_calls_are_counted_until_their_answer(border: Border) -> None:
    client, server = await border.speak()
    request = frame(HEADERS, 4, 1, b"head") + frame(DATA, END_STREAM, 1, b"body")
    client.sendall(request)
    with client, server:
        assert await receive(server) == request
        assert (border.share.calls, border.share.unfinished, border.share.unanswered) == (1, 0, 8)
        answer = frame(HEADERS, 5, 1, b"ok")
        server.sendall(answer)
        assert await receive(client) == answer
        assert (border.share.calls, border.share.unanswered) == (0, 0)


async def test_a_request_that_does_not_end_in_its_time_costs_the_connection(
    border: Border, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gate_module, "REQUEST_TIME", 0.05)
    client, server = await border.speak()
    client.sendall(frame(HEADERS, 4, 1, b"head"))
    with client, server:
        await ends(client)
        await ends(server)
    assert "disconnected demo: a request took too long" in caplog.messages


async def test_a_client_that_takes_no_answer_in_its_time_is_disconnected(
    border: Border, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gate_module, "ANSWER_TIME", 0.05)
    client, server = await border.speak()
    with client, server:
        async with asyncio.timeout(LIMIT):
            with contextlib.suppress(OSError):
                while True:
                    await asyncio.get_running_loop().sock_sendall(server, frame(0xFE, 0, 0, bytes(10_000)))
            while "disconnected demo: it takes no answers" not in caplog.messages:
                await asyncio.sleep(0.01)


async def test_a_silent_client_is_disconnected_after_its_time_and_reaches_no_server(
    border: Border, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "SILENT_TIME", 0.05)
    for words in (b"", PREFACE[:10]):
        with await border.connect(words) as client:
            await ends(client)
    with pytest.raises(BlockingIOError):
        border.server.accept()


async def test_a_client_that_admit_refuses_reaches_no_server(tmp_path: Path) -> None:
    async def admit(connection: socket.socket) -> bool:
        assert await asyncio.get_running_loop().sock_recv(connection, 1) == b"x"
        raise GuestlinkError("no")

    made = Border(tmp_path)
    front = UnixAddress(str(tmp_path / "guarded"))
    guarded = Gate(listen(front), UnixAddress(str(tmp_path / "back")), PeerPolicy(), made.share, admit=admit)
    guarded.start()
    with await connect_soon(front) as client:
        await asyncio.get_running_loop().sock_sendall(client, b"x" + PREFACE)
        await ends(client)
    with pytest.raises(BlockingIOError):
        made.server.accept()
    await guarded.close()
    await made.close()


async def test_every_bound_of_a_share_is_a_breach() -> None:
    for too_much in ((CALLS + 1, 0, 0), (0, UNFINISHED + 1, 0), (0, 0, UNANSWERED + 1)):
        share = GateShare("demo", GateTotals(PLENTY))
        with pytest.raises(GuestlinkError, match="disconnected demo"):
            share.add(*too_much)
        share.add(*(-each for each in too_much))


async def test_containers_that_hold_too_much_together_have_equal_shares() -> None:
    totals = GateTotals(PLENTY)
    crowd = [GateShare(f"bad{number}", totals) for number in range(ALL_UNANSWERED // UNANSWERED + 1)]
    held = []
    for share in crowd:
        try:
            share.add(0, 0, UNANSWERED)
        except GuestlinkError:
            share.add(0, 0, -UNANSWERED)
        else:
            held.append(share)
    assert totals.unanswered <= ALL_UNANSWERED
    honest = GateShare("good", totals)
    honest.add(0, 0, MIB)  # Less than an equal share.
    for share in (honest, *held):
        share.add(0, 0, -share.unanswered)
    assert (totals.unanswered, totals.busy) == (0, 0)


@pytest.mark.parametrize("further", [0, 3])
async def test_the_descriptors_that_are_left_decide_how_many_connections_there_may_be(further: int) -> None:
    totals = GateTotals(DESCRIPTOR_RESERVE + 2 * CONTAINER_DESCRIPTORS + further * CONNECTION_DESCRIPTORS)
    one, other = GateShare("one", totals), GateShare("other", totals)
    for _ in range(GUARANTEED + further):
        assert one.refusal() == ""
        one.add_connection(1)
    assert "as many as the host has descriptors for" in one.refusal()
    for _ in range(GUARANTEED):
        assert other.refusal() == ""
        other.add_connection(1)
    assert other.refusal()
    one.add_connection(-1)
    assert (other.refusal() == "") == (further > 0)

"""Connections that a container has parked: the newest one that is alive is used, and there are never too many."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator

import pytest

from guestlink_host.containers import parked_connections
from guestlink_host.containers.parked_connections import LIMIT, NothingParked, ParkedConnections


@pytest.fixture
async def parked() -> AsyncIterator[ParkedConnections]:
    made = ParkedConnections("a connection of demo")
    yield made
    made.close()


def park(parked: ParkedConnections) -> socket.socket:
    """Park a connection; returns the container's end."""
    ours, theirs = socket.socketpair()
    parked.park(ours)
    return theirs


async def reached(connection: socket.socket, theirs: socket.socket) -> bool:
    """Whether a connection leads to this end."""
    connection.send(b"x")
    theirs.settimeout(0)
    try:
        return theirs.recv(1) == b"x"
    except BlockingIOError:
        return False


async def test_the_newest_is_taken_first_and_its_peer_is_known(parked: ParkedConnections) -> None:
    with park(parked), park(parked) as newest:
        with await parked.connect() as taken:
            assert await reached(taken, newest)
        assert parked.peer.uid == os.getuid()
        assert len(parked) == 1


async def test_one_that_has_ended_is_never_used(parked: ParkedConnections) -> None:
    with park(parked) as alive:
        park(parked).close()
        with await parked.connect() as taken:
            assert await reached(taken, alive)


async def test_one_that_has_ended_is_forgotten_at_once(parked: ParkedConnections) -> None:
    park(parked).close()
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        while len(parked):
            await asyncio.sleep(0.001)


async def test_a_further_one_takes_the_place_of_the_oldest(parked: ParkedConnections) -> None:
    ends = [park(parked) for _ in range(LIMIT + 2)]
    try:
        assert len(parked) == LIMIT
        assert [end.recv(1) for end in ends[:2]] == [b"", b""]
    finally:
        for end in ends:
            end.close()


async def test_who_needs_one_waits_for_it_a_moment(
    parked: ParkedConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parked_connections, "PATIENCE", 60.0)
    waiting = asyncio.ensure_future(parked.connect())
    await asyncio.sleep(0)
    with park(parked) as end:
        async with asyncio.timeout(60):
            with await waiting as taken:
                assert await reached(taken, end)


async def test_without_one_there_is_an_answer_soon(parked: ParkedConnections) -> None:
    began = time.monotonic()
    with pytest.raises(NothingParked, match="a connection of demo is missing"):
        await parked.connect()
    assert time.monotonic() - began < 30
    assert not parked.ever_parked

"""Consecutive sessions leak nothing: GUESTLINK_SESSIONS is their number, 200 by default."""

from __future__ import annotations

import gc
import os
import time

import psutil

from guestlink.vsh import Setup, encode_data
from support.stage import LIMIT
from support.vsh_peer import EOF, Vshd, names_of_children, terminal
from vshd.fork_server import SPARE_NAME

SESSIONS = int(os.environ.get("GUESTLINK_SESSIONS", "200"))
WARM = 50
MIB = 1 << 20


def test_sessions_in_a_row_leave_nothing(vshd: Vshd) -> None:
    _some(vshd, WARM)
    daemon = psutil.Process(vshd.process.pid)
    before = _held(daemon)
    _some(vshd, SESSIONS)
    _assert_no_more(daemon, before)


def test_a_hundred_at_once_leave_nothing(vshd: Vshd) -> None:
    _some(vshd, WARM)
    daemon = psutil.Process(vshd.process.pid)
    before = _held(daemon)
    for _ in range(max(SESSIONS // 1000, 1)):
        peers = [
            vshd.peer().begin(terminal("cat") if n % 2 else Setup(argv=(b"cat",), nopty=True)) for n in range(100)
        ]
        for number, peer in enumerate(peers):
            peer.say(encode_data(1, b"%d\n" % number), EOF)
        for number, peer in enumerate(peers):
            with peer:
                assert b"%d" % number in peer.finish().out
                assert peer.code == 0
    _assert_no_more(daemon, before)


def _assert_no_more(daemon: psutil.Process, before: tuple[int, int]) -> None:
    """Wait until a vshd holds no more descriptors than before; it may need a moment after its last session."""
    deadline = time.monotonic() + LIMIT
    while (after := _held(daemon))[0] > before[0]:
        assert time.monotonic() < deadline, (before, after)
    assert after[1] < before[1] + MIB


def _some(vshd: Vshd, count: int) -> None:
    """Sessions of all kinds: with and without a terminal, refused, broken, and abandoned by the client."""
    for number in range(count):
        with vshd.peer() as peer:
            match number % 5:
                case 0:
                    assert peer.begin(terminal("true")).finish().code == 0
                case 1:
                    assert peer.begin(Setup(argv=(b"/missing",), nopty=True)).finish().code == 127
                case 2:
                    peer.say(b"\xff" * 8)
                    peer.finish()
                case 3:
                    peer.begin(Setup(argv=(b"cat",), nopty=True))
                case _:
                    assert peer.begin(Setup(argv=(b"true",), nopty=True)).finish().code == 0
        if number % 100 == 99:
            gc.collect()


def _held(daemon: psutil.Process) -> tuple[int, int]:
    """The number of descriptors and the memory in bytes of a vshd without sessions."""
    deadline = time.monotonic() + LIMIT
    while (left := names_of_children(daemon.pid)) != [SPARE_NAME] * 2:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    return daemon.num_fds(), daemon.memory_info().rss

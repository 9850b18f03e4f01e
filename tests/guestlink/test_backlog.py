"""Bytes that wait for a slow reader."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from guestlink.backlog import Backlog


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe2(os.O_NONBLOCK)
    yield read, write
    os.close(read)
    os.close(write)


def _drain(read: int) -> bytes:
    parts = []
    try:
        while part := os.read(read, 1 << 20):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts)


def test_a_slow_reader_gets_every_byte_in_order(pipe: tuple[int, int]) -> None:
    read, write = pipe
    backlog, sent, received = Backlog(), b"", b""
    for number in range(600):
        data = bytes([number % 251]) * (number * 7 % 5000)
        backlog.add(data)
        sent += data
    assert backlog.size == len(sent)
    while backlog.size:
        backlog.write(write)
        received += _drain(read)
    assert received == sent


def test_new_bytes_follow_the_queue_and_are_copied(pipe: tuple[int, int]) -> None:
    read, write = pipe
    backlog = Backlog()
    backlog.add(b"first ")
    lent = bytearray(b"x" * 200_000)
    backlog.write(write, [b"second ", lent])
    assert 0 < backlog.size < 200_000
    lent[:] = b"y" * 200_000
    received = b""
    while backlog.size:
        received += _drain(read)
        backlog.write(write)
    assert received + _drain(read) == b"first second " + b"x" * 200_000


def test_a_write_can_be_limited(pipe: tuple[int, int]) -> None:
    read, write = pipe
    backlog = Backlog()
    backlog.add(b"a" * 3000)
    backlog.write(write, limit=2000)
    assert (backlog.size, _drain(read)) == (1000, b"a" * 2000)
    backlog.write(write, limit=2000)
    assert (backlog.size, _drain(read)) == (0, b"a" * 1000)


def test_a_reader_that_has_closed_is_an_error() -> None:
    near, far = socket.socketpair()
    far.close()
    backlog = Backlog()
    with near, pytest.raises(BrokenPipeError):
        backlog.send(near, [b"x"])

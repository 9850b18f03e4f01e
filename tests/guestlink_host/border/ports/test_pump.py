"""The pump of bytes: what goes in comes out, ends and resets pass, and nothing is left."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from guestlink_host.border.ports import pump as pump_module
from guestlink_host.border.ports.poller import Poller
from guestlink_host.border.ports.pump import Pump

LIMIT = 60.0
SIZE = 24 * 1024 * 1024
RESET = struct.pack("ii", 1, 0)


class Running:
    """A pump in a thread; :attr:`client` and :attr:`server` are the far ends of one of its pairs."""

    def __init__(self, family: str) -> None:
        self.poller = Poller()
        self.pump = Pump(self.poller)
        self.ended = threading.Event()
        self.client, near = _connected(family)
        self.server, far = _connected(family)
        for one in (self.client, self.server):
            one.settimeout(LIMIT)
        self.pump.join(near, far, self.ended.set)
        self._wake, wake = socket.socketpair()
        self.poller.watch(wake.fileno(), 1, lambda _events: self.poller.stop())
        self._held = wake
        self._thread = threading.Thread(target=self.poller.run)
        self._thread.start()

    def close(self) -> None:
        self._wake.send(b"x")
        self._thread.join()
        self.pump.close()
        self.poller.close()
        for one in (self._wake, self._held, self.client, self.server):
            one.close()


def _connected(family: str) -> tuple[socket.socket, socket.socket]:
    if family == "unix":
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return client, listener.accept()[0]


@pytest.fixture(params=["tcp", "unix"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    before = len(os.listdir("/proc/self/fd"))
    made = Running(request.param)
    yield made
    made.close()
    assert len(os.listdir("/proc/self/fd")) <= before


def _in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def _digest(sock: socket.socket) -> str:
    found = hashlib.sha256()
    while piece := sock.recv(1 << 16):
        found.update(piece)
    return found.hexdigest()


def _send(sock: socket.socket, content: bytes) -> None:
    sock.sendall(content)
    sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("pipes", [pump_module.PIPES, 0])
def test_bytes_arrive_both_ways_at_once_and_the_directions_end_separately(
    running: Running, pipes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump_module, "PIPES", pipes)
    there, back = os.urandom(SIZE), os.urandom(SIZE // 2)
    sending = _in_thread(lambda: _send(running.client, there))
    answer: list[str] = []
    answering = _in_thread(lambda: _send(running.server, back))
    reading = _in_thread(lambda: answer.append(_digest(running.client)))
    assert _digest(running.server) == hashlib.sha256(there).hexdigest()
    for one in (sending, answering, reading):
        one.join()
    assert answer == [hashlib.sha256(back).hexdigest()]
    assert running.ended.wait(LIMIT)


def test_an_answer_arrives_after_the_end_of_the_question(running: Running) -> None:
    _send(running.client, b"question")
    assert running.server.recv(100) == b"question"
    assert running.server.recv(100) == b""
    assert not running.ended.is_set()
    _send(running.server, b"answer")
    assert running.client.recv(100) == b"answer"
    assert running.client.recv(100) == b""
    assert running.ended.wait(LIMIT)


def test_small_messages_go_back_and_forth(running: Running) -> None:
    for number in range(300):
        message = struct.pack("I", number)
        running.client.sendall(message)
        assert running.server.recv(100) == message
        running.server.sendall(message)
        assert running.client.recv(100) == message


def test_a_program_that_does_not_read_stops_the_other_one(running: Running) -> None:
    running.client.setblocking(False)
    content = os.urandom(1 << 20)
    sent = hashlib.sha256()
    quiet = 0
    with contextlib.suppress(BlockingIOError):
        while quiet < 256 << 20:
            count = running.client.send(content)
            sent.update(content[:count])
            quiet += count
    # Whether the pump still moves what it holds or not, everything arrives in order.
    running.client.settimeout(LIMIT)
    rest = _in_thread(lambda: running.client.shutdown(socket.SHUT_WR))
    assert _digest(running.server) == sent.hexdigest()
    rest.join()
    assert quiet < 256 << 20


def test_a_reset_is_passed_on() -> None:
    running = Running("tcp")
    try:
        running.client.sendall(b"x")
        assert running.server.recv(1) == b"x"
        running.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        running.client.close()
        with pytest.raises(ConnectionResetError):
            running.server.recv(1)
        assert running.ended.wait(LIMIT)
    finally:
        running.close()


def test_a_program_that_exits_while_bytes_are_on_their_way_ends_the_other_one(running: Running) -> None:
    running.server.close()
    with contextlib.suppress(OSError):
        while True:
            running.client.sendall(os.urandom(1 << 16))
    assert running.ended.wait(LIMIT)


def test_a_pipe_with_bytes_in_it_is_not_used_again() -> None:
    """A direction that fails with bytes in its pipe gives them to no other connection."""
    first = Running("tcp")
    try:
        sending = _in_thread(lambda: _try_send(first.client))
        first.server.recv(1 << 20)
        first.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        first.server.close()
        sending.join()
        assert first.ended.wait(LIMIT)
        for pipe in first.pump._pipes:
            with pytest.raises(BlockingIOError):
                os.read(pipe.end, 1)
    finally:
        first.close()


def _try_send(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.sendall(bytes(SIZE))

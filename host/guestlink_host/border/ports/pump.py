"""Moves the bytes of pairs of connected stream sockets, in both directions.

Small messages are copied with recv(2) and send(2). A direction that is always full gets a pipe, and the kernel
then moves its bytes from socket to pipe to socket (splice(2)) without a copy in this process. Each direction holds
one piece of bytes at most, and ends by itself: the other side gets everything, then an end of file. A reset on one
side is a reset on the other one.

One end of a pair may be a socket that a container has passed, and the container may still hold it: it may change
the socket's flags and options, and read from it. So no call here depends on the socket's O_NONBLOCK as far as the
kernel allows that, and what the container does there concerns the process of that container only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable

from guestlink_host.border.ports.poller import Poller

CHUNK = 64 * 1024
"""Bytes that are copied at a time."""
SMALL_CHUNK = 4 * 1024
"""The same while :data:`HELD` bytes wait for their sinks."""
HELD = 64 * 1024 * 1024
"""Copied bytes that may wait for their sinks, of all pairs together, before each holds less."""
PIPE_SIZE = 1024 * 1024
"""Bytes that a pipe should hold; the kernel's default limit for a user (pipe(7))."""
PIPES = 48
"""Pipes at a time: together within the kernel's default limit for a user (pipe-user-pages-soft, pipe(7))."""
TURN = 8 * 1024 * 1024
"""Bytes that a direction moves before the others get their turn."""

_DONT_WAIT = socket.MSG_DONTWAIT
_SPLICE = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_READ = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP
_OVER = select.EPOLLRDHUP | select.EPOLLHUP
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close(2) resets the connection (socket(7))."""


class _Pipe:
    def __init__(self) -> None:
        self.end, self.start = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # Then it holds what the kernel gives.
            fcntl.fcntl(self.start, fcntl.F_SETPIPE_SZ, PIPE_SIZE)

    def close(self) -> None:
        os.close(self.end)
        os.close(self.start)


class _Direction:
    __slots__ = (
        "bulky",
        "done",
        "ended",
        "held",
        "over",
        "pair",
        "pipe",
        "readable",
        "rest",
        "sink",
        "source",
        "writable",
    )

    def __init__(self, pair: Pair, source: socket.socket, sink: socket.socket) -> None:
        self.pair = pair
        self.source = source
        self.sink = sink
        self.readable = True
        self.writable = True
        self.over = False  # The source has sent its end of file, or more than that.
        self.ended = False  # We have read the end of file.
        self.done = False  # The sink has got it, too.
        self.bulky = False  # The last read filled the buffer.
        self.rest = b""  # Copied bytes that the sink has not taken.
        self.pipe: _Pipe | None = None
        self.held = 0  # Bytes in the pipe.


class Pair:
    """Two connections whose bytes are moved; made by :meth:`Pump.join`."""

    __slots__ = ("back", "closed", "ended", "first", "forth", "second")

    def __init__(self, first: socket.socket, second: socket.socket, ended: Callable[[], None]) -> None:
        self.first = first
        self.second = second
        self.ended = ended
        self.closed = False
        self.forth = _Direction(self, first, second)
        self.back = _Direction(self, second, first)


class Pump:
    """Moves the bytes of all pairs of one process.

    :param poller: watches the sockets.
    """

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._buffer = memoryview(bytearray(CHUNK))
        self._pairs: set[Pair] = set()
        self._pipes: list[_Pipe] = []
        self._made = 0
        self._waiting = 0
        self._splices = True

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self._pairs)

    def join(self, first: socket.socket, second: socket.socket, ended: Callable[[], None]) -> Pair:
        """Begin to move bytes between two connected stream sockets.

        The pump closes both sockets when both directions have ended, or one has failed.

        :param ended: called once, after the sockets are closed.
        :raises OSError: a socket cannot be watched; both are closed.
        """
        for one in (first, second):
            one.setblocking(False)
            if one.family != socket.AF_UNIX:
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = Pair(first, second, ended)
        try:
            self._poller.watch(
                first.fileno(), _EVENTS, lambda events: self._happened(pair.forth, pair.back, events)
            )
            self._poller.watch(
                second.fileno(), _EVENTS, lambda events: self._happened(pair.back, pair.forth, events)
            )
        except OSError:
            for one in (first, second):
                self._poller.forget(one.fileno())
                one.close()
            raise
        self._pairs.add(pair)
        return pair

    def reset(self, pair: Pair) -> None:
        """Close both sockets of a pair with a reset."""
        for one in (pair.first, pair.second):
            if one.fileno() >= 0:
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close(pair)

    def close(self) -> None:
        """Close every pair and every pipe."""
        for pair in tuple(self._pairs):
            self.reset(pair)
        while self._pipes:
            self._pipes.pop().close()

    def _happened(self, outgoing: _Direction, incoming: _Direction, events: int) -> None:
        """A socket can be read or written, or has ended.

        :param outgoing: the direction of which the socket is the source; of ``incoming`` it is the sink.
        """
        pair = outgoing.pair
        if events & select.EPOLLERR and outgoing.source.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.reset(pair)
            return
        if events & _READ and not outgoing.done:
            outgoing.readable = True
            if events & _OVER:
                outgoing.over = True
            self._move(outgoing)
        if events & select.EPOLLOUT and not incoming.writable and not pair.closed:
            incoming.writable = True
            self._move(incoming)

    def _move(self, one: _Direction) -> None:
        """Move what can be moved, at most :data:`TURN` bytes; the rest has its turn later."""
        if one.pair.closed or one.done:
            return
        left = TURN
        try:
            while True:
                if one.held or one.rest:
                    if not one.writable or not self._flush(one):
                        return
                elif one.ended:
                    self._finish(one)
                    return
                elif not one.readable:
                    self._release(one)
                    return
                elif left <= 0:
                    self._poller.soon(lambda: self._move(one))
                    return
                else:
                    left -= self._splice_in(one) if self._wants_pipe(one) else self._copy(one)
        except OSError:
            self.reset(one.pair)

    def _wants_pipe(self, one: _Direction) -> bool:
        """Whether the direction has a pipe now, because it is worth one and there is one."""
        if one.pipe is not None:
            return True
        if not one.bulky or not self._splices:
            return False
        if self._pipes:
            one.pipe = self._pipes.pop()
        elif self._made < PIPES:
            try:
                one.pipe = _Pipe()
            except OSError:
                return False
            self._made += 1
        return one.pipe is not None

    def _copy(self, one: _Direction) -> int:
        """Read a piece and send what the sink takes of it.

        :raises OSError: either side is gone.
        """
        size = CHUNK if self._waiting < HELD else SMALL_CHUNK
        try:
            count = one.source.recv_into(self._buffer, size, _DONT_WAIT)
        except BlockingIOError:
            one.readable = one.bulky = False
            return 0
        if not count:
            one.ended = True
            return 0
        one.bulky = count == CHUNK
        if count < size and not one.over:
            one.readable = False  # A stream that gave less has no more now (epoll(7)).
        sent = 0
        try:
            sent = one.sink.send(self._buffer[:count], _DONT_WAIT)
        except BlockingIOError:
            one.writable = False
        if sent < count:
            one.rest = bytes(self._buffer[sent:count])
            self._waiting += len(one.rest)
        return count

    def _splice_in(self, one: _Direction) -> int:
        assert one.pipe is not None
        try:
            count = os.splice(one.source.fileno(), one.pipe.start, PIPE_SIZE, flags=_SPLICE)
        except BlockingIOError:
            one.readable = False
            return 0
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._splices = False  # This kernel does not splice such sockets.
            self._release(one)
            return 0
        one.held = count
        one.ended = not count
        one.bulky = count >= CHUNK
        return count

    def _flush(self, one: _Direction) -> bool:
        """Send what is held; returns whether the sink took something.

        :raises OSError: the sink is gone.
        """
        try:
            if one.held:
                assert one.pipe is not None
                one.held -= os.splice(one.pipe.end, one.sink.fileno(), one.held, flags=_SPLICE)
            else:
                sent = one.sink.send(one.rest, _DONT_WAIT)
                one.rest = one.rest[sent:]
                self._waiting -= sent
        except BlockingIOError:
            one.writable = False
            return False
        return True

    def _finish(self, one: _Direction) -> None:
        one.done = True
        self._release(one)
        with contextlib.suppress(OSError):
            one.sink.shutdown(socket.SHUT_WR)
        if one.pair.forth.done and one.pair.back.done:
            self._close(one.pair)

    def _release(self, one: _Direction) -> None:
        """Give the pipe of a direction back; one with bytes in it is closed."""
        pipe, one.pipe = one.pipe, None
        if pipe is None:
            return
        if one.held:
            pipe.close()
            self._made -= 1
            one.held = 0
        else:
            self._pipes.append(pipe)

    def _close(self, pair: Pair) -> None:
        if pair.closed:
            return
        pair.closed = True
        self._pairs.discard(pair)
        for one in (pair.forth, pair.back):
            self._release(one)
            self._waiting -= len(one.rest)
        for sock in (pair.first, pair.second):
            self._poller.forget(sock.fileno())
            sock.close()
        pair.ended()

"""Bytes that a slow reader has not taken yet."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

Buffer = bytes | bytearray | memoryview

_PIECES = 512
"""Buffers in one call; the kernel takes 1024 at most (IOV_MAX)."""
_SMALL, _JOINED = 1024, 64 * 1024
"""Buffers below the first size are joined into one of up to the second, because each object costs memory too."""


class Backlog:
    """A queue in front of a non-blocking descriptor.

    :ivar size: bytes in the queue.
    """

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: deque[Buffer] = deque()
        self.size = 0

    def add(self, data: Buffer) -> None:
        """Append bytes. The caller must not change the buffer afterwards."""
        size = len(data)
        self.size += size
        pieces = self._pieces
        if size >= _SMALL:
            pieces.append(data)
        elif pieces and type(pieces[-1]) is bytearray and len(pieces[-1]) < _JOINED:
            pieces[-1] += data
        else:
            pieces.append(bytearray(data))

    def clear(self) -> None:
        """Drop everything."""
        self._pieces.clear()
        self.size = 0

    def send(self, sock: socket.socket, new: Sequence[Buffer] = ()) -> None:
        """Send the queue and then the new buffers, as far as the socket takes them.

        New bytes that are queued are copied, so that the caller can reuse their memory.

        :raises OSError: the connection is broken.
        """
        if self._pieces:
            self._drain(sock.sendmsg)
        if new:
            self._put(sock.sendmsg, new)

    def write(self, descriptor: int, new: Sequence[Buffer] = (), *, limit: int = sys.maxsize) -> None:
        """Write the queue and then the new buffers, as far as the descriptor takes them.

        New bytes that are queued are copied, so that the caller can reuse their memory.

        :param limit: how many bytes of the queue to write at most; with new buffers there is no limit.
        :raises OSError: the reader has closed.
        """
        if not self._pieces and not new:
            return
        if new or self.size <= limit:
            write = partial(os.writev, descriptor)
            if self._pieces:
                self._drain(write)
            if new:
                self._put(write, new)
            return
        with contextlib.suppress(BlockingIOError):
            first = memoryview(self._pieces[0])
            taken = os.write(descriptor, first[:limit])
            self.size -= taken
            if taken < len(first):
                self._pieces[0] = first[taken:]
            else:
                self._pieces.popleft()

    def _put(self, output: Callable[[Sequence[Buffer]], int], new: Sequence[Buffer]) -> None:
        taken = 0
        if not self._pieces:
            try:
                taken = output(new)
            except BlockingIOError:
                pass
        if taken == sum(map(len, new)):
            return
        for buffer in new:
            size = len(buffer)
            if taken < size:
                self.add(bytes(buffer[taken:]))
            taken = max(taken - size, 0)

    def _drain(self, output: Callable[[list[Buffer]], int]) -> None:
        pieces = self._pieces
        while pieces:
            batch = list(pieces) if len(pieces) <= _PIECES else [pieces[n] for n in range(_PIECES)]
            try:
                taken = output(batch)
            except BlockingIOError:
                return
            self.size -= taken
            for piece in batch:
                size = len(piece)
                if taken < size:
                    pieces[0] = memoryview(piece)[taken:]
                    break
                taken -= size
                pieces.popleft()
            else:
                continue
            if taken:
                return

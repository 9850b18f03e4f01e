"""A standard stream that is written without ever waiting: a slow reader must not keep vsh from its other work."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
from collections import deque
from itertools import islice

from guestlink.vsh import Bytes

_PIPE_BUF = 4096
"""Bytes that a pipe takes at once when poll(2) says that it takes any (pipe(7))."""
_BATCH = 64
"""Pieces written by one call."""


class Outlet:
    """Standard output or standard error.

    The descriptor is opened a second time, so that it can be made non-blocking for us alone: the one that we were
    given is shared with the shell and with every other program on the terminal.

    :param descriptor: 1 or 2.
    :param poller: is told what to wait for.
    :ivar broken: whether nobody reads any more.
    :ivar queued: bytes that wait.
    """

    def __init__(self, descriptor: int, poller: select.poll) -> None:
        self.queued = 0
        self.broken = False
        self._given = descriptor
        self._poller = poller
        self._queue: deque[Bytes] = deque()
        self._own: int | None = None
        self._ended = False
        self._mask: int | None = None
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            with contextlib.suppress(OSError):
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                self._own = os.open(f"/proc/self/fd/{descriptor}", flags)
        # What cannot be opened again (a socket) is written in pieces that do not block.
        self._bounded = self._own is None and not stat.S_ISREG(mode)
        self.watch()

    @property
    def _descriptor(self) -> int:
        return self._given if self._own is None else self._own

    def watch(self) -> None:
        """Wait for room if something is queued; a reader that has gone shows with the next byte, as anywhere."""
        self._ask(select.POLLOUT if self._queue else None)

    def put(self, data: Bytes) -> None:
        """Write bytes behind those that wait."""
        if self.broken or self._ended:
            return
        self._queue.append(data)
        self.queued += len(data)

    def put_lent(self, data: Bytes) -> None:
        """Write bytes whose memory will be used again: what has to wait is copied."""
        if self._queue or self._bounded:
            self.put(bytes(data))
            return
        self.put(data)
        self.write()
        if self._queue:
            self._queue[0] = bytes(self._queue[0])

    def end(self) -> None:
        """No more comes: whoever reads our standard output learns it when everything is written."""
        self._ended = True
        self._close_if_done()

    def write(self) -> None:
        """Write what is taken now."""
        while self._queue:
            try:
                if self._bounded:
                    count = os.write(self._descriptor, self._queue[0][:_PIPE_BUF])
                else:
                    count = os.writev(self._descriptor, list(islice(self._queue, _BATCH)))
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.EIO, errno.ECONNRESET):
                    raise  # A full disk, for example: the user must hear of it.
                self.broken = True
                self._queue.clear()
                self.queued = 0
                self._ask(None)
                return
            self._written(count)
            if self._bounded:
                break
        self._close_if_done()

    def finish(self) -> None:
        """Write everything, and wait where the reader is slow."""
        if self._own is not None:
            os.set_blocking(self._own, True)
        while self._queue:
            self.write()

    def close(self) -> None:
        """Close what was opened here."""
        self._ask(None)
        if self._own is not None:
            os.close(self._own)
            self._own = None

    def _ask(self, mask: int | None) -> None:
        if mask == self._mask:
            return
        self._mask = mask
        if mask is None:
            self._poller.unregister(self._descriptor)
        else:
            self._poller.register(self._descriptor, mask)

    def _close_if_done(self) -> None:
        # Standard error stays: what we have to say ourselves goes there.
        if self._ended and not self._queue and self._given == 1 and not os.isatty(1):
            self.close()
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, 1)
            os.close(nowhere)

    def _written(self, count: int) -> None:
        self.queued -= count
        while count:
            first = self._queue[0]
            if count < len(first):
                self._queue[0] = memoryview(first)[count:]
                return
            count -= len(first)
            self._queue.popleft()

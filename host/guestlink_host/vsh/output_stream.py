"""Non-blocking writes to a standard stream: a slow reader must not stop vsh's other work."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
from collections.abc import Sequence

from guestlink.backlog import Backlog, Buffer

_PIPE_BUF = 4096
"""Bytes that a pipe accepts without blocking when poll(2) reports POLLOUT (pipe(7))."""


class OutputStream:
    """Standard output or standard error.

    We open the descriptor a second time, non-blocking: the open file that we inherited is shared with the shell and
    with every other program on the terminal, and O_NONBLOCK would affect them too.

    :param descriptor: 1 or 2.
    :param poller: polls the descriptor for POLLOUT while bytes are queued.
    :ivar broken: whether the reader has closed the stream.
    """

    def __init__(self, descriptor: int, poller: select.poll) -> None:
        self.broken = False
        self._given = descriptor
        self._poller = poller
        self._backlog = Backlog()
        self._own: int | None = None
        self._ended = False
        self._mask: int | None = None
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            with contextlib.suppress(OSError):
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                self._own = os.open(f"/proc/self/fd/{descriptor}", flags)
        # A descriptor that cannot be opened again (a socket) is written in pieces that do not block.
        self._bounded = self._own is None and not stat.S_ISREG(mode)
        self.watch()

    @property
    def queued(self) -> int:
        """Bytes in the queue."""
        return self._backlog.size

    @property
    def _descriptor(self) -> int:
        return self._given if self._own is None else self._own

    def watch(self) -> None:
        """Poll for POLLOUT while bytes are queued; the next write detects a reader that has gone."""
        self._ask(select.POLLOUT if self.queued else None)

    def put(self, data: Buffer) -> None:
        """Append bytes to the queue. The caller must not change them afterwards."""
        if not self.broken and not self._ended:
            self._backlog.add(data)

    def put_lent(self, data: Buffer) -> None:
        """Write bytes whose memory the caller reuses: copy those that stay in the queue."""
        if self.queued or self._bounded:
            self.put(bytes(data))
        elif not self.broken and not self._ended:
            self._try_to_write([data])

    def end(self) -> None:
        """Mark the end of the stream: close standard output when the queue is written."""
        self._ended = True
        self._close_if_done()

    def write(self) -> None:
        """Write as much of the queue as the reader accepts now."""
        self._try_to_write()
        self._close_if_done()

    def finish(self) -> None:
        """Write the whole queue; block if the reader is slow."""
        if self._own is not None:
            os.set_blocking(self._own, True)
        while self.queued:
            self.write()

    def close(self) -> None:
        """Close the descriptor that we opened."""
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
        # Standard error stays open for our own messages.
        if self._ended and not self.queued and self._given == 1 and not os.isatty(1):
            self.close()
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, 1)
            os.close(nowhere)

    def _try_to_write(self, new: Sequence[Buffer] = ()) -> None:
        try:
            if self._bounded:
                self._backlog.write(self._descriptor, limit=_PIPE_BUF)
            else:
                self._backlog.write(self._descriptor, new)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO, errno.ECONNRESET):
                raise  # A full disk, for example: report it to the user.
            self.broken = True
            self._backlog.clear()
            self._ask(None)

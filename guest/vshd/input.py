"""From the client to the target's input: a person's keys, a paste, a flood (chromeos-vsh.md §3.6, §3.12)."""

from __future__ import annotations

import contextlib
import fcntl
import os

from guestlink.backlog import Backlog
from guestlink.vsh import Bytes
from vshd.target import Target

_PASTE = 2048
"""Bytes written at a time to a terminal that echoes; more follow after the echo, or after a pause in its output."""
_ECHO_SIZE = 3
"""Bytes that a terminal prints at most for one byte of text: two for a newline or a control character, three for an
erased character (backspace, space, backspace)."""
_END_OF_FILE = b"\x04"
"""The key that ends the input on a terminal."""
_LARGE_PIPE = 1024 * 1024
"""Bytes that the target's input pipe holds in a flood; the more it holds, the fewer context switches."""


class Input:
    """The target's input, with a queue for bytes that the target has not taken yet.

    :param target: its ``stdin`` is written, and closed after the last byte.
    :ivar backlog: bytes that the target has not taken yet.
    """

    __slots__ = ("_ends", "_is_wide", "_target", "_unechoed", "backlog")

    def __init__(self, target: Target) -> None:
        self._target = target
        self.backlog = Backlog()
        self._ends = False
        self._is_wide = False
        self._unechoed = 0

    @property
    def awaits_echo(self) -> bool:
        """Whether to write nothing now, because a terminal drops echo that it has no room for."""
        return self._unechoed >= _PASTE

    def put(self, data: Bytes) -> None:
        """Append data to the queue; empty data ends the input. The caller must not change the data afterwards."""
        target = self._target
        if target.stdin < 0 or self._ends:
            return
        if data:
            self.backlog.add(data)
        elif target.terminal >= 0:
            self.backlog.add(_END_OF_FILE)
        else:
            self._ends = True

    def put_lent(self, data: Bytes) -> None:
        """As :meth:`put`, for bulk data whose memory the caller reuses: only bytes that are queued are copied."""
        target = self._target
        if data and target.terminal < 0 <= target.stdin and not self._ends:
            self._widen()
            if not self.backlog.size:
                try:
                    self.backlog.write(target.stdin, [data])
                except OSError:
                    self._give_up()
                return
        self.put(bytes(data))

    def type(self, keys: bytes) -> None:
        """As :meth:`put` and :meth:`write`, for a few bytes, while the queue is empty and :meth:`takes` is true."""
        target = self._target
        if target.stdin < 0 or self._ends:
            return
        try:
            taken = os.write(target.stdin, keys)
        except BlockingIOError:
            taken = 0
        except OSError:
            self._give_up()
            target.close_stdin()
            return
        if taken < len(keys):
            self.backlog.add(keys[taken:])

    def takes(self) -> bool:
        """Whether :meth:`write` may be called once the target is writable."""
        return self._target.stdin >= 0 and self._unechoed < _PASTE

    def write(self) -> None:
        """Write the queue, as far as the target takes it."""
        target = self._target
        try:
            waiting = self.backlog.size
            if target.terminal >= 0 and waiting > _PASTE and target.echoes():
                self.backlog.write(target.stdin, limit=_PASTE)
                self._unechoed += waiting - self.backlog.size
            else:
                self.backlog.write(target.stdin)
        except OSError:
            self._give_up()
        if self._ends and not self.backlog.size:
            target.close_stdin()

    def echoed(self, count: int) -> None:
        """Count bytes of output: if all of them are echo, at least ``count // _ECHO_SIZE`` bytes were echoed.

        The estimate may be too low, or too high if the program prints, too. Too low costs a pause
        (:meth:`echoes_no_more`); too high lets the terminal drop a part of the echo, but no input.
        """
        if self._unechoed:
            self._unechoed = max(self._unechoed - count // _ECHO_SIZE, 0)

    def echoes_no_more(self) -> None:
        """Expect no more echo, because there was no output for a while."""
        self._unechoed = 0

    def drop(self) -> None:
        """Drop the queue."""
        self.backlog.clear()

    def _give_up(self) -> None:
        """The target has closed its input: drop the queue, and continue the session."""
        self.backlog.clear()
        self._ends = True

    def _widen(self) -> None:
        if not self._is_wide:
            self._is_wide = True
            with contextlib.suppress(OSError):  # the user's limit for pipe buffers is reached
                fcntl.fcntl(self._target.stdin, fcntl.F_SETPIPE_SZ, _LARGE_PIPE)

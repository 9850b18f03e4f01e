"""What the client sends on its way into the target: a person's keys, a paste, a flood (chromeos-vsh.md §3.6,
§3.12)."""

from __future__ import annotations

import contextlib
import fcntl
import os

from guestlink.vsh import Bytes
from vshd.backlog import Backlog
from vshd.target import Target

_PASTE = 2048
"""Bytes that a terminal gets at a time where it echoes: until the echo has come, or did not come for a moment."""
_END_OF_FILE = b"\x04"
"""The key that ends the input on a terminal."""
_LARGE_PIPE = 1024 * 1024
"""Bytes that the target's input holds in a flood: as many times fewer changes of process."""


class Input:
    """The target's input, in front of which waits what it has not taken yet.

    :param target: whose ``stdin`` is written, and closed when everything has been.
    """

    __slots__ = ("_backlog", "_ends", "_is_wide", "_target", "_unechoed")

    def __init__(self, target: Target) -> None:
        self._target = target
        self._backlog = Backlog()
        self._ends = False
        self._is_wide = False
        self._unechoed = 0

    @property
    def waiting(self) -> int:
        """Bytes that the target has not taken yet."""
        return self._backlog.size

    @property
    def awaits_echo(self) -> bool:
        """A terminal throws away the echo that it has no room for: it gets nothing while that would happen."""
        return self._unechoed >= _PASTE

    def put(self, data: Bytes) -> None:
        """Put data behind what waits, or end the input with none at all. The data must not change any more."""
        target = self._target
        if target.stdin < 0 or self._ends:
            return
        if data:
            self._backlog.add(data)
        elif target.terminal >= 0:
            self._backlog.add(_END_OF_FILE)
        else:
            self._ends = True

    def put_lent(self, data: Bytes) -> None:
        """As :meth:`put`, for a lot of data whose memory will be used again: only what has to wait is copied."""
        target = self._target
        taken = 0
        if data and target.terminal < 0 <= target.stdin and not self._ends:
            self._widen()
            if not self._backlog.size:
                try:
                    taken = os.write(target.stdin, data)
                except BlockingIOError:
                    pass
                except OSError:
                    self._give_up()
        if taken < len(data) or not data:
            self.put(bytes(data[taken:]))

    def type(self, keys: bytes) -> None:
        """As :meth:`put` and :meth:`write`, for a few bytes; nothing waits, and the target may be written."""
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
            self._backlog.add(keys[taken:])

    def takes(self) -> bool:
        """Whether :meth:`write` may be tried when the target has room."""
        return self._target.stdin >= 0 and not self.awaits_echo

    def write(self) -> None:
        """Write what waits, as far as the target takes it."""
        target = self._target
        try:
            waiting = self._backlog.size
            if target.terminal >= 0 and waiting > _PASTE and target.echoes():
                self._backlog.write(target.stdin, _PASTE)
                self._unechoed += waiting - self._backlog.size
            else:
                self._backlog.write(target.stdin)
        except OSError:
            self._give_up()
        if self._ends and not self._backlog.size:
            target.close_stdin()

    def echoed(self, count: int) -> None:
        """Take notice of output: some of it will be echo."""
        if self._unechoed:
            self._unechoed = max(self._unechoed - count // 3, 0)

    def echoes_no_more(self) -> None:
        """Take notice that there has been no output for a while."""
        self._unechoed = 0

    def drop(self) -> None:
        """Forget what waits."""
        self._backlog.clear()

    def _give_up(self) -> None:
        """It has closed its input: what it does not want is dropped, and the session goes on."""
        self._backlog.clear()
        self._ends = True

    def _widen(self) -> None:
        if not self._is_wide:
            self._is_wide = True
            with contextlib.suppress(OSError):  # a user whose pipes hold as much as they may
                fcntl.fcntl(self._target.stdin, fcntl.F_SETPIPE_SZ, _LARGE_PIPE)

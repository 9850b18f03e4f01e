"""The terminal of ``vsh``: in raw mode while a session runs, restored on every way out."""

from __future__ import annotations

import contextlib
import os
import termios
from typing import Any

_IFLAG, _OFLAG, _CFLAG, _LFLAG, _CC = 0, 1, 2, 3, 6


class Terminal:
    """A terminal's mode.

    :param descriptor: the terminal's descriptor.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._saved: list[Any] | None = None

    def enter(self) -> None:
        """Set raw mode, as cfmakeraw(3) does. Bytes that were typed before are kept."""
        if self._saved is not None:
            return
        with contextlib.suppress(termios.error):  # The terminal has hung up; the next read fails.
            self._saved = termios.tcgetattr(self._descriptor)
            self.again()

    def again(self) -> None:
        """Set raw mode again, after a shell had the terminal; does nothing if another job has it now."""
        saved = self._saved
        if saved is None or not self._is_ours():
            return
        mode = [*saved[:_CC], list(saved[_CC])]
        mode[_IFLAG] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
            | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
        )  # fmt: skip
        mode[_OFLAG] &= ~termios.OPOST
        mode[_LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        mode[_CFLAG] = mode[_CFLAG] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        mode[_CC][termios.VMIN], mode[_CC][termios.VTIME] = 1, 0
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._descriptor, termios.TCSANOW, mode)

    def leave(self) -> None:
        """Restore the mode. May be called at any time, also from a signal handler.

        Does nothing if the terminal is gone, or if another job has it now.
        """
        saved, self._saved = self._saved, None
        if saved is None:
            return
        with contextlib.suppress(OSError, termios.error):
            if self._is_ours():
                termios.tcsetattr(self._descriptor, termios.TCSANOW, saved)

    def _is_ours(self) -> bool:
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:
            return True  # A terminal that is not our controlling one has no jobs.


def window_size(descriptors: tuple[int, ...] = (0, 1, 2)) -> tuple[int, int]:
    """Rows and columns of the first descriptor that is a terminal with a size; (0, 0) without one."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            columns, rows = os.get_terminal_size(descriptor)
            if rows and columns:
                return rows, columns
    return 0, 0

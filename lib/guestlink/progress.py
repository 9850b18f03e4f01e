"""Shows a person what is being waited for: one line that comes and goes on a terminal, a plain line without one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

PATIENCE = 1.0
"""Seconds that may pass before something that is waited for is named."""
_CLEAR = "\r\x1b[K"


class Progress:
    """The line about what is being done now.

    :param stream: where to write; standard error without one.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._said = ""

    def say(self, sentence: str) -> None:
        """Show a sentence in the place of the one before; the same one again changes nothing."""
        if sentence != self._said:
            self._said = sentence
            self._write(f"{_CLEAR}{sentence} …", f"{sentence} …\n")

    def end(self) -> None:
        """Take the line away, so that the answer stands alone; plain lines stay."""
        if self._said:
            self._said = ""
            self._write(_CLEAR, "")

    def _write(self, on_terminal: str, elsewhere: str) -> None:
        try:
            self._stream.write(on_terminal if self._stream.isatty() else elsewhere)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # Nobody reads it.

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()


@contextmanager
def waiting(sentence: str, *, patience: float = PATIENCE, stream: TextIO | None = None) -> Iterator[None]:
    """Show a sentence while the body takes longer than a moment.

    :param patience: seconds before it is shown.
    :param stream: as for :class:`Progress`.
    """
    from threading import Timer  # Most commands end before they need it.

    progress = Progress(stream)
    timer = Timer(patience, progress.say, [sentence])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        progress.end()

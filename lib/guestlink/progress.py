"""Shows what a command waits for: on a terminal one line that is replaced and erased, elsewhere plain lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

PATIENCE = 1.0
"""Seconds before a wait is shown."""
_CLEAR = "\r\x1b[K"


class Progress:
    """The line that shows the current step.

    :param stream: where to write; standard error without one.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._said = ""

    def say(self, sentence: str) -> None:
        """Replace the line with a sentence; the same sentence again changes nothing."""
        if sentence != self._said:
            self._said = sentence
            self._write(f"{_CLEAR}{sentence} …", f"{sentence} …\n")

    def end(self) -> None:
        """Erase the line before the answer is printed; plain lines stay."""
        if self._said:
            self._said = ""
            self._write(_CLEAR, "")

    def _write(self, on_terminal: str, elsewhere: str) -> None:
        try:
            self._stream.write(on_terminal if self._stream.isatty() else elsewhere)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # The stream is closed.

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()


@contextmanager
def waiting(sentence: str, *, patience: float = PATIENCE, stream: TextIO | None = None) -> Iterator[None]:
    """Show a sentence while the body runs longer than ``patience``.

    :param patience: seconds before the sentence is shown.
    :param stream: as for :class:`Progress`.
    """
    from threading import Timer  # Most commands never wait.

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

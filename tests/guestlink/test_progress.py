"""Progress output: a line that updates on a terminal, plain lines elsewhere, nothing if the command is quick."""

from __future__ import annotations

import io
from threading import Event

import pytest

from guestlink.progress import Progress, waiting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Seen(io.StringIO):
    """Sets an event when something has been written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = Event()

    def write(self, text: str) -> int:
        count = super().write(text)
        self.written.set()
        return count


def test_a_terminal_shows_one_line_and_none_in_the_end() -> None:
    stream = Terminal()
    with Progress(stream) as progress:
        for sentence in ("starting", "starting", "waiting"):
            progress.say(sentence)
    assert stream.getvalue() == "\r\x1b[Kstarting …\r\x1b[Kwaiting …\r\x1b[K"


def test_elsewhere_each_sentence_is_a_line_that_stays() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        for sentence in ("starting", "starting", "waiting"):
            progress.say(sentence)
    assert stream.getvalue() == "starting …\nwaiting …\n"


def test_what_takes_long_is_named_while_it_lasts_and_what_is_quick_is_not() -> None:
    stream = Seen()
    with waiting("installing", patience=0.01, stream=stream):
        assert stream.written.wait(60)
    assert stream.getvalue() == "installing …\n"
    quick = io.StringIO()
    with waiting("installing", patience=3600, stream=quick):
        pass
    assert quick.getvalue() == ""


def test_an_error_passes_and_a_reader_that_has_gone_disturbs_nothing() -> None:
    closed = io.StringIO()
    closed.close()
    with pytest.raises(KeyError), waiting("installing", patience=0, stream=closed):
        raise KeyError

"""Full-screen programs in a container's session, seen through a terminal emulator whose window changes its size."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyte
import pytest

from support.needs import need
from support.stage import LIMIT, Stage, StageError, stage
from support.vsh_peers import Terminal

NAME = "demo"
VSH = [sys.executable, "-m", "guestlink_host.vsh"]


@pytest.fixture(scope="module")
def rig() -> Iterator[Stage]:
    with stage(NAME) as made:
        (made.root / "lines").write_text("".join(f"line {number}\n" for number in range(1, 1001)))
        made.start_host()
        made.host("add", NAME)
        made.start_garcon()
        made.wait("the container can be called", lambda: made.host_json("list")[0]["username"])
        yield made


class Window:
    """A terminal window: its contents and size."""

    def __init__(self, terminal: Terminal, rows: int, columns: int) -> None:
        self.terminal = terminal
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def lines(self) -> list[str]:
        """The contents of the rows, without trailing blanks."""
        return [line.rstrip() for line in self._screen.display]

    def resize(self, rows: int, columns: int) -> None:
        """Change the size."""
        self._screen.resize(rows, columns)
        self.terminal.resize(rows, columns)

    def type(self, keys: str) -> None:
        """Press keys."""
        self.terminal.type(keys.encode())

    def wait(self, what: str, condition: Callable[[list[str]], object], again: str = "") -> None:
        """Wait until the window's contents satisfy a condition.

        :param again: a key to press once a second meanwhile, for a program that may drop a key.
        """
        start = pressed = time.monotonic()
        while not condition(self.lines):
            now = time.monotonic()
            if now > start + LIMIT:
                raise StageError(f"the window does not show {what}:\n" + "\n".join(self.lines))
            if again and now > pressed + 1:
                pressed = now
                self.type(again)
            self._stream.feed(self.terminal.read())


@contextmanager
def window(rig: Stage, *argv: str, rows: int = 24, columns: int = 80) -> Iterator[Window]:
    """A window with a program of the container."""
    environ = rig.host_environ | {"TERM": "linux"}
    terminal = Terminal([*VSH, NAME, "--", "LANG=C.UTF-8", *argv], environ, rows, columns)
    try:
        yield Window(terminal, rows, columns)
    finally:
        terminal.close()


def test_less_pages_and_follows_the_window(rig: Stage) -> None:
    need("less", packages="less")
    with window(rig, "less", f"{rig.root}/lines") as shown:
        shown.wait("the first page", lambda lines: lines[0] == "line 1" and lines[22] == "line 23")
        shown.type(" ")
        shown.wait("the second page", lambda lines: lines[0] == "line 24")
        shown.resize(40, 100)
        shown.wait("a longer page", lambda lines: "line 62" in lines and lines[39] == ":")
        # less may drop a key while it handles a new size.
        shown.type("g")
        shown.wait("the first page again", lambda lines: lines[0] == "line 1" and lines[38] == "line 39", again="g")
        shown.type("q")
        shown.wait("nothing more", lambda _: shown.terminal.process.poll() is not None, again="q")
        assert shown.terminal.status() == 0
        assert not shown.terminal.is_raw()


def test_vim_edits_and_follows_the_window(rig: Stage) -> None:
    need("vim", packages="vim")
    letter = rig.root / "letter"
    with window(rig, "vim", "-u", "NONE", "-i", "NONE", "-N", str(letter)) as shown:
        shown.wait("an empty file", lambda lines: lines[1] == "~" and "letter" in lines[23])
        shown.type("iGrüße aus dem Container\x1b")
        shown.wait("what was typed", lambda lines: lines[0] == "Grüße aus dem Container")
        shown.resize(30, 60)
        shown.wait("a longer window", lambda lines: lines[28] == "~" and lines[0].startswith("Grüße"))
        shown.type(":wq\r")
        assert shown.terminal.status() == 0
    assert letter.read_text() == "Grüße aus dem Container\n"


def test_htop_draws_down_to_the_last_row(rig: Stage) -> None:
    need("htop", packages="htop")
    with window(rig, "htop") as shown:
        shown.wait("its keys in the last row", lambda lines: lines[23].startswith("F1Help") and "Quit" in lines[23])
        shown.resize(35, 110)
        shown.wait("its keys in the new last row", lambda lines: lines[34].startswith("F1Help"))
        shown.type("q")
        assert shown.terminal.status() == 0


def test_tmux_splits_and_follows_the_window(rig: Stage) -> None:
    need("tmux", packages="tmux")
    name = f"guestlink-{os.getpid()}"
    shell = "PS1='>''> ' exec bash --norc --noprofile"
    with window(rig, "tmux", "-L", name, "-f", "/dev/null", "new-session", shell) as shown:
        shown.wait("a prompt and the status line", lambda lines: lines[0] == ">>" and "[0] 0:" in lines[23])
        shown.resize(40, 120)
        # tmux delivers the new size to its programs after a while.
        shown.type("until [ \"$(stty size)\" = '39 120' ]; do sleep 0.05; done; echo re''sized\r")
        shown.wait("the new size", lambda lines: "resized" in lines and "[0] 0:" in lines[39])
        shown.type("exit\r")
        assert shown.terminal.status() == 0
        assert not shown.terminal.is_raw()

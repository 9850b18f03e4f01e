"""Full-screen programs in a session, seen by a terminal emulator, with a change of size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyte
import pytest

from guestlink.vsh import encode_resize
from support.needs import need
from support.vsh_peer import Vshd, VshPeer, terminal


class _Emulator(pyte.Screen):
    """pyte gives up at what it takes for colours: xterm's sequence for key modifiers."""

    def select_graphic_rendition(self, *attributes: int, private: bool = False) -> None:
        if not private:
            super().select_graphic_rendition(*attributes)


class Screen:
    """What a person would see of a session."""

    def __init__(self, peer: VshPeer, rows: int = 24, cols: int = 80) -> None:
        self._peer = peer
        self._screen = _Emulator(cols, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._fed = 0

    @property
    def text(self) -> str:
        """The whole screen."""
        self._stream.feed(self._peer.out[self._fed :])
        self._fed = len(self._peer.out)
        return "\n".join(self._screen.display)

    def shows(self, *words: str) -> None:
        """Wait until the screen shows all of these."""
        self.until(lambda text: all(word in text for word in words))

    def until(self, condition: Callable[[str], bool]) -> None:
        """Wait until the screen is as it should be."""
        try:
            self._peer.until(lambda: condition(self.text))
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(f"the screen shows:\n{self.text}") from error

    def resize(self, rows: int, cols: int) -> None:
        """Give the window another size, and wait until the program has begun to draw for it."""
        before = len(self._peer.out)
        self._screen.resize(rows, cols)
        self._peer.say(encode_resize(rows, cols))
        self._peer.until(lambda: len(self._peer.out) > before)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_text("".join(f"line {n} {'.' * 100} end\n" for n in range(1, 201)))
    return path


def test_vim(vshd: Vshd, text: Path) -> None:
    need("vim", packages="vim")
    with vshd.peer() as peer:
        peer.begin(terminal("vim", "-u", "NONE", "-N", str(text), env={b"TERM": b"xterm-256color"}))
        screen = Screen(peer)
        screen.shows("line 1 ")
        peer.type(b"ggiwritten here\x1b")
        screen.shows("written hereline 1")
        screen.resize(40, 130)
        screen.shows("line 30 ", " end")
        peer.type(b":wq\r")
        assert peer.finish().code == 0
    assert text.read_text().startswith("written hereline 1 ")


def test_less(vshd: Vshd, text: Path) -> None:
    need("less", packages="less")
    with vshd.peer() as peer:
        peer.begin(terminal("less", "-S", str(text), env={b"TERM": b"xterm"}))
        screen = Screen(peer)
        screen.shows("line 1 ", "line 23 ")
        peer.type(b"G")
        screen.shows("line 200 ")
        screen.resize(10, 40)
        screen.until(lambda shown: "line 178 " in shown and "line 187 " not in shown)
        peer.type(b"q")
        assert peer.finish().code == 0


def test_htop(vshd: Vshd) -> None:
    need("htop", packages="htop")
    with vshd.peer() as peer:
        peer.begin(terminal("htop", env={b"TERM": b"xterm-256color"}))
        screen = Screen(peer)
        screen.shows("PID", "F10")
        screen.resize(30, 100)
        screen.shows("F10")
        peer.type(b"q")
        assert peer.finish().code == 0


def test_tmux(vshd: Vshd, tmp_path: Path) -> None:
    need("tmux", packages="tmux")
    tmux = ("tmux", "-f", "/dev/null", "-S", str(tmp_path / "tmux"), "new-session", "sh")
    env = {b"TERM": b"xterm-256color", b"LC_ALL": b"C.UTF-8"}
    with vshd.peer() as peer:
        peer.begin(terminal(*tmux, env=env))
        screen = Screen(peer)
        screen.shows("[0] 0:sh")
        peer.type(b"stty size\r")
        screen.shows("23 80")
        screen.resize(40, 120)
        peer.type(b"clear; stty size\r")
        screen.shows("39 120")
        peer.type(b"\x02%")  # two panes beside each other
        peer.type(b"clear; stty size\r")
        screen.shows("39 59")
        peer.type(b"exit\r")
        screen.until(lambda shown: "│" not in shown)
        peer.type(b"exit\r")
        assert peer.finish().code == 0

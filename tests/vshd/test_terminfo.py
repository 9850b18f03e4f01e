"""Terminal types that the container has no description of."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestlink.vsh import Setup
from support.needs import need
from support.vsh_peer import Vshd
from vshd import terminfo
from vshd.terminfo import usable_term


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory of terminal descriptions, with the files of ncurses-base."""
    for name in ("x/xterm", "x/xterm-256color", "t/tmux-256color", "s/screen", "v/vt100", "l/linux"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.setattr(terminfo, "DIRECTORIES", (bytes(tmp_path),))
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("xterm-256color", "xterm-256color"),
        ("screen", "screen"),
        ("xterm-kitty", "xterm-256color"),
        ("alacritty", "xterm-256color"),
        ("foot-direct", "xterm-256color"),
        ("screen.xterm-256color", "tmux-256color"),
        ("linux-16color", "linux"),
        ("vt525", "vt100"),
        ("../x/xterm", "xterm-256color"),
        ("", ""),
    ],
)
def test_an_unknown_type_becomes_the_closest_known_one(described: Path, asked: str, given: str) -> None:
    assert usable_term({b"TERM": asked.encode()}) == given.encode()


def test_descriptions_are_looked_for_where_the_users_programs_look(described: Path, tmp_path: Path) -> None:
    own = tmp_path / "home/.terminfo/66"
    own.mkdir(parents=True)
    (own / "foot").touch()
    home = bytes(tmp_path / "home")
    assert usable_term({b"TERM": b"foot", b"HOME": home}) == b"foot"
    assert usable_term({b"TERM": b"foot", b"TERMINFO": home + b"/.terminfo"}) == b"foot"
    assert usable_term({b"TERM": b"foot", b"TERMINFO_DIRS": b":" + home + b"/.terminfo"}) == b"foot"
    assert usable_term({b"TERM": b"foot"}) == b"xterm-256color"


def test_without_descriptions_the_type_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminfo, "DIRECTORIES", (bytes(tmp_path),))
    assert usable_term({b"TERM": b"xterm-kitty"}) == b"xterm-kitty"


def test_programs_find_the_terminal_that_a_session_has(vshd: Vshd) -> None:
    need("tput", packages="ncurses-bin")
    for term in (b"no-such-terminal", b"xterm-256color"):
        peer = vshd.run("tput", "clear", env={b"TERM": term})
        assert (peer.code, peer.err) == (0, b"")
        assert peer.out
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"tput", b"clear"), env={b"TERM": b"no-such-terminal"}, rows=24, cols=80))
        assert peer.finish().code == 0

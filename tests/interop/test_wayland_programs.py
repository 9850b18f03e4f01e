"""Programs of the distribution behind the proxy: each pixel is as without the proxy after every key and click."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from support.needs import need
from support.proxied import FEATHERPAD, program_of
from support.replay import Step, click, drag, key, point, type_text
from support.virtual_input import LEFT, RIGHT

if TYPE_CHECKING:
    from conftest import Desktop

pytestmark = pytest.mark.interop


class Program(NamedTuple):
    """A program and the input for it.

    :ivar package: the Debian package that contains the program.
    """

    package: str
    argv: Sequence[str]
    steps: Sequence[Step] = ()


_LOGO = "/usr/share/pixmaps/debian-logo.png"

PROGRAMS = {
    "gtk4-demo": Program(
        "gtk-4-examples",
        ["gtk4-demo"],
        [
            Step("a menu in a popup", click(729, 23)),
            Step("Escape closes it", key("Escape")),
            Step("a search field", click(92, 23)),
            Step("what is typed filters the list", type_text("clip")),
        ],
    ),
    "gtk4-demo, drop-down lists": Program(
        "gtk-4-examples",
        ["gtk4-demo", "--run=combobox"],
        [Step("a list in a popup", click(120, 80)), Step("the next entry", key("Down"))],
    ),
    "gtk3-demo": Program(
        "gtk-3-examples",
        ["gtk3-demo"],
        [Step("an entry is selected", click(60, 165)), Step("the next one by key", key("Down"))],
    ),
    "gtk3-demo, menus": Program(
        "gtk-3-examples",
        ["gtk3-demo", "--run=menus"],
        [Step("a menu", click(30, 12)), Step("an entry under the pointer", point(60, 60))],
    ),
    "foot": Program(
        "foot",
        ["foot", "sh"],
        [
            Step("a line is typed", type_text("echo Hello, 'World' {}[]|")),
            Step("a word is selected", click(52, 8, LEFT, 2)),
        ],
    ),
    "weston-terminal": Program(
        "weston",
        ["weston-terminal", "--shell=/bin/sh"],
        [Step("a line is typed", type_text("echo Hello")), Step("a menu", click(200, 200, RIGHT))],
    ),
    "weston-clickdot": Program("weston", ["weston-clickdot"], [Step("a dot and a line", click(100, 100))]),
    "weston-scaler": Program("weston", ["weston-scaler"]),
    "weston-transformed": Program("weston", ["weston-transformed"]),
    "weston-resizor": Program("weston", ["weston-resizor"]),
    "weston-fullscreen": Program("weston", ["weston-fullscreen"], [Step("fullscreen", key("F11"))]),
    "weston-cliptest": Program("weston", ["weston-cliptest"]),
    "Qt 5: featherpad": Program(
        "featherpad",
        [*FEATHERPAD, "text.txt"],
        [
            Step("a menu from the menu bar", click(20, 10)),
            Step("Escape closes it", key("Escape")),
            Step("text is typed", type_text("Hello")),
            Step("a menu at the pointer", click(100, 200, RIGHT)),
        ],
    ),
    "Qt 6: focuswriter": Program(
        "focuswriter",
        ["focuswriter", "text.txt"],
        [Step("text is typed", type_text("Hello")), Step("selected with the pointer", drag((176, 85), (230, 85)))],
    ),
    "mpv": Program(
        "mpv",
        ["mpv", "--vo=wlshm", "--no-config", "--no-audio", "--image-display-duration=inf", "--osd-level=0", _LOGO],
        [Step("fullscreen by key", key("f")), Step("and back", key("f"))],
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_shows_the_same_through_the_proxy(desktop: Desktop, name: str) -> None:
    program = PROGRAMS[name]
    need(program_of(program.argv), packages=program.package)
    text = desktop.proxied.home / "text.txt"
    text.write_text("one two\n")
    desktop.replay.compare(program.argv, program.steps)


@pytest.mark.parametrize("editor", ["featherpad", "focuswriter", "mousepad"])
def test_what_is_typed_is_saved(desktop: Desktop, editor: str) -> None:
    need(editor, packages=editor)
    text = desktop.proxied.home / "text.txt"
    text.write_text("")
    desktop.proxied.program(*(FEATHERPAD if editor == "featherpad" else [editor]), str(text))
    desktop.compositor.wait_for_window(desktop.proxied.directory / "window.png")

    def saved() -> bool:
        # An editor that has just opened may not handle keys yet, so all keys are sent again.
        desktop.given.key("a", "ctrl")
        desktop.given.type("Hello, World (1)!")
        desktop.given.key("s", "ctrl")
        return any(desktop.given.rest() or text.read_text().strip() == "Hello, World (1)!" for _ in range(30))

    desktop.proxied.wait("it is saved", saved)


@pytest.mark.parametrize("terminal", ["foot", "weston-terminal"])
def test_a_shell_in_a_terminal_runs_what_wtype_types(desktop: Desktop, terminal: str, tmp_path: Path) -> None:
    need(terminal, "wtype", packages="foot weston wtype")
    shell = tmp_path / "shell"
    shell.write_text(
        f'#!/bin/sh\nread -r line\nprintf %s "$line" > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/typed\n'
        "exec sleep 1000\n"
    )
    shell.chmod(0o755)
    words = ["foot", str(shell)] if terminal == "foot" else ["weston-terminal", f"--shell={shell}"]
    desktop.proxied.program(*words)
    desktop.compositor.wait_for_window(tmp_path / "window.png")
    desktop.proxied.run("wtype", "Grüße, 世界 €\n", through=False)
    typed = tmp_path / "typed"
    desktop.proxied.wait("a line was read", typed.exists)
    assert typed.read_text() == "Grüße, 世界 €"


@pytest.mark.parametrize("program", ["weston-subsurfaces", "weston-presentation-shm"])
def test_a_program_that_moves_by_itself_keeps_moving(desktop: Desktop, program: str) -> None:
    need(program, packages="weston")
    empty = desktop.compositor.picture()
    desktop.proxied.program(program)
    desktop.compositor.wait("its window", desktop.compositor.windows)
    seen: set[bytes] = set()

    def moves() -> bool:
        seen.add(desktop.compositor.picture())
        return len(seen - {empty}) > 10

    desktop.compositor.wait("it moves", moves)


def test_smoke_follows_the_pointer(desktop: Desktop) -> None:
    need("weston-smoke", packages="weston")
    desktop.proxied.program("weston-smoke")
    desktop.compositor.wait_for_window(desktop.proxied.directory / "window.png")
    seen: set[bytes] = set()

    def moves() -> bool:
        desktop.given.pull((450, 350), (550, 420))
        seen.add(desktop.compositor.picture())
        return len(seen) > 5

    desktop.compositor.wait("the smoke moves", moves)

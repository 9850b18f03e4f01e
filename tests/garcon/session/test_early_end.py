"""The sentence for a program that exits right after its start."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from garcon.session.early_end import needs_x11, why_ended

X11 = b"\x7fELF" + b"\0" * 100 + b"\0libX11.so.6\0libc.so.6\0"
BOTH = X11 + b"\0libwayland-client.so.0\0"
NEITHER = b"\x7fELF" + b"\0libc.so.6\0"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with an X11 program, one for both systems, and one for neither."""
    gtk2, gtk3 = (b"\x7fELF" + b"\0lib%s.so.0\0libX11.so.6\0" % name for name in (b"gtk-x11-2.0", b"gtk-3"))
    for name, content in (("x11", X11), ("both", BOTH), ("neither", NEITHER), ("gtk2", gtk2), ("gtk3", gtk3)):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o755)
    return tmp_path


@pytest.fixture
def wayland(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of a session whose Wayland display takes connections."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "wayland-0"))
        listener.listen()
        yield {"WAYLAND_DISPLAY": "wayland-0", "XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}


SCRIPTS = {
    '#!/bin/sh\nset -e\nexport A=1\nexec {}/x11 "$@"\n': True,
    "#!/bin/bash -e\n  exec '{}/x11'\n": True,
    '#!/usr/bin/env bash\nexec "{}/x11" "$@"': True,
    "#! /bin/dash\nexec env LC_ALL=C A= {}/x11; echo no": True,
    "#!/bin/sh\nif a; then exec {}/x11; fi\nexec {}/x11 -b\n": True,
    "#!/bin/sh\nif wayland; then exec {}/both; fi\nexec {}/x11\n": False,
    "#!/bin/sh\nexec 2>/dev/null 3< /x\nexec {}/x11\n": True,
    "#!/bin/sh\ncase $1 in (a) exec {}/x11;; esac; [ b ] && exec {}/x11\n": True,
    '#!/bin/sh\n[ -n "$X" ] && exec $WAYLAND_ONE\nexec {}/x11\n': False,
    '#!/bin/sh\n[ -n "$X" ] && exec native-one\nexec {}/x11\n': False,
    "#!/bin/sh\nexec {}/both\n": False,
    "#!/bin/sh\nexec {}/neither\n": False,
    "#!/bin/sh\n# exec {}/x11\n": False,
    "#!/bin/sh\n{}/x11\n": False,
    "#!/bin/sh\nexec $HOME{}/x11\n": False,
    '#!/bin/sh\nexec "{}/$NAME"\n': False,
    "#!/bin/sh\nexec {}/script\n": False,
    "#!/usr/bin/python3\nexec {}/x11\n": False,
    "exec {}/x11\n": False,
}


@pytest.mark.parametrize(("text", "expected"), SCRIPTS.items(), ids=range(len(SCRIPTS)))
def test_a_wrapper_is_what_it_executes(files: Path, text: str, expected: bool) -> None:
    (files / "script").write_text(text.replace("{}", str(files)))
    assert needs_x11(str(files / "script")) is expected


KINDS = [("x11", True), ("gtk2", True), ("gtk3", False), ("both", False), ("neither", False), ("no", False)]


@pytest.mark.parametrize(("name", "expected"), KINDS)
def test_a_program_is_what_it_is_linked_with(files: Path, name: str, expected: bool) -> None:
    assert needs_x11(str(files / name)) is expected


PRINTED = [
    "xterm: Xt error: Can't open display: ",
    "Error: cannot open display: :0",
    "(gimp:12): Gtk-WARNING **: 10:00:00.000: cannot open display: ",
    "qt.qpa.xcb: could not connect to display ",
    "_tkinter.TclError: no display name and no $DISPLAY environment variable",
    "Exception: No X11 DISPLAY variable was set,",
    "[1:2:ERROR:ozone_platform_x11.cc(240)] Missing X server or $DISPLAY",
    "freeglut (a.out): failed to open display ''",
    "feh ERROR: Can't open X display. It *is* running, yeah?",
    "xeyes: unable to open display",
    "Failed to connect to X server",
]


@pytest.mark.parametrize("line", PRINTED, ids=range(len(PRINTED)))
def test_what_programs_print_without_an_x_server_is_known(wayland: dict[str, str], line: str) -> None:
    said = why_ended(["/usr/bin/python3", "x.py"], 1, wayland, "u", ["starting", line, "Aborted"])
    assert said == "python3 needs X11, and this container has no X server: install the package xwayland in it"
    assert "needs X11" not in why_ended(["/bin/a"], 1, {**wayland, "DISPLAY": ":0"}, "u", [line])


@pytest.mark.parametrize(
    "line",
    [
        "cannot open file",
        "the display is bright",
        "could not connect to server x",
        "could not connect to the sound server",
    ],
)
def test_other_lines_are_not_taken_for_that(wayland: dict[str, str], line: str) -> None:
    said = why_ended(["/bin/a"], 1, wayland, "u", [line])
    assert (
        said == "a ended with status 1 right after its start; `journalctl --user-unit u` in the container says why"
    )


def test_a_dead_wayland_display_is_not_blamed_on_x11(wayland: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "wayland-0").unlink()
    said = why_ended(["/bin/a"], 1, wayland, "u", ["cannot open display: "])
    assert "needs X11" not in said
    assert "the container has no display now" in said


def test_env_in_front_of_a_program_is_not_the_program(files: Path, wayland: dict[str, str]) -> None:
    argv = ["/usr/bin/env", "A=1", "B=x y", str(files / "x11")]
    assert "needs X11" in why_ended(argv, 1, wayland)

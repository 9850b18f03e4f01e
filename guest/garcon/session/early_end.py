"""Explains in one sentence why a program exited right after its start."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import shlex
import shutil
import socket
from collections.abc import Mapping, Sequence

from guestlink.program import signal_name

OUTCOME_TIME = 2.0
"""Seconds to wait for an early failure before a program counts as started."""

_X11 = (b"\0libX11.so", b"\0libxcb.so", b"\0libXt.so", b"\0libgtk-x11-2.0.so")
_WAYLAND = (
    b"libwayland",
    b"wl_compositor",
    b"libgtk-3",
    b"libgtk-4",
    b"libgdk-3",
    b"libwx_gtk3",
    b"libQt",
    b"libSDL",
    b"libglfw",
    b"libfltk.so.1.4",
)
"""Libraries of X11, and byte strings of a program or toolkit that can work without X11. GTK 2 cannot."""

_SCRIPT_LIMIT = 64 * 1024
"""Bytes of a script that are read."""
_SHELL = re.compile(rb"#![ \t]*\S*?(?:/|/env[ \t]+)(?:sh|bash|dash|ksh|mksh|zsh|busybox[ \t]+sh)(?:[ \t].*)?\n")
_COMMENT = re.compile(rb"^[ \t]*#.*$", re.MULTILINE)
_EXEC = re.compile(
    rb"(?:^|[;&|({]|\b(?:then|else|do))[ \t]*exec[ \t]+(?![0-9]*[<>])"
    rb"(?:(?:/usr/bin/)?env[ \t]+(?:\w+=[^\s\"'$`]*[ \t]+)*)?"
    rb"""(?:(?P<quote>["']?)(?P<path>/[^\s"'$`\\*?;&|<>()]+)(?P=quote)(?=[\s;)}]|$))?""",
    re.MULTILINE,
)
"""``exec`` of a program; the path is there if it is absolute and written out."""
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")

_NO_DISPLAY = re.compile(
    r"(can'?t|can ?not|could not|couldn'?t|unable to|fail(ed|ure)? (to|in)|error) (open(ing)?|connect(ing)? to)"
    r" (the )?(default )?((x|x11)[ -]?(display|server)|display)\b"
    r"|no x11 display|missing x server|no display name|\$display\b",
    re.IGNORECASE,
)
"""What X11's libraries and toolkits print without an X server: Xlib, Xt, GTK, Qt, Tk, Java, Electron, GLUT."""
_DISPLAY_TIMEOUT = 1.0


def why_ended(
    argv: Sequence[str], status: int, environ: Mapping[str, str], unit: str = "", said: Sequence[str] = ()
) -> str:
    """The sentence for a program that has failed.

    :param argv: the program's absolute path and its arguments.
    :param status: its exit status; negative for the signal that killed it.
    :param environ: its variables.
    :param unit: its unit, whose journal has its output; ``""`` if there is none.
    :param said: the last lines that it printed.
    """
    program = argv[0].rpartition("/")[2]
    has_x11, misses_display = environ.get("DISPLAY"), any(map(_NO_DISPLAY.search, said))
    no_display = not environ.get("WAYLAND_DISPLAY") or (misses_display and not _answers(environ))
    if not has_x11 and (needs_x11(_behind_env(argv, environ)) or (misses_display and not no_display)):
        return f"{program} needs X11, and this container has no X server: install the package xwayland in it"
    killed = f"was killed by {signal_name(-status)}"
    sentence = f"{program} {killed if status < 0 else f'ended with status {status}'} right after its start"
    if not has_x11 and no_display:
        return f"{sentence}; the container has no display now, and `guestlink doctor` in it says why"
    if not unit:
        return sentence
    return f"{sentence}; `journalctl --user-unit {shlex.quote(unit)}` in the container says why"


def needs_x11(program: str) -> bool:
    """Whether a program is linked with X11 and contains no sign of Wayland.

    A shell script is what it executes with ``exec``, if the script has every such path written out. False for other
    scripts, and for a script that a script executes.
    """
    if targets := _targets(program):
        return all(map(_is_x11_binary, targets))
    return _is_x11_binary(program)


def _is_x11_binary(program: str) -> bool:
    try:
        with open(program, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content[:4] != b"\x7fELF":
                return False
            has_x11, has_wayland = (any(content.find(name) >= 0 for name in names) for names in (_X11, _WAYLAND))
            return has_x11 and not has_wayland
    except (OSError, ValueError):
        return False


def _targets(program: str) -> set[str]:
    """The programs that a shell script executes in its own place; empty unless all their paths are written out."""
    try:
        with open(program, "rb") as stream:
            text = stream.read(_SCRIPT_LIMIT)
    except OSError:
        return set()
    if not _SHELL.match(text):
        return set()
    found = {match["path"] for match in _EXEC.finditer(_COMMENT.sub(b"", text))}
    return set() if None in found else set(map(os.fsdecode, found))


def _behind_env(argv: Sequence[str], environ: Mapping[str, str]) -> str:
    """The program that a command line runs, without ``env`` and its assignments."""
    if os.path.basename(argv[0]) == "env":
        for word in argv[1:]:
            if not _ASSIGNMENT.match(word):
                return shutil.which(word, path=environ.get("PATH") or os.defpath) or word
    return argv[0]


def _answers(environ: Mapping[str, str]) -> bool:
    """Whether the Wayland display that the variables name takes connections."""
    path = os.path.join(environ.get("XDG_RUNTIME_DIR", "/"), environ.get("WAYLAND_DISPLAY", ""))
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_DISPLAY_TIMEOUT)
        client.connect(path)
        return True
    return False

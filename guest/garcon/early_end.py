"""Explains in one sentence why a program exited right after its start."""

from __future__ import annotations

import mmap
import shlex
from collections.abc import Mapping, Sequence

from guestlink.program import signal_name

OUTCOME_TIME = 2.0
"""Seconds to wait for an early failure before a program counts as started."""

_X11 = (b"\0libX11.so", b"\0libxcb.so", b"\0libXt.so")
_WAYLAND = (b"libwayland", b"wl_compositor", b"libgtk-", b"libgdk-3", b"libQt", b"libSDL", b"libglfw")
"""Libraries of X11, and byte strings of a program or toolkit that can work without X11."""


def why_ended(argv: Sequence[str], status: int, environ: Mapping[str, str], unit: str = "") -> str:
    """The sentence for a program that has failed.

    :param argv: the program's absolute path and its arguments.
    :param status: its exit status; negative for the signal that killed it.
    :param environ: its variables.
    :param unit: its unit, whose journal has its output; ``""`` if there is none.
    """
    program = argv[0].rpartition("/")[2]
    if not environ.get("DISPLAY") and needs_x11(argv[0]):
        return f"{program} needs X11, and this container has no X server: Guestlink shows Wayland programs"
    killed = f"was killed by {signal_name(-status)}"
    sentence = f"{program} {killed if status < 0 else f'ended with status {status}'} right after its start"
    if not environ.get("DISPLAY") and not environ.get("WAYLAND_DISPLAY"):
        return f"{sentence}; the container has no display now, and `guestlink doctor` in it says why"
    if not unit:
        return sentence
    return f"{sentence}; `journalctl --user-unit {shlex.quote(unit)}` in the container says why"


def needs_x11(program: str) -> bool:
    """Whether a program is linked with X11 and contains no sign of Wayland; false for a script."""
    try:
        with open(program, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content[:4] != b"\x7fELF":
                return False
            has_x11, has_wayland = (any(content.find(name) >= 0 for name in names) for names in (_X11, _WAYLAND))
            return has_x11 and not has_wayland
    except (OSError, ValueError):
        return False

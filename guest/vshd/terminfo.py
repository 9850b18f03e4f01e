"""Chooses a terminal type that the container's programs know (terminfo(5), "Fetching Compiled Descriptions")."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

DIRECTORIES = (
    b"/etc/terminfo",
    b"/lib/terminfo",
    b"/usr/share/terminfo",
    b"/usr/local/share/terminfo",
    b"/usr/lib/terminfo",
)
"""Directories in which distributions keep compiled descriptions; a program may search only some of them."""
_FALLBACKS = (
    ((b"screen", b"tmux"), (b"tmux-256color", b"screen-256color", b"screen")),
    ((b"rxvt", b"urxvt"), (b"rxvt-unicode-256color", b"rxvt-256color", b"rxvt")),
    ((b"linux", b"fbterm", b"yaft", b"jfbterm"), (b"linux",)),
    ((b"vt",), (b"vt220", b"vt100")),
)
"""Prefixes of terminal names, and the closest types for them; all other terminals behave like xterm."""
_COMMON = (b"xterm-256color", b"xterm", b"vt100")


def usable_term(environ: Mapping[bytes, bytes]) -> bytes:
    """``TERM`` if its description is installed; otherwise the closest type whose description is.

    Without any description, as in an image without ncurses, ``TERM`` is unchanged: no program reads one.

    :param environ: the target's variables, ``TERM`` among them.
    """
    term = environ.get(b"TERM", b"")
    if not term:
        return term
    directories = list(_directories(environ))
    close = next((types for names, types in _FALLBACKS if term.startswith(names)), ())
    return next((name for name in (term, *close, *_COMMON) if _is_described(name, directories)), term)


def _directories(environ: Mapping[bytes, bytes]) -> Iterator[bytes]:
    if own := environ.get(b"TERMINFO"):
        yield own
    if home := environ.get(b"HOME"):
        yield home + b"/.terminfo"
    yield from filter(None, environ.get(b"TERMINFO_DIRS", b"").split(b":"))
    yield from DIRECTORIES


def _is_described(name: bytes, directories: list[bytes]) -> bool:
    """Whether there is a description, in a directory named after the first letter or after its hexadecimal code."""
    if b"/" in name or b"\0" in name:
        return False
    folders = (name[:1], b"%02x" % name[0])
    return any(os.path.exists(b"/".join((place, folder, name))) for place in directories for folder in folders)

"""The file of X cookies (Xauthority, xauth(1)): who has the cookie may connect to the X server."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from guestlink.paths import atomic_write

NAME = b"MIT-MAGIC-COOKIE-1"
_ANY = 0xFFFF
"""The address family of an entry that is good for every address of the display."""


def entry(display: int, cookie: bytes) -> bytes:
    """An entry of the file.

    :param display: the display's number.
    """
    texts = (b"", str(display).encode(), NAME, cookie)
    return struct.pack(">H", _ANY) + b"".join(struct.pack(">H", len(text)) + text for text in texts)


def write_authority(path: Path, display: int) -> None:
    """Write a file with a new cookie, which only this user can read.

    :raises OSError: the file cannot be written.
    """
    atomic_write(path, entry(display, os.urandom(16)), 0o600)

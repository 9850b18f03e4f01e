"""Converts X PixMap pictures to PNG: old applications have no other icon, and no host shows XPM. Pure."""

from __future__ import annotations

import re
import struct
import zlib

SIDE_LIMIT = 512
"""Pixels; icons are smaller, and a header may contain any number."""
_COLOUR_LIMIT = 65536
_STRING = re.compile(rb'/\*.*?(?:\*/|\Z)|"((?:[^"\\]|\\.?)*+)(?:"|\Z)', re.DOTALL)
"""A comment or a string; a string may contain ``/*``. Without its closing characters it extends to the end."""
_COLOURS = {
    "black": (0, 0, 0), "white": (255, 255, 255), "red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255),
    "yellow": (255, 255, 0), "cyan": (0, 255, 255), "magenta": (255, 0, 255), "gray": (190, 190, 190),
    "grey": (190, 190, 190), "orange": (255, 165, 0), "brown": (165, 42, 42), "pink": (255, 192, 203),
    "navy": (0, 0, 128), "purple": (160, 32, 240), "maroon": (176, 48, 96), "gold": (255, 215, 0),
}  # fmt: skip
"""X11 colour names that icons use; an unknown name becomes grey."""


def xpm_to_png(content: bytes) -> bytes | None:
    """Convert an XPM file.

    :param content: XPM 3, the form that C compilers read.
    :returns: a PNG with an alpha channel, or ``None`` if the content is no valid XPM or is too large.
    """
    if b"XPM" not in content[:200]:
        return None
    strings = [match[1] for match in _STRING.finditer(content) if match[1] is not None]
    numbers = strings[0].split()[:4] if strings else []
    if len(numbers) < 4 or not all(number.isdigit() and len(number) < 7 for number in numbers):
        return None
    width, height, colours, characters = map(int, numbers)
    if not (0 < width <= SIDE_LIMIT and 0 < height <= SIDE_LIMIT and 0 < characters <= 4):
        return None
    if not 0 < colours <= _COLOUR_LIMIT or len(strings) < 1 + colours + height:
        return None
    palette = {line[:characters]: _colour(line[characters:]) for line in strings[1 : 1 + colours]}
    rows = []
    for line in strings[1 + colours : 1 + colours + height]:
        keys = [line[index : index + characters] for index in range(0, width * characters, characters)]
        if any(key not in palette for key in keys):
            return None
        rows.append(b"\0" + b"".join(palette[key] for key in keys))
    return _png(width, height, b"".join(rows))


def _colour(definition: bytes) -> bytes:
    """The RGBA bytes of a definition such as ``c #ff0000 m black``."""
    words = definition.decode("latin-1").split()
    values = dict(zip(words[::2], words[1::2], strict=False))
    value = values.get("c") or values.get("g") or values.get("m") or ""
    if value.lower() == "none":
        return b"\0\0\0\0"
    digits = value[1:]
    if value.startswith("#") and len(digits) in (3, 6, 9, 12) and re.fullmatch("[0-9a-fA-F]+", digits):
        step = len(digits) // 3
        channels = [digits[index : index + step] for index in range(0, len(digits), step)]
        return bytes(int((part * 2)[:2] if step == 1 else part[:2], 16) for part in channels) + b"\xff"
    return bytes(_COLOURS.get(value.lower(), (128, 128, 128))) + b"\xff"


def _png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    )

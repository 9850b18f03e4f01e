"""The PNG format (https://www.w3.org/TR/png-3/), as far as guestlink-host reads and writes it itself. Pure.

The daemon decodes no picture. It reads a header's fixed 33 bytes, and it encodes lines that a confined process has
drawn and filtered.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {2: 3, 6: 4}
"""Bytes of a pixel by color type: RGB and RGBA, 8 bits each."""
_LEVEL = 4
"""zlib's level: half the time of the default one, and 5 % more bytes."""
_FILTERS = 5
"""Number of filter types (§9.2)."""


class BadPicture(ValueError):
    """The bytes are no picture that a desktop can show; the message says why."""


def size(content: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header; the pixels may be missing or damaged.

    :raises BadPicture: there is no header.
    """
    if not content.startswith(SIGNATURE):
        raise BadPicture("it is not a PNG")
    if len(content) < 33 or content[8:16] != b"\0\0\0\rIHDR":
        raise BadPicture("the PNG has no header")
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


class Square(NamedTuple):
    """A drawn square.

    :ivar side: in pixels.
    :ivar color: the color type, a key of :data:`CHANNELS`.
    :ivar lines: the filtered lines; each has a filter type before its pixels.
    """

    side: int
    color: int
    lines: bytes


def lines_length(side: int, color: int) -> int:
    """Bytes of a square's filtered lines."""
    return side * (1 + CHANNELS[color] * side)


def encode(square: Square, texts: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """Encode a square.

    Whoever drew the lines decides the pixels and no more: every value of a filtered line is valid.

    :param texts: keywords and values of text chunks, which come directly after the header.
    :raises BadPicture: the lines have another length, or an unknown filter type.
    """
    side, color, lines = square
    if len(lines) != lines_length(side, color) or max(lines[:: len(lines) // side]) >= _FILTERS:
        raise BadPicture("it was drawn in another size")
    header = struct.pack(">IIBBBBB", side, side, 8, color, 0, 0, 0)
    marks = b"".join(_chunk(b"tEXt", keyword + b"\0" + value) for keyword, value in texts)
    return (
        SIGNATURE
        + _chunk(b"IHDR", header)
        + marks
        + _chunk(b"IDAT", zlib.compress(lines, _LEVEL))
        + _chunk(b"IEND", b"")
    )


def chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and data of each chunk; the iteration ends where the bytes end."""
    position = len(SIGNATURE)
    while position + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        yield kind, content[position + 8 : position + 8 + length]
        position += 12 + length


def leading_texts(content: bytes) -> dict[bytes, bytes]:
    """The text chunks directly after the header, where :func:`encode` writes them."""
    found: dict[bytes, bytes] = {}
    if not content.startswith(SIGNATURE):
        return found
    for number, (kind, data) in enumerate(chunks(content)):
        if kind == b"tEXt":
            keyword, _, value = data.partition(b"\0")
            found[keyword] = value
        elif number:
            break
    return found


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

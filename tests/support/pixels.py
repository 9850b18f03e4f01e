"""Decodes PNGs of 8 bits RGB or RGBA without interlacing, and compares them."""

from __future__ import annotations

import struct
import zlib

_CHANNELS = {2: 3, 6: 4}


def pixels(png: bytes) -> tuple[int, int, bytes]:
    """Width, height, and RGBA pixels.

    :raises ValueError: it is no such PNG.
    """
    width, height, depth, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", png, 16)
    if not png.startswith(b"\x89PNG\r\n\x1a\n") or depth != 8 or color not in _CHANNELS or interlaced:
        raise ValueError("no PNG of 8 bits RGB or RGBA")
    channels = _CHANNELS[color]
    data, position = b"", 8
    while position < len(png):
        length, kind = struct.unpack_from(">I4s", png, position)
        if kind == b"IDAT":
            data += png[position + 8 : position + 8 + length]
        position += 12 + length
    filtered, stride = zlib.decompress(data), width * channels
    if len(filtered) != height * (stride + 1):
        raise ValueError("the PNG's data have another length")
    lines = []
    previous = bytes(stride)
    for row in range(height):
        start = row * (stride + 1)
        previous = _line(filtered[start], filtered[start + 1 : start + 1 + stride], previous, channels)
        lines.append(previous)
    found = b"".join(lines)
    if channels == 3:
        found = b"".join(found[n : n + 3] + b"\xff" for n in range(0, len(found), 3))
    return width, height, found


def difference(one: bytes, other: bytes) -> float:
    """The mean difference of two PNGs of one size, from 0 to 255; all transparent pixels are equal."""
    (_, _, ours), (_, _, theirs) = pixels(one), pixels(other)
    total = 0
    for n in range(0, len(ours), 4):
        a, b = ours[n + 3], theirs[n + 3]
        total += abs(a - b) + sum(abs(ours[n + k] * a - theirs[n + k] * b) // 255 for k in range(3))
    return total / len(ours)


def alpha_range(png: bytes) -> tuple[int, int]:
    """The smallest and the largest alpha value."""
    alpha = pixels(png)[2][3::4]
    return min(alpha), max(alpha)


def _line(kind: int, line: bytes, above: bytes, channels: int) -> bytes:
    """Undo a filter (https://www.w3.org/TR/png-3/#9Filters)."""
    found = bytearray(line)
    for n in range(len(found)):
        left = found[n - channels] if n >= channels else 0
        corner = above[n - channels] if n >= channels else 0
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = above[n]
        elif kind == 3:
            guess = (left + above[n]) // 2
        elif kind == 4:
            guess = min(
                (left, above[n], corner), key=lambda value, goal=left + above[n] - corner: abs(goal - value)
            )
        else:
            guess = 0
        found[n] = (found[n] + guess) & 0xFF
    return bytes(found)

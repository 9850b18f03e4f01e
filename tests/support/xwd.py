"""The pixels of an X window, by xwd(1)."""

from __future__ import annotations

import struct
import subprocess
from typing import NamedTuple

LIMIT = 60.0


class XPicture(NamedTuple):
    """The pixels of a window.

    :ivar pixels: red, green and blue of each.
    :ivar opaque: for each whether the host shows it as it is: a window of 32 bits may be transparent somewhere.
    """

    width: int
    height: int
    pixels: bytes
    opaque: list[bool]

    def is_at(self, screen: bytes, columns: int, left: int, top: int, most: float = 0.0) -> bool:
        """Whether a screen, as red, green and blue of each pixel, shows the window at a place.

        :param most: the part of its pixels that may differ: the pointer, and what covers an edge.
        """
        rows = range(top, top + self.height)
        shown = b"".join(screen[(row * columns + left) * 3 :][: self.width * 3] for row in rows)
        solid = [at * 3 for at, is_solid in enumerate(self.opaque) if is_solid]
        differ = sum(shown[at : at + 3] != self.pixels[at : at + 3] for at in solid)
        return len(solid) > len(self.opaque) // 2 and differ <= most * len(solid)


def window_picture(environ: dict[str, str], *words: str) -> XPicture:
    """The pixels of a window of 24 or 32 bits.

    :param environ: of an X program on its display.
    :param words: which window, as ``-id`` and its number.
    """
    argv = ["xwd", "-silent", *words]
    raw = subprocess.run(argv, env=environ, capture_output=True, timeout=LIMIT, check=True).stdout
    header = struct.unpack_from(">25I", raw)
    size, depth, width, height, line, colors = (header[at] for at in (0, 3, 4, 5, 12, 19))
    start = size + 12 * colors
    flat = b"".join(raw[start + row * line :][: width * 4] for row in range(height))
    pixels = bytearray(width * height * 3)
    for channel in range(3):
        pixels[channel::3] = flat[2 - channel :: 4]
    opaque = [alpha == 0xFF for alpha in flat[3::4]] if depth == 32 else [True] * (width * height)
    return XPicture(width, height, bytes(pixels), opaque)

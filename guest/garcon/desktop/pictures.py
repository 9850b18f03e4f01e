"""Reads picture files as PNG or SVG, the formats that the host shows.

The content decides the format, as in GTK and Qt, because applications rely on that; ChromeOS's garcon uses only the
file's name (chromeos-garcon.md §4). We convert XPM, and extract PNG from ICO; gdk-pixbuf's thumbnailer, if it is
installed, converts other formats, and SVG and PNG that are too large for a host.
"""

from __future__ import annotations

import enum
import hashlib
import os
import re
import shutil
import struct
import tempfile
import zlib
from typing import NamedTuple

from garcon.desktop.xpm import xpm_to_png
from guestlink.program import CommandFailed, run_program
from guestlink.regular_file import read_regular

SIZE_LIMIT = 1024 * 1024
"""Bytes of an icon (chromeos-garcon.md §4)."""
SIDE_LIMIT = 1024
"""Pixels of a PNG's longer side; the thumbnailer, if installed, shrinks a larger PNG."""
_SOURCE_LIMIT = 16 * SIZE_LIMIT
"""Bytes of a file to convert."""
_PNG = b"\x89PNG\r\n\x1a\n"
_SVG = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?svg[\s>/]")
_GZIP = b"\x1f\x8b"
_ICO = b"\0\0\1\0"
_CONVERTIBLE = re.compile(
    rb"\xff\xd8\xff|GIF8|BM|\x00\x00\x01\x00|II\*\x00|MM\x00\*|RIFF....WEBP|icns|\x89PNG", re.DOTALL
)
"""First bytes of the formats that the thumbnailer may support."""
_THUMBNAILER = "gdk-pixbuf-thumbnailer"
_TIMEOUT = 10.0
_RESULTS = 32
_results: dict[tuple[bytes, int], bytes | None] = {}
"""Cache of the last conversions, by the source's digest and the size in pixels."""


class IconFormat(enum.IntEnum):
    """DesktopIcon.Format."""

    PNG = 0
    SVG = 1


class Icon(NamedTuple):
    """An icon's content and format."""

    content: bytes
    format: IconFormat


def read_icon(path: str, pixels: int = 128) -> Icon | None:
    """Read an icon file, and convert it if the host cannot show its format.

    :param pixels: the size at which the host shows the icon; the thumbnailer scales to it.
    :returns: ``None`` if the file is missing, too large, not a regular file or no picture.
    """
    try:
        content = read_regular(path, _SOURCE_LIMIT + 1)
    except (OSError, ValueError):
        return None
    if content.startswith(_PNG) and len(content) <= SIZE_LIMIT and _longer_side(content) <= SIDE_LIMIT:
        return Icon(content, IconFormat.PNG)
    if content.startswith(_GZIP):
        content = _inflated(content)
    if len(content) <= SIZE_LIMIT and _is_svg(content):
        return Icon(content, IconFormat.SVG)
    converted = _converted(content, pixels) if len(content) <= _SOURCE_LIMIT else None
    if converted is None and content.startswith(_PNG):
        converted = content  # Unconverted: some hosts accept large PNGs.
    return Icon(converted, IconFormat.PNG) if converted is not None and len(converted) <= SIZE_LIMIT else None


def _longer_side(png: bytes) -> int:
    width, height = struct.unpack_from(">II", png[:24].ljust(24, b"\0"), 16)
    return max(int(width), int(height))


def _inflated(content: bytes) -> bytes:
    """Unpack gzip's format, up to more than :data:`_SOURCE_LIMIT` bytes; returns b"" for broken content."""
    try:
        return zlib.decompressobj(wbits=31).decompress(content, _SOURCE_LIMIT + 1)
    except zlib.error:
        return b""


def _is_svg(content: bytes) -> bool:
    return _SVG.search(content, 0, SIZE_LIMIT) is not None


def _converted(content: bytes, pixels: int) -> bytes | None:
    """Convert a picture to PNG. The result is cached, because hosts request the same icons again and again."""
    key = (hashlib.sha256(content).digest(), pixels)
    if key not in _results:
        if len(_results) >= _RESULTS:
            del _results[next(iter(_results))]
        _results[key] = _png_in_ico(content) or xpm_to_png(content[:SIZE_LIMIT]) or _thumbnail(content, pixels)
    return _results[key]


def _png_in_ico(content: bytes) -> bytes | None:
    """The largest PNG picture in an ICO, because gdk-pixbuf does not read those."""
    if not content.startswith(_ICO):
        return None
    entries = content[6 : 6 + 16 * struct.unpack_from("<H", content.ljust(6, b"\0"), 4)[0]]
    frames = [
        content[offset : offset + size]
        for *_, size, offset in struct.iter_unpack("<BBBBHHII", entries[: len(entries) // 16 * 16])
        if offset + size <= len(content)
    ]
    pictures = [frame for frame in frames if frame.startswith(_PNG) and _longer_side(frame) <= SIDE_LIMIT]
    return max(pictures, key=_longer_side, default=None)


def _thumbnail(content: bytes, pixels: int) -> bytes | None:
    program = shutil.which(_THUMBNAILER)
    if program is None or not (_CONVERTIBLE.match(content) or _is_svg(content)):
        return None
    with tempfile.TemporaryDirectory(prefix="garcon-icon-") as directory:
        source, picture = os.path.join(directory, "source"), os.path.join(directory, "picture.png")
        with open(source, "wb") as stream:
            stream.write(content)
        try:
            run_program([program, "-s", str(pixels), source, picture], timeout=_TIMEOUT).check()
            return read_regular(picture, SIZE_LIMIT)
        except (OSError, CommandFailed):
            return None

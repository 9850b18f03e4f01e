"""Icons of the user's icon theme: their sizes, their places, and the marks that make them ours. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from guestlink_host.border.pictures.draw_protocol import ReceivedPicture
from guestlink_host.border.pictures.png import SIGNATURE, Square, encode, leading_texts, size

REQUESTS = ((48, 1), (128, 1))
"""Sizes and scales to request: for menus and lists; for overviews and docks, also on high-density displays."""

SUFFIX = ".png"
_SIDES = (16, 22, 24, 32, 36, 48, 64, 72, 96, 128, 192, 256, 512)
"""Sizes that the hicolor theme's index lists; desktops find no file in another directory."""
_SVG_SIDES = (16, 22, 24, 32, 48, 64, 96, 128, 256)
"""Sizes in which menus, docks and overviews show icons, also on high-density displays."""
_DRAWING = b"1"
"""Changes when the same picture is drawn in another way, so that icons of an earlier version are drawn again."""

_OWNER, _SOURCE = b"Guestlink-Container", b"Guestlink-Source"
"""Keywords of the marks."""
_OLD_COMMENT = re.compile(r"<!-- Guestlink-Container: ([A-Za-z0-9_.-]{1,63}) -->\n$")


class IconFile(NamedTuple):
    """A file of one icon in one size.

    :ivar directory: below the icon theme.
    """

    directory: str
    content: bytes


def sides(picture: ReceivedPicture) -> tuple[int, ...]:
    """The sizes in which to draw a picture: an SVG in all, a PNG in the one next to its own.

    :raises guestlink_host.border.pictures.png.BadPicture: it is no PNG.
    """
    if picture.is_svg:
        return _SVG_SIDES
    longer = max(size(picture.content))
    return (min(_SIDES, key=lambda side: (abs(side - longer), -side)),)


def fingerprint(pictures: Iterable[ReceivedPicture]) -> str:
    """A digest of everything that decides how the pictures of one icon are drawn."""
    digest = hashlib.sha256(_DRAWING)
    for is_svg, content in pictures:
        digest.update(b"%d %d " % (is_svg, len(content)) + content)
    return digest.hexdigest()


def icon_files(squares: Iterable[Square], container: str, source: str) -> list[IconFile]:
    """The marked files of one icon.

    :param squares: of two squares of one size the first counts: its request had the smaller, more exact size.
    :param source: the :func:`fingerprint` of its pictures.
    :raises guestlink_host.border.pictures.png.BadPicture: whoever drew a square did not draw this size.
    """
    chosen: dict[int, Square] = {}
    for square in squares:
        chosen.setdefault(square.side, square)
    marks = ((_OWNER, container.encode()), (_SOURCE, f"{source}:{len(chosen)}".encode()))
    return [IconFile(f"{side}x{side}/apps", encode(square, marks)) for side, square in chosen.items()]


def owner_of(content: bytes) -> str | None:
    """The container's name from an icon's mark; ``None`` if the icon is not ours.

    Earlier versions stored SVGs of containers, with a comment as the mark.
    """
    if content.startswith(SIGNATURE):
        mark = leading_texts(content).get(_OWNER)
        return None if mark is None else mark.decode(errors="replace")
    comment = _OLD_COMMENT.search(content[-256:].decode(errors="replace"))
    return comment[1] if comment else None


def is_drawn(content: bytes) -> bool:
    """Whether we have drawn an icon. Earlier versions stored pictures as the container had encoded them."""
    return _SOURCE in leading_texts(content)


def are_from(contents: Sequence[bytes], source: str) -> bool:
    """Whether these are all files of an icon with this fingerprint."""
    mark = f"{source}:{len(contents)}".encode()
    return bool(contents) and all(leading_texts(content).get(_SOURCE) == mark for content in contents)

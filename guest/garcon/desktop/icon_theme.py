"""Icon themes: parses an ``index.theme``, and puts its directories in search order.

This module has two parsers and two search orders. The *compatible* ones are those of ChromeOS's garcon, so that we
find every icon that it finds (chromeos-garcon.md §4); the *specified* ones follow the Icon Theme Specification, for
icons that the compatible ones do not find. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

INDEX_LIMIT = 10 * 1024 * 1024
"""Bytes of an index.theme (chromeos-garcon.md §4)."""
FALLBACK_SIZES = (1024, 512, 256, 128, 96, 64, 48, 32)
"""Sizes to try if a theme has no usable index.theme."""
_LISTS = ("Directories", "ScaledDirectories")
_NUMBER_LIMIT = 4095
_GROUP_LIMIT = 10_000
"""Groups of an index.theme; the largest themes have a few hundred."""
_THEME_LIMIT = 64
"""Themes of one search; real ones inherit from three or four."""
_SPACE = " \t\n\r\v\f"


class IconDirectory(NamedTuple):
    """One directory of a theme, as its group in index.theme describes it. Sizes are logical pixels."""

    name: str
    size: int
    scale: int = 1
    kind: str = "Threshold"
    min_size: int = 0
    max_size: int = 0
    threshold: int = 2


class IconTheme(NamedTuple):
    """A theme.

    :ivar directories: in the order of index.theme; by garcon's rules only those for applications and MIME types.
    :ivar inherits: names of the themes to search next.
    """

    directories: tuple[IconDirectory, ...]
    inherits: tuple[str, ...] = ()


class BrokenTheme(ValueError):
    """The content is no usable index.theme."""


def parse_index_theme(content: bytes) -> IconTheme:
    """Read an index.theme by garcon's rules, which ignore inheritance.

    The file is rejected if it has a group that ``Directories`` does not list, or no directory group at all. A
    directory with invalid numbers is skipped.

    :raises BrokenTheme: the file is rejected.
    """
    if len(content) > INDEX_LIMIT:
        raise BrokenTheme(f"longer than {INDEX_LIMIT} bytes")
    groups = _groups(content.decode(errors="replace"))
    head: dict[str, str] | None = None
    directories: list[IconDirectory] = []
    listed: set[str] = set()
    found = False
    for name, keys in groups:
        if head is None:
            if name == "Icon Theme":
                head = keys
                listed = {part for key in _LISTS for part in keys.get(key, "").split(",")}
            continue
        if name not in listed:
            raise BrokenTheme(f"the directory {name[:80]!r} is not listed")
        found = True
        if _holds_applications(name, keys) and (directory := _directory(name, keys)) is not None:
            directories.append(directory)
    if head is None or not found:
        raise BrokenTheme("no directories")
    return IconTheme(tuple(directories))


def parse_specified_theme(content: bytes) -> IconTheme:
    """Read an index.theme by the specification: unlisted groups are ignored, and directories of every context used.

    :raises BrokenTheme: the file is too long, or has no ``[Icon Theme]`` group.
    """
    if len(content) > INDEX_LIMIT:
        raise BrokenTheme(f"longer than {INDEX_LIMIT} bytes")
    groups = dict(_groups(content.decode(errors="replace")))
    head = groups.get("Icon Theme")
    if head is None:
        raise BrokenTheme("no [Icon Theme] group")
    listed = dict.fromkeys(part for key in _LISTS for part in _split(head.get(key, "")))
    directories = (_directory(name, groups[name]) for name in listed if name in groups)
    return IconTheme(tuple(filter(None, directories)), tuple(_split(head.get("Inherits", ""))))


def _split(text: str) -> list[str]:
    return [part for part in (part.strip(_SPACE) for part in text.split(",")) if part]


def _groups(text: str) -> list[tuple[str, dict[str, str]]]:
    groups: list[tuple[str, dict[str, str]]] = []
    for line in text.split("\n"):
        line = line.strip(_SPACE)
        if line.startswith("[") and line.endswith("]"):
            groups.append((line[1:-1], {}))
            if len(groups) > _GROUP_LIMIT:
                raise BrokenTheme(f"more than {_GROUP_LIMIT} groups")
        elif groups and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            if value := value.strip(_SPACE):
                groups[-1][1][key.strip(_SPACE)] = value
    return groups


def _holds_applications(name: str, keys: dict[str, str]) -> bool:
    return keys.get("Context") in ("Applications", "MimeTypes") or name.endswith(("apps", "mimetypes"))


def _directory(name: str, keys: dict[str, str]) -> IconDirectory | None:
    if name.startswith("/") or ".." in name.split("/"):
        return None
    size = _number(keys.get("Size"), 0)
    directory = IconDirectory(
        name,
        size,
        _number(keys.get("Scale"), 1),
        keys.get("Type", "Threshold"),
        _number(keys.get("MinSize"), size),
        _number(keys.get("MaxSize"), size),
        _number(keys.get("Threshold"), 2),
    )
    return directory if all((directory.size, directory.scale, directory.threshold)) else None


def _number(text: str | None, default: int) -> int:
    """A number from 1 to 4095; the default if the key is missing, 0 if its value is invalid."""
    if text is None:
        return default
    good = text.isascii() and text.isdecimal() and len(text) <= 4 and int(text) <= _NUMBER_LIMIT
    return int(text) if good else 0


# -- garcon's order (chromeos-garcon.md §4) -----------------------------------------------------------------------


def distance(directory: IconDirectory, size: int, scale: int) -> int:
    """The difference of a directory's size and the wanted size, both in pixels, in percent of the smaller one."""
    wanted, real = size * scale, directory.size * directory.scale
    return abs(real - wanted) * 100 // (wanted if real >= wanted else real)


def within_limit(directory: IconDirectory, size: int, scale: int) -> bool:
    """Whether a directory suits a size. As in garcon, its own scale is ignored and Threshold is a factor."""
    wanted = size * scale
    if directory.kind == "Threshold":
        return max(wanted, directory.size) <= min(wanted, directory.size) * directory.threshold
    if directory.kind == "Scalable":
        return directory.min_size <= wanted <= directory.max_size
    return wanted == directory.size


def compatible_order(directories: Iterable[IconDirectory], size: int, scale: int) -> list[str]:
    """The directories' names in the order in which garcon searches them for a PNG."""
    by_distance = sorted(directories, key=lambda directory: distance(directory, size, scale))

    def rank(directory: IconDirectory) -> int:
        if (directory.size, directory.scale) == (size, scale):
            return 0
        return 1 if within_limit(directory, size, scale) else 2

    return [directory.name for directory in sorted(by_distance, key=rank)]


def fallback_order(size: int) -> list[str]:
    """The directories' names for a theme without a usable index.theme; the scale is ignored."""
    return [f"{wanted}x{wanted}/apps" for wanted in dict.fromkeys((size, *FALLBACK_SIZES))]


# -- the specification's order -----------------------------------------------------------------------------------


def specified_order(directories: Iterable[IconDirectory], size: int, scale: int) -> list[str]:
    """Directories that match exactly, then the others by distance (Icon Theme Specification, "Icon Lookup")."""

    def key(directory: IconDirectory) -> tuple[bool, int]:
        low, high = _served(directory)
        if directory.scale == scale and low <= size <= high:
            return False, 0
        return True, _specified_distance(directory, size * scale)

    return [directory.name for directory in sorted(directories, key=key)]


def _served(directory: IconDirectory) -> tuple[int, int]:
    """The smallest and the largest size that a directory suits. Here Threshold means pixels."""
    if directory.kind == "Scalable":
        return directory.min_size, directory.max_size
    margin = 0 if directory.kind == "Fixed" else directory.threshold
    return directory.size - margin, directory.size + margin


def _specified_distance(directory: IconDirectory, wanted: int) -> int:
    """The distance in pixels from the wanted size (DirectorySizeDistance of the specification)."""
    if directory.kind == "Fixed":
        return abs(directory.size * directory.scale - wanted)
    low, high = _served(directory)
    # Outside this range the specification uses MinSize and MaxSize, even for a Threshold directory.
    if wanted < low * directory.scale:
        return abs(directory.min_size * directory.scale - wanted)
    if wanted > high * directory.scale:
        return abs(wanted - directory.max_size * directory.scale)
    return 0


def inheritance(active: Sequence[str], inherits: Callable[[str], Sequence[str]]) -> list[str]:
    """Theme names in search order: each active theme and then its parents, depth first; ``hicolor`` last.

    :param active: names to begin with.
    :param inherits: returns the parents of a theme; loops do no harm.
    """
    order: dict[str, None] = {}
    pending = list(reversed(active))
    while pending and len(order) < _THEME_LIMIT:
        name = pending.pop()
        if name in order or name in ("", ".", "..", "hicolor") or "/" in name or "\0" in name:
            continue
        order[name] = None
        pending.extend(reversed(inherits(name)))
    return [*order, "hicolor"]

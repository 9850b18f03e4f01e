"""Finds the icon of an application and reads it for the host (chromeos-garcon.md §4)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from garcon.desktop.data_directories import data_directories
from garcon.desktop.icon_theme import (
    INDEX_LIMIT,
    BrokenTheme,
    IconTheme,
    compatible_order,
    fallback_order,
    inheritance,
    parse_index_theme,
    parse_specified_theme,
    specified_order,
)
from garcon.desktop.pictures import Icon, read_icon
from guestlink import xdg
from guestlink.regular_file import read_regular

_THEMES = ("gnome", "hicolor")
"""The themes that ChromeOS's garcon searches."""
_FALLBACK_THEMES = ("gnome", "Adwaita")
"""Themes searched after the active one, as in GTK; by the specification ``hicolor`` comes last."""
_SUFFIXES = (".png", ".svg", ".svgz", ".xpm")
_SETTINGS_LIMIT = 1024 * 1024
"""Bytes of a settings file."""
_DEFAULT_SIZE, _SIZE_MAX, _SCALE_MAX = 48, 1024, 8


class IconPlaces(NamedTuple):
    """Paths that decide which icon an application has; each of them may be missing.

    :ivar themes: directories of themes, with pictures in their subdirectories.
    :ivar directories: directories that contain pictures themselves.
    :ivar settings: files that choose the theme.
    """

    themes: list[str]
    directories: list[str]
    settings: list[str]


@dataclass(frozen=True)
class PictureNames:
    """A filter of file names for :class:`IconPlaces`: pictures with one of the stems, and ``index.theme``.

    :ivar stems: names of pictures without their suffix.
    """

    stems: frozenset[str]

    def __call__(self, name: str) -> bool:
        """Whether a file matters. Every name without a suffix does, because it may be a link to a directory."""
        stem, suffix = os.path.splitext(name)
        return name == "index.theme" or stem in self.stems or not suffix


def picture_names(icons: Iterable[str]) -> PictureNames:
    """The filter for the files that values of Icon keys refer to."""
    names = {os.path.basename(icon) for icon in icons}
    return PictureNames(frozenset(names | {os.path.splitext(name)[0] for name in names}))


class _Index(NamedTuple):
    """An index.theme, read by both parsers of :mod:`garcon.desktop.icon_theme`; ``None`` if one rejects it."""

    signature: tuple[int, int]
    compatible: IconTheme | None
    specified: IconTheme | None


class IconLookup:
    """Finds icons by the Icon key of a desktop file. Use it from one thread at a time.

    :param environ: the session's environment.
    :param theme: the configured theme; ``""`` reads the desktop's settings.
    """

    def __init__(self, environ: Mapping[str, str], theme: str = "") -> None:
        self._environ = environ
        self._theme = theme
        self._indexes: dict[str, _Index] = {}

    def find(self, icon: str, size: int, scale: int) -> Icon | None:
        """Find and read an icon.

        :param icon: the value of the Icon key.
        :param size: logical pixels; a size out of range becomes 48.
        :param scale: 1, 2 or 3.
        :returns: ``None`` if there is no icon that the host can show.
        """
        size = size if 0 < size <= _SIZE_MAX else _DEFAULT_SIZE
        scale = scale if 0 < scale <= _SCALE_MAX else 1
        seen: set[str] = set()
        for path in self._candidates(icon, size, scale):
            if path not in seen:
                seen.add(path)
                if (found := read_icon(path, size * scale)) is not None:
                    return found
        return None

    def places(self) -> IconPlaces:
        """The paths of application icons; a change there may mean another icon."""
        roots, bases = data_directories(self._environ), self._bases()
        return IconPlaces(
            themes=[f"{base}/{name}" for name in self._searched_themes() for base in bases],
            directories=[*bases, *(f"{root}/pixmaps" for root in dict.fromkeys([*roots, "/usr/share"]))],
            settings=[path for path, _, _ in _theme_settings(self._environ)],
        )

    def _candidates(self, icon: str, size: int, scale: int) -> Iterator[str]:
        if not icon or "\0" in icon:
            return
        if icon.startswith("/"):
            yield icon
            return
        if ".." in icon.split("/"):
            return
        roots = data_directories(self._environ)
        yield from self._compatible(icon, size, scale, roots)
        # ChromeOS's garcon stops here. It never finds an Icon value with a suffix; we drop the suffix.
        stem = icon.rpartition(".")[0] if icon.endswith(_SUFFIXES) else icon
        yield from self._specified(stem, size, scale, roots)
        for root in [*roots, "/usr/share"]:
            for suffix in _SUFFIXES:
                yield f"{root}/pixmaps/{stem}{suffix}"
            yield f"{root}/pixmaps/{icon}"

    def _compatible(self, icon: str, size: int, scale: int, roots: Sequence[str]) -> Iterator[str]:
        themes = [f"{root}/icons/{theme}" for theme in _THEMES for root in roots]
        for directory in themes:
            index = self._index(directory)
            theme = index.compatible if index else None
            names = compatible_order(theme.directories, size, scale) if theme else fallback_order(size)
            for name in names:
                yield f"{directory}/{name}/{icon}.png"
        for directory in themes:
            yield f"{directory}/scalable/apps/{icon}.svg"
        for root in roots:
            yield f"{root}/pixmaps/{icon}.png"
        yield f"/usr/share/pixmaps/{icon}.png"

    def _specified(self, stem: str, size: int, scale: int, roots: Sequence[str]) -> Iterator[str]:
        bases = self._bases()
        for name in self._searched_themes():
            # One index.theme describes the theme below every base: a user's own directories have none.
            theme = self._theme_of(bases, name)
            directories = specified_order(theme.directories, size, scale)
            installed = [path for base in bases if os.path.isdir(path := f"{base}/{name}")]
            for directory in directories or [*fallback_order(size), "scalable/apps"]:
                # Themes list hundreds of directories, and most do not exist.
                for path in filter(os.path.isdir, [f"{path}/{directory}" for path in installed]):
                    for suffix in _SUFFIXES:
                        yield f"{path}/{stem}{suffix}"
        for base in bases:
            for suffix in _SUFFIXES:
                yield f"{base}/{stem}{suffix}"

    def _bases(self) -> list[str]:
        return [
            f"{xdg.home(self._environ)}/.icons",
            *(f"{root}/icons" for root in data_directories(self._environ)),
        ]

    def _searched_themes(self) -> list[str]:
        bases, active = self._bases(), self._theme or desktop_icon_theme(self._environ)
        return inheritance((active, *_FALLBACK_THEMES), lambda name: self._theme_of(bases, name).inherits)

    def _theme_of(self, bases: Sequence[str], name: str) -> IconTheme:
        for base in bases:
            if (index := self._index(f"{base}/{name}")) is not None and index.specified is not None:
                return index.specified
        return IconTheme(())

    def _index(self, directory: str) -> _Index | None:
        path = f"{directory}/index.theme"
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            self._indexes.pop(directory, None)
            return None
        signature = (status.st_mtime_ns, status.st_size)
        known = self._indexes.get(directory)
        if known is None or known.signature != signature:
            content = _read_regular(path, INDEX_LIMIT) or b""
            known = _Index(signature, _parsed(parse_index_theme, content), _parsed(parse_specified_theme, content))
            self._indexes[directory] = known
        return known


def _parsed(parse: Callable[[bytes], IconTheme], content: bytes) -> IconTheme | None:
    try:
        return parse(content)
    except BrokenTheme:
        return None


def desktop_icon_theme(environ: Mapping[str, str]) -> str:
    """The icon theme in GTK's or KDE's settings; ``""`` if they contain none."""
    for path, section, key in _theme_settings(environ):
        content = _read_regular(path, _SETTINGS_LIMIT)
        if content and (value := _setting(content.decode(errors="replace"), section, key)):
            return value
    return ""


def _theme_settings(environ: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Files with the section and key of the theme's name, the most important first."""
    config = xdg.config_home(environ)
    gtk = [f"{directory}/gtk-{version}.0/settings.ini" for directory in (config, "/etc") for version in (4, 3)]
    return [(path, "Settings", "gtk-icon-theme-name") for path in gtk] + [
        (f"{config}/kdeglobals", "Icons", "Theme")
    ]


def _setting(text: str, section: str, key: str) -> str:
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            inside = line == f"[{section}]"
        elif inside:
            name, _, value = line.partition("=")
            if name.strip() == key:
                return value.strip()
    return ""


def _read_regular(path: str, limit: int) -> bytes | None:
    try:
        content = read_regular(path, limit + 1)
    except (OSError, ValueError):
        return None
    return content if len(content) <= limit else None

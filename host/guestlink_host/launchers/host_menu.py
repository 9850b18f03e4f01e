"""This machine's own applications: their names in its menus, and the classes of their windows."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from guestlink import xdg
from guestlink_host.launchers.menu_names import look, menu_names, session_locales

_NAME = re.compile(r"Name(?:\[(.*)\])?")
_FILE_LIMIT = 5000
_SIZE_LIMIT = 256 * 1024
"""Bytes of a desktop file that are read: its names are in its first group."""


class HostMenu:
    """Polls the directories of desktop files, and reads them only after they have changed.

    :param data_home: ``$XDG_DATA_HOME``, which contains our own launchers too.
    :ivar window_classes: by which docks find the applications of windows, in small letters, as of the last change:
        the ids of the desktop files, and their ``StartupWMClass``.
    """

    def __init__(self, data_home: Path) -> None:
        listed = [data_home, *map(Path, xdg.data_dirs())]
        self._directories = [directory / "applications" for directory in dict.fromkeys(listed)]
        self._seen: list[int] = []
        self.window_classes: frozenset[str] = frozenset()

    def poll(self) -> set[str] | None:
        """What the names look like; ``None`` if nothing has changed since the last call. Blocks; for a thread."""
        times = [_modified(directory) for directory in self._directories]
        if times == self._seen:
            return None
        self._seen = times
        locales = session_locales(os.environ)
        names: set[str] = set()
        classes: set[str] = set()
        for path, keys in _entries(self._directories):
            names |= set(map(look, _shown_names(keys, locales)))
            classes |= {path.stem.casefold(), keys.get("StartupWMClass", "").casefold()}
        self.window_classes = frozenset(classes)
        return names


def _entries(directories: Iterable[Path]) -> Iterator[tuple[Path, Mapping[str, str]]]:
    files: dict[str, Path] = {}
    for directory in directories:
        with contextlib.suppress(OSError):
            for entry in os.scandir(directory):
                if entry.name.endswith(".desktop") and not entry.name.startswith("guestlink-"):
                    files.setdefault(entry.name, Path(entry.path))  # Earlier directories win.
    for path in list(files.values())[:_FILE_LIMIT]:
        with contextlib.suppress(OSError):
            if path.is_file():
                yield path, desktop_entry(path)


def _shown_names(keys: Mapping[str, str], locales: frozenset[str]) -> list[str]:
    """The names that menus may show; none if they do not show the file."""
    if "true" in (keys.get("NoDisplay"), keys.get("Hidden")) or keys.get("Type") != "Application":
        return []
    named = [(_NAME.fullmatch(key), value) for key, value in keys.items() if value]
    return menu_names([(match[1] or "", value) for match, value in named if match], locales)


def desktop_entry(path: Path) -> dict[str, str]:
    """The raw values of a desktop file's first group by their keys.

    :raises OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        text = stream.read(_SIZE_LIMIT).decode(errors="replace")
    keys: dict[str, str] = {}
    inside = False
    for line in text.splitlines():
        if line.startswith("["):
            if inside:
                break
            inside = line.strip() == "[Desktop Entry]"
        elif inside:
            key, _, value = line.partition("=")
            keys[key.strip()] = value.strip()
    return keys


def _modified(directory: Path) -> int:
    try:
        return directory.stat().st_mtime_ns
    except OSError:
        return 0

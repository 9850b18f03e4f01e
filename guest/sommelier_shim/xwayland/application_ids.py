"""The application ids of X windows, by which the host finds their launchers.

ChromeOS matches the class with the ``StartupWMClass`` of garcon's desktop entries (chromeos-sommelier.md §2.5). A
desktop on Linux matches an id first with a launcher's name. Classes and names of desktop entries are often unlike:
Debian's XTerm has the entry ``debian-xterm``, which names its class. So the entries are read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from sommelier_shim.features.policy.identity import CHROMEOS_PREFIX, linux_naming
from sommelier_shim.xwayland.window_manager.actions import WindowIdentity

XNaming: TypeAlias = Callable[[WindowIdentity], str]
"""The application id of a window, ``""`` for none."""
_ENTRY_LIMIT = 4096
"""Desktop entries that are read."""
_FILE_LIMIT = 256 * 1024
"""Bytes of a desktop entry that are read."""


def forced_naming(app_id: str) -> XNaming:
    """The same id for every window (``--application-id``)."""
    return lambda identity: app_id


def chromeos_x11_naming(vm: str) -> XNaming:
    """The naming for ChromeOS: by a property that a setting names, else by the class, the leader or the window.

    :param vm: the middle part of the id.
    """

    def name(identity: WindowIdentity) -> str:
        for kind, value in (
            ("xprop", identity.number),
            ("wmclass", identity.name or None),
            ("wmclientleader", identity.leader or None),
        ):
            if value is not None:
                return f"{CHROMEOS_PREFIX}.{vm}.{kind}.{value}"
        return f"{CHROMEOS_PREFIX}.{vm}.xid.{identity.window}"

    return name


def linux_x11_naming(container: str, entries: WindowClasses) -> XNaming:
    """The naming for a Linux host: the launcher's name of the desktop entry for the window's class, otherwise the
    class, which is the ``StartupWMClass`` of a launcher whose entry names one.

    :param container: the container's name on the host; with "" all ids stay plain.
    """
    rename = linux_naming(container, lambda entry: True)

    def name(identity: WindowIdentity) -> str:
        entry = entries.entry(identity) if container else ""
        return rename(entry) if entry else identity.name

    return name


class WindowClasses:
    """The container's desktop entries by the class of their windows.

    :param directories: those that have a directory ``applications``, the most important first.
    """

    def __init__(self, directories: Sequence[str]) -> None:
        self._directories = [f"{path}/applications" for path in directories]
        self._changed: list[int] = []
        self._by_class: Mapping[str, str] = {}
        self._ids: frozenset[str] = frozenset()

    def entry(self, identity: WindowIdentity) -> str:
        """The id of a window's desktop entry, without ``.desktop``; ``""`` for none."""
        self._read()
        words = [word for word in (identity.name, identity.instance) if word]
        for word in words:
            if word in self._by_class:
                return self._by_class[word]
        return next((word for word in (*words, *map(str.lower, words)) if word in self._ids), "")

    def _read(self) -> None:
        changed = [_changed(path) for path in self._directories]
        if changed == self._changed:
            return
        by_class: dict[str, str] = {}
        ids: set[str] = set()
        for directory in self._directories:
            for name in _entries(directory):
                entry = name.removesuffix(".desktop")
                if entry in ids or len(ids) >= _ENTRY_LIMIT:
                    continue
                ids.add(entry)
                if window_class := _window_class(f"{directory}/{name}"):
                    by_class.setdefault(window_class, entry)
        self._changed, self._by_class, self._ids = changed, by_class, frozenset(ids)


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _entries(directory: str) -> Iterator[str]:
    try:
        with os.scandir(directory) as found:
            yield from sorted(one.name for one in found if one.name.endswith(".desktop") and one.is_file())
    except OSError:
        return


def _window_class(path: str) -> str:
    """StartupWMClass of a desktop entry, ``""`` for none."""
    try:
        with open(path, "rb") as file:
            lines = file.read(_FILE_LIMIT).decode(errors="replace").splitlines()
    except OSError:
        return ""
    section = ""
    for line in lines:
        key, equals, value = line.partition("=")
        if line.startswith("["):
            section = line.strip()
        elif equals and key.strip() == "StartupWMClass" and section == "[Desktop Entry]":
            return value.strip()
    return ""

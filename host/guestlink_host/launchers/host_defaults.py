"""The MIME types whose default application on this machine stays the default, whatever else claims the type.

Desktops choose the default application of a type in this order:

- GLib (``g_app_info_get_default_for_type``): the type, then its parents, one after the other. For each of them the
  first application that can be started: first those that ``[Default Applications]`` names in any
  ``mimeapps.list``; then those that claim the type, ``$XDG_DATA_HOME`` before ``$XDG_DATA_DIRS``.
- KDE (``KMimeAssociations``): the lists' associations in their order, defaults first and removed ones left out;
  then the applications that claim the type, by their ``InitialPreference``.
- ``xdg-mime query default``: the first application of an entry in each list's ``[Default Applications]``, if its
  program exists; then the ``mimeinfo.cache`` files, ``$XDG_DATA_HOME`` before ``$XDG_DATA_DIRS``.

A launcher of ours lies in ``$XDG_DATA_HOME``. So it becomes the default of every type that it claims, except where
a list names another application that all three can use. A program of the host that merely claims the type loses.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from guestlink import xdg
from guestlink_host.launchers.host_menu import desktop_entry

NEVER = ("inode/", "x-content/", "x-scheme-handler/")
"""Beginnings of types that are no documents: folders, inserted media and links. A container's launchers carry them
only after ``policy NAME mime allow``."""

_State: TypeAlias = tuple[int, int, int] | None
_DEFAULT = "Default Applications"
_REMOVED = ("Removed Associations", "Removed KDE Service Associations")


class HostDefaults:
    """Reads the lists of default applications, and again only after they or the applications have changed.

    :param data_home: ``$XDG_DATA_HOME``.
    :param environ: the session's variables; ``XDG_CURRENT_DESKTOP`` names the desktops whose own lists count.
    :ivar changes: how often a call of :meth:`types` has found other types than the call before.
    """

    def __init__(self, data_home: Path, environ: Mapping[str, str] = os.environ) -> None:
        listed = [data_home, *map(Path, xdg.data_dirs(environ))]
        self._applications = [directory / "applications" for directory in dict.fromkeys(listed)]
        desktops = [word.lower() for word in environ.get("XDG_CURRENT_DESKTOP", "").split(":") if word]
        names = [*(f"{desktop}-mimeapps.list" for desktop in desktops), "mimeapps.list"]
        configured = map(Path, (xdg.config_home(environ), *xdg.config_dirs(environ)))
        self._lists = [directory / name for directory in (*configured, *self._applications) for name in names]
        self.changes = 0
        self._known: tuple[dict[Path, _State], frozenset[str]] = ({}, frozenset())

    def types(self) -> frozenset[str]:
        """The types that a launcher can carry without becoming their default. Blocks; call it in a thread."""
        seen, types = self._known
        if not seen or any(_state(path) != state for path, state in seen.items()):
            seen = {path: _state(path) for path in self._lists}
            before, types = types, frozenset(self._kept(seen))
            self._known = seen, types
            self.changes += types != before
        return types

    def _kept(self, seen: dict[Path, _State]) -> Iterator[str]:
        entries = [entry for path in self._lists for entry in _associations(path)]
        removed = {(mime_type, name) for group, mime_type, names in entries if group in _REMOVED for name in names}
        usable: dict[str, bool] = {}
        for group, mime_type, names in entries:
            if group != _DEFAULT or mime_type.startswith(NEVER):
                continue
            name = names[0]  # xdg-mime reads no other.
            if (mime_type, name) in removed:
                continue
            if name not in usable:
                usable[name] = self._is_usable(name, seen)
            if usable[name]:
                yield mime_type

    def _is_usable(self, name: str, seen: dict[Path, _State]) -> bool:
        """Whether a name is that of a program of the host that every desktop starts for a type."""
        if "/" in name or not name.endswith(".desktop") or name.startswith("guestlink-"):
            return False
        for directory in self._applications:
            path = directory / name
            seen[path] = _state(path)
            if seen[path] is not None:
                return _is_startable(path)
        return False


def _is_startable(path: Path) -> bool:
    """Whether GLib, KDE and xdg-mime all accept the application for local files and for URLs."""
    try:
        keys = desktop_entry(path) if path.is_file() else {}
        words = shlex.split(keys.get("Exec", ""))
    except (OSError, ValueError):
        return False
    programs = [*words[:1], *filter(None, [keys.get("TryExec")])]
    return (
        keys.get("Type") == "Application"
        and keys.get("Hidden") != "true"
        and not keys.keys() & {"OnlyShowIn", "NotShowIn"}  # KDE obeys these, GLib does not.
        and any("%u" in word or "%U" in word for word in words)  # Else GLib skips it for files without a path.
        and all(shutil.which(program) is not None for program in programs)
    )


def _associations(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """The entries of a list up to its first invalid line, where GLib stops: group, type and applications."""
    group = ""
    for line in _lines(path):
        key, equals, value = line.partition("=")
        if line.startswith("["):
            group = line.strip().strip("[]")
        elif equals:
            if names := [name.strip() for name in value.split(";") if name.strip()]:
                yield group, key, names
        elif line.strip() and not line.startswith("#"):
            return


def _lines(path: Path) -> Iterable[str]:
    try:
        return path.read_text(errors="replace").split("\n") if path.is_file() else ()
    except OSError:
        return ()


def _state(path: Path) -> _State:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino

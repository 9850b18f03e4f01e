"""Finds desktop files. Every scan ends, whatever a directory contains, and a bad file affects no other file."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from garcon.desktop.app_list import AppList, FoundEntry, build_app_list, desktop_file_id, path_resolver
from garcon.desktop.data_directories import data_directories
from garcon.desktop.desktop_entry import SIZE_LIMIT, BrokenEntry, DesktopEntry, parse_desktop_entry
from guestlink.errors import reason
from guestlink.regular_file import read_regular

_log = logging.getLogger(__name__)

DEPTH_LIMIT = 16
"""Directories below ``applications``; menus nest two or three deep."""
FILE_LIMIT = 20_000
"""Desktop files of one scan; a full desktop has a few hundred."""


class _Known(NamedTuple):
    signature: tuple[int, int, int, int, int]
    entry: DesktopEntry | None


class AppScanner:
    """Reads each desktop file once, and again only after a change. Use it from one thread at a time.

    :param environ: the session's environment: XDG_DATA_DIRS, XDG_DATA_HOME, HOME and PATH.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._known: dict[str, _Known] = {}
        self._limit_logged = False

    @property
    def directories(self) -> list[str]:
        """Every ``applications`` directory, in search order; some may not exist."""
        return [f"{directory}/applications" for directory in data_directories(self._environ)]

    def scan(self) -> AppList:
        """Read new and changed files and build the list."""
        seen: dict[str, _Known] = {}
        found = list(self._find(seen))
        self._known = seen
        return build_app_list(found, path_resolver(self._environ.get("PATH")))

    def _find(self, seen: dict[str, _Known]) -> Iterator[FoundEntry]:
        for root in self.directories:
            for path in _walk(root):
                if len(seen) >= FILE_LIMIT:
                    self._log_limit(root)
                    return
                known = self._known_or_read(path) if _is_utf8(path) else None
                if known is None:
                    continue
                seen[path] = known
                if known.entry is not None:
                    yield FoundEntry(desktop_file_id(path[len(root) + 1 :]), path, known.entry)

    def _known_or_read(self, path: str) -> _Known | None:
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return None  # The file was removed, or is a broken link or a link to itself.
        if not stat.S_ISREG(status.st_mode):
            return None
        # ctime shows a change of permissions, and of a file whose package manager sets mtime back.
        signature = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)
        known = self._known.get(path)
        if known is not None and known.signature == signature:
            return known
        return _Known(signature, _read_entry(path))

    def _log_limit(self, root: str) -> None:
        if not self._limit_logged:
            self._limit_logged = True
            _log.warning("more than %d desktop files; those from %s on are not published", FILE_LIMIT, root)


def read_desktop_file(path: str) -> DesktopEntry:
    """Read one desktop file.

    :raises BrokenEntry: it is not a desktop entry.
    :raises OSError: it cannot be read.
    """
    return parse_desktop_entry(read_regular(path, SIZE_LIMIT + 1))


def _read_entry(path: str) -> DesktopEntry | None:
    try:
        return read_desktop_file(path)
    except BrokenEntry as error:
        _log.info("%s is not published: %s", path, error)
    except OSError as error:
        _log.info("%s is not published: %s", path, reason(error))
    return None


def _walk(root: str) -> Iterator[str]:
    """Paths that end in ``.desktop`` below a directory, sorted; links are followed, loops are not."""
    visited: set[tuple[int, int]] = set()
    pending = [(root, 0)]
    while pending:
        directory, depth = pending.pop()
        try:
            status = os.stat(directory)
            identity = (status.st_dev, status.st_ino)
            if identity in visited:
                continue
            visited.add(identity)
            with os.scandir(directory) as iterator:
                entries = sorted(iterator, key=lambda entry: entry.name)
        except (OSError, ValueError):
            continue
        subdirectories = []
        for entry in entries:
            if _is_directory(entry):
                if depth < DEPTH_LIMIT:
                    subdirectories.append((entry.path, depth + 1))
            elif entry.name.endswith(".desktop") and entry.name != ".desktop":
                yield entry.path
        pending.extend(reversed(subdirectories))


def _is_utf8(path: str) -> bool:
    # The path gives the id, which is sent as a protobuf string: only UTF-8.
    return path.isascii() or os.fsencode(path) == path.encode(errors="replace")


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False

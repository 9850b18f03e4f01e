"""Watches directories for changes: those that do not exist yet, that are replaced, and that links lead to.

watchdog does the watching in threads of its own; here its events become plain calls in the event loop, without a
word about what changed: garcon reads everything again (garcon.md §3.8).

inotify follows a directory, not a path. So beside the directory that a path means now, the names that decide this
are watched too: its own name in its parent, every link on the way, or the first name that is missing.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import watchdog.events
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import ObservedWatch
from watchdog.observers.inotify import InotifyObserver

_log = logging.getLogger(__name__)

_READ_ONLY_EVENTS = frozenset({"opened", "closed_no_write"})
"""Events that mere reading causes; watchdog 3 and later report them."""
_CHANGES = [
    getattr(watchdog.events, f"{kind}{change}Event")
    for kind in ("File", "Dir")
    for change in ("Created", "Deleted", "Moved", "Modified", "Attrib")
    if hasattr(watchdog.events, f"{kind}{change}Event")
]
# Where watchdog can, it asks the kernel for changes alone. Otherwise every desktop file that any program reads
# wakes its threads twice, our own scan first of all.
_FILTER: dict[str, Any] = (
    {"event_filter": _CHANGES} if "event_filter" in inspect.signature(InotifyObserver.schedule).parameters else {}
)
_LINK_LIMIT = 40
"""Links on one path, as the kernel allows."""
_ATTEMPTS = 20
"""Times that watches are placed again because paths changed their meaning meanwhile."""


class _Target(NamedTuple):
    """A directory that watchdog watches, by its real path."""

    directory: str
    recursive: bool


class _Route(NamedTuple):
    """What a path means.

    :ivar directory: the directory's real path, or ``None`` where there is none.
    :ivar names: paths of the directory entries that decide this.
    """

    directory: str | None
    names: frozenset[str]


@dataclass
class _Watch:
    path: str
    recursive: bool
    changed: Callable[[], None]
    route: _Route = field(default_factory=lambda: _Route(None, frozenset()))

    @property
    def target(self) -> _Target | None:
        return _Target(self.route.directory, self.recursive) if self.route.directory is not None else None


class DirectoryWatch:
    """Calls back in the event loop after changes below directories, and when a directory appears or goes."""

    def __init__(self) -> None:
        self._observer: InotifyObserver | None = None
        self._watches: list[_Watch] = []
        self._placed: dict[_Target, ObservedWatch] = {}
        self._refused: set[_Target] = set()
        # What watchdog's threads ask before they wake the loop: replaced as a whole, never changed.
        self._contents: frozenset[_Target] = frozenset()
        self._names: frozenset[str] = frozenset()
        self._loop = asyncio.get_running_loop()

    def add(self, path: str, changed: Callable[[], None], *, recursive: bool) -> None:
        """Watch a directory from :meth:`start` on.

        :param path: absolute.
        :param changed: is called after every change, often several times for one.
        :param recursive: whether directories below count too; links to directories below are not followed.
        """
        self._watches.append(_Watch(os.path.normpath(path), recursive, changed))

    def start(self) -> None:
        """Begin to watch."""
        self._observer = InotifyObserver(timeout=3600)
        self._observer.start()
        self._place(frozenset())

    async def close(self) -> None:
        """Stop watching and wait for watchdog's threads."""
        observer, self._observer = self._observer, None
        if observer is not None:
            await asyncio.to_thread(observer.stop)
            await asyncio.to_thread(observer.join)

    def _place(self, replaced: frozenset[_Target]) -> None:
        """Have watchdog watch what the paths mean now.

        :param replaced: targets whose directory may be another one by now, under the same name.
        """
        for _ in range(_ATTEMPTS):
            for watch in self._watches:
                watch.route = _resolve(watch.path)
            self._names = frozenset[str]().union(*(watch.route.names for watch in self._watches))
            self._contents = frozenset(watch.target for watch in self._watches if watch.target is not None)
            wanted = self._contents | {_Target(os.path.dirname(name), recursive=False) for name in self._names}
            for target in self._placed.keys() - (wanted - replaced):
                self._unschedule(target)
            for target in wanted - self._placed.keys():
                self._schedule(target)
            if all(_resolve(watch.path) == watch.route for watch in self._watches):
                return
            replaced = frozenset()  # A directory came or went between looking and watching.

    def _schedule(self, target: _Target) -> None:
        assert self._observer is not None
        try:
            self._placed[target] = self._observer.schedule(
                _Handler(self, target), target.directory, recursive=target.recursive, **_FILTER
            )
        except FileNotFoundError:
            return  # It has gone again; the next look will tell.
        except OSError as error:
            if target not in self._refused:
                self._refused.add(target)
                _log.warning(
                    "%s is not watched, changes there go unnoticed: %s; sysctl fs.inotify shows the limits",
                    target.directory,
                    (error.strerror or str(error)).lower(),
                )

    def _unschedule(self, target: _Target) -> None:
        assert self._observer is not None
        try:
            self._observer.unschedule(self._placed.pop(target))
        except (KeyError, OSError):
            pass  # It went away with its directory.

    def heard(self, target: _Target, event: FileSystemEvent) -> None:
        """Take an event in one of watchdog's threads."""
        if event.event_type in _READ_ONLY_EVENTS:
            return
        paths = {os.fsdecode(event.src_path), os.fsdecode(getattr(event, "dest_path", "") or "")}
        gone = event.event_type == "deleted" and target.directory in paths
        if gone or target in self._contents or paths & self._names:
            try:
                self._loop.call_soon_threadsafe(self._happened, target, paths, gone)
            except RuntimeError:
                pass  # The loop has ended before the thread.

    def _happened(self, target: _Target, paths: set[str], gone: bool) -> None:
        if self._observer is None:
            return
        told = [watch for watch in self._watches if watch.target == target]
        moved = [watch for watch in self._watches if _decides(target, paths, gone, watch)]
        if moved:
            replaced = {watch.target for watch in moved if watch.target is not None}
            told += [watch for watch in moved if watch.target is not None]
            self._place(frozenset(replaced | {target} if gone else replaced))
            told += [watch for watch in moved if watch.target is not None]
        for watch in {id(watch): watch for watch in told}.values():
            watch.changed()


def _decides(target: _Target, paths: set[str], gone: bool, watch: _Watch) -> bool:
    """Whether an event may give a watch's path another meaning."""
    if gone and watch.target == target:
        return True
    # Only the watch on the very directory tells of its names; a recursive one above would repeat it.
    names = [] if target.recursive else [n for n in watch.route.names if os.path.dirname(n) == target.directory]
    return bool(names) and (gone or not paths.isdisjoint(names))


class _Handler(FileSystemEventHandler):
    def __init__(self, watch: DirectoryWatch, target: _Target) -> None:
        self._watch = watch
        self._target = target

    def dispatch(self, event: FileSystemEvent) -> None:
        self._watch.heard(self._target, event)


def _resolve(path: str) -> _Route:
    """Follow a path from the root, noting every name that another file could take."""
    names: set[str] = set()
    current = "/"
    links = 0
    pending = path.split("/")[::-1]
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            current = os.path.dirname(current)
            continue
        entry = os.path.join(current, part)
        try:
            mode = os.lstat(entry).st_mode
            target = os.readlink(entry) if stat.S_ISLNK(mode) else None
        except (OSError, ValueError):
            return _Route(None, frozenset(names | {entry}))
        if target is not None:
            names.add(entry)
            links += 1
            if links > _LINK_LIMIT:
                return _Route(None, frozenset(names))
            if target.startswith("/"):
                current = "/"
            pending += target.split("/")[::-1]
        elif stat.S_ISDIR(mode):
            current = entry
        else:
            return _Route(None, frozenset(names | {entry}))
    if current != "/":
        names.add(current)
    return _Route(current, frozenset(names))

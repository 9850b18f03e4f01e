"""Watches directories for changes, those that do not exist yet included.

watchdog does the watching in threads of its own; here its events become plain calls in the event loop, without a
word about what changed: garcon reads everything again (garcon.md §3.8).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.inotify import InotifyObserver

_log = logging.getLogger(__name__)

_READ_ONLY_EVENTS = frozenset({"opened", "closed_no_write"})
"""Events that our own reading causes; newer watchdog versions report them."""


class _Watch:
    def __init__(self, path: str, recursive: bool, changed: Callable[[], None]) -> None:
        self.path = path
        self.recursive = recursive
        self.changed = changed
        self.handle: object | None = None
        self.placed = ""


class DirectoryWatch:
    """Calls back in the event loop after changes below directories.

    A directory that does not exist is waited for at its nearest existing parent.
    """

    def __init__(self) -> None:
        self._observer = InotifyObserver(timeout=3600)
        self._watches: list[_Watch] = []
        self._loop = asyncio.get_running_loop()
        self._started = False

    def add(self, path: str, changed: Callable[[], None], *, recursive: bool) -> None:
        """Watch a directory from :meth:`start` on.

        :param changed: is called after every change, often several times for one.
        :param recursive: whether directories below count too.
        """
        self._watches.append(_Watch(os.path.normpath(path), recursive, changed))

    def start(self) -> None:
        """Begin to watch."""
        self._observer.start()
        self._started = True
        for watch in self._watches:
            self._place(watch)

    async def close(self) -> None:
        """Stop watching and wait for watchdog's threads."""
        if self._started:
            self._started = False
            self._observer.stop()
            await asyncio.to_thread(self._observer.join)

    def _place(self, watch: _Watch) -> None:
        """Watch the directory itself, or where it will appear."""
        target = watch.path
        while not os.path.isdir(target):
            target = os.path.dirname(target)
        if target == watch.placed:
            return
        handler = _Handler(lambda event: self._from_thread(watch, event))
        try:
            handle = self._observer.schedule(handler, target, recursive=watch.recursive and target == watch.path)
        except OSError as error:
            _log.warning("%s is not watched: %s", target, (error.strerror or str(error)).lower())
            return
        if watch.handle is not None:
            try:
                self._observer.unschedule(watch.handle)  # type: ignore[arg-type]
            except (KeyError, OSError):
                pass  # It went away with its directory.
        watch.handle, watch.placed = handle, target

    def _from_thread(self, watch: _Watch, event: FileSystemEvent) -> None:
        if event.event_type not in _READ_ONLY_EVENTS:
            try:
                self._loop.call_soon_threadsafe(self._event, watch)
            except RuntimeError:
                pass  # The loop has ended before the thread.

    def _event(self, watch: _Watch) -> None:
        if not self._started:
            return
        before = watch.placed
        if before != watch.path or not os.path.isdir(before):
            self._place(watch)
        # Otherwise it is something else in a parent directory.
        if watch.path in (before, watch.placed):
            watch.changed()


class _Handler(FileSystemEventHandler):
    def __init__(self, call: Callable[[FileSystemEvent], None]) -> None:
        self._call = call

    def dispatch(self, event: FileSystemEvent) -> None:
        self._call(event)

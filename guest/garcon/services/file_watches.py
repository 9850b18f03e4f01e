"""Watches directories for the host's file manager (chromeos-garcon.md §6.5).

A path is relative to the home directory, ``""`` is the home directory itself. Links are followed, and the directory
need not exist. The host learns only that something in the directory changed, and reads it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from garcon.watch import DirectoryWatch
from garcon.watch_plan import Watched
from guestlink.errors import GuestlinkError
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

WINDOW = 3.0
"""Seconds between two reports about one directory."""
WATCH_LIMIT = 1000
"""Directories that the host may watch at a time: each costs a watch of the kernel, or several below links."""
PATH_LIMIT = 4096
"""Bytes of a path: PATH_MAX of Linux."""


class CannotWatch(GuestlinkError):
    """A watch was neither added nor removed."""


class ReportPace:
    """When the changes of one directory are reported: the first at once, later ones a window after the last report.

    Pure: times are seconds of one monotonic clock.
    """

    def __init__(self) -> None:
        self._last = float("-inf")

    def due(self, now: float) -> float:
        """When a change of now is to be reported."""
        return max(now, self._last + WINDOW)

    def reported(self, now: float) -> None:
        """The change is reported now."""
        self._last = now


class _Directory:
    """One watched directory: reports its changes at their time.

    :param report: is called when a report is due.
    """

    def __init__(self, path: str, report: Callable[[], None]) -> None:
        self.watched = Watched(path, self._changed)
        self._report = report
        self._pace = ReportPace()
        self._timer: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        """Report nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _changed(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._pace.due(loop.time()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._pace.reported(asyncio.get_running_loop().time())
        self._report()


class FileWatches:
    """The directories that the host watches.

    :param home: the home directory.
    :param report: sends a path to the host; raises GuestlinkError if the host does not get it.
    """

    def __init__(self, home: str, report: Callable[[str], Awaitable[None]]) -> None:
        self._home = home
        self._report = report
        self._directories: dict[str, _Directory] = {}
        self._watch = DirectoryWatch()
        self._tasks = TaskOwner("file watches")
        self._due: dict[str, None] = {}
        self._is_due = asyncio.Event()

    async def start(self) -> None:
        """Begin to watch and to report."""
        self._watch.start()
        self._tasks.start(self._send(), name="report changes")

    async def close(self) -> None:
        """Forget every watch."""
        for directory in self._directories.values():
            directory.cancel()
        await self._tasks.close()
        await self._watch.close()

    async def add(self, path: str) -> None:
        """Watch a directory; a change after this call is reported.

        :raises CannotWatch: with the reason for AddFileWatchResponse.
        """
        key = watch_key(path)
        if key in self._directories:
            raise CannotWatch("already watching path")
        if len(self._directories) >= WATCH_LIMIT:
            raise CannotWatch(f"already watching {WATCH_LIMIT} paths")
        known = self._watch.problem
        self._directories[key] = _Directory(f"{self._home}/{key}", lambda: self._add_due(key))
        await self._replace()
        if (problem := self._watch.problem) and (problem != known or not self._watch.is_running):
            self._directories.pop(key).cancel()
            await self._replace()
            raise CannotWatch(problem)

    async def remove(self, path: str) -> None:
        """Stop watching a directory; a report that is not sent yet is not sent any more.

        :param path: another spelling of the path that was added will do.
        :raises CannotWatch: with the reason for RemoveFileWatchResponse.
        """
        key = watch_key(path)
        if key not in self._directories:
            raise CannotWatch("not watching path")
        self._directories.pop(key).cancel()
        self._due.pop(key, None)
        await self._replace()

    async def _replace(self) -> None:
        await self._watch.replace(directory.watched for directory in self._directories.values())

    def _add_due(self, key: str) -> None:
        self._due[key] = None
        self._is_due.set()

    async def _send(self) -> None:
        """Send the reports, one at a time: however slow the host is, a directory waits at most once."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            while self._due:
                key = next(iter(self._due))
                del self._due[key]
                try:
                    await self._report(key)
                except GuestlinkError as error:
                    _log.debug("the host does not learn that %r changed: %s", key, error)


def watch_key(path: str) -> str:
    """The one spelling of a path: no empty component, no ``.``, no slash at the end.

    :raises CannotWatch: the path is absolute, leads upwards, or cannot be a path.
    """
    parts = path.split("/")
    is_path = "\0" not in path and len(path.encode(errors="surrogateescape")) < PATH_LIMIT
    if not is_path or path.startswith("/") or ".." in parts:
        raise CannotWatch("invalid path")
    return "/".join(part for part in parts if part not in ("", "."))

"""Directories of one container that programs of this host watch (chromeos-garcon.md §6.5).

garcon reports that a directory has changed. Watchers ask with the number of the last change that they know, and get
the number of the newest one. garcon forgets its watches when it ends; watchers wait for the next garcon, and what
has changed meanwhile counts as a change.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from guestlink.errors import GuestlinkError
from guestlink.tasks import TaskOwner

DIRECTORY_LIMIT = 100
"""Directories of one container that are watched at a time."""
WAIT = 20.0
"""Seconds after which a watcher gets an answer without a change, and asks again."""
GRACE = 10.0
"""Seconds for which a directory stays watched after its last watcher has got an answer."""

_AskGarcon = Callable[[str], Awaitable[None]]
"""Asks garcon to add or to remove a watch; raises GuestlinkError with garcon's reason."""


class _Directory:
    """One directory.

    :ivar changes: how often it has changed.
    :ivar watchers: how many wait for a change now.
    :ivar added: whether garcon watches it.
    """

    def __init__(self) -> None:
        self.changes = 0
        self.watchers = 0
        self.added = False
        self.changed = asyncio.Event()
        self.adding = asyncio.Lock()
        self.expiry: asyncio.TimerHandle | None = None

    def change(self) -> None:
        """The directory has changed."""
        self.changes += 1
        self.wake()

    def wake(self) -> None:
        """Let everybody who waits ask again."""
        self.changed.set()
        self.changed = asyncio.Event()


class WatchedDirectories:
    """The watched directories of one container.

    :param container: the container's name.
    :param add: adds a watch in the container.
    :param remove: removes one.
    :param tasks: runs the removals.
    """

    def __init__(self, container: str, add: _AskGarcon, remove: _AskGarcon, tasks: TaskOwner) -> None:
        self._container = container
        self._add = add
        self._remove = remove
        self._tasks = tasks
        self._directories: dict[str, _Directory] = {}

    async def wait(self, path: str, seen: int) -> int:
        """Wait until a directory has changed since a watcher's last answer, for at most :data:`WAIT` seconds.

        :param path: relative to the home directory, as garcon spells it.
        :param seen: the watcher's last answer; -1 if it has none, and is answered at once.
        :returns: the number of the newest change.
        :raises GuestlinkError: garcon cannot watch the directory, or too many are watched. A watcher that has had
            an answer waits for a garcon that is gone.
        """
        if path not in self._directories and len(self._directories) >= DIRECTORY_LIMIT:
            raise GuestlinkError(
                f"{DIRECTORY_LIMIT} directories of {self._container} are watched already",
                hint="end another `guestlink-host watch`",
            )
        directory = self._directories.setdefault(path, _Directory())
        directory.watchers += 1
        if directory.expiry is not None:
            directory.expiry.cancel()
            directory.expiry = None
        try:
            async with directory.adding:
                if not directory.added:
                    await self._add_again(path, directory, is_first=seen < 0)
            if seen == directory.changes:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(directory.changed.wait(), WAIT)
            return directory.changes
        finally:
            directory.watchers -= 1
            if not directory.watchers and self._directories.get(path) is directory:
                self._expire(path, directory)

    async def _add_again(self, path: str, directory: _Directory, *, is_first: bool) -> None:
        try:
            await self._add(path)
        except GuestlinkError:
            if is_first:
                raise
            return
        directory.added = True
        if not is_first:
            directory.change()  # Nobody has reported what has changed until now.

    def changed(self, path: str) -> None:
        """garcon reports a change; of a directory that nobody watches, nothing happens."""
        if (directory := self._directories.get(path)) is not None:
            directory.change()

    def forgotten(self) -> None:
        """garcon has ended, and watches nothing."""
        for directory in self._directories.values():
            directory.added = False
            directory.change()

    def can_be_added(self) -> None:
        """There is a garcon again."""
        for directory in self._directories.values():
            directory.wake()

    def _expire(self, path: str, directory: _Directory) -> None:
        if not directory.changes and not directory.added:
            del self._directories[path]  # garcon has refused it.
            return
        loop = asyncio.get_running_loop()
        directory.expiry = loop.call_later(GRACE, self._forget_soon, path, directory)

    def _forget_soon(self, path: str, directory: _Directory) -> None:
        with contextlib.suppress(RuntimeError):  # The daemon is closing.
            self._tasks.start(self._forget(path, directory), name=f"stop watching {path}")

    async def _forget(self, path: str, directory: _Directory) -> None:
        async with directory.adding:  # A new watcher adds the directory again afterwards.
            if not directory.watchers and directory.added:
                directory.added = False
                with contextlib.suppress(GuestlinkError):  # A garcon that is gone watches nothing.
                    await self._remove(path)
            if not directory.watchers:
                self._directories.pop(path, None)

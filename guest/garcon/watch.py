"""Watches paths for changes, also paths that do not exist yet, that are replaced, or that lead through links.

The callbacks run in the event loop and do not receive the change: garcon reads everything again
(chromeos-garcon.md §3.8). :mod:`garcon.watch_plan` decides what to watch.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable

from garcon.inotify import Inotify
from garcon.watch_plan import Plan, Watched, every_name, make_plan
from guestlink.errors import reason
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

_PAUSE_LIMIT = 1.0
"""Longest pause in seconds after a new plan; the pause is as long as the plan took to make, if that is less."""


class DirectoryWatch:
    """Calls back in the event loop after changes of a path's target or content."""

    def __init__(self) -> None:
        self._watches: list[Watched] = []
        self._plan = Plan()
        self._inotify: Inotify | None = None
        self._tasks = TaskOwner("watch")
        self._making: asyncio.Future[Plan] | None = None
        self._outdated = False
        self._placing = False
        self._placed = asyncio.Event()
        self._waiting: set[Watched] = set()
        self._problem = ""

    def add(
        self,
        path: str,
        changed: Callable[[], None],
        *,
        depth: int = 0,
        matters: Callable[[str], bool] = every_name,
    ) -> None:
        """Watch a path from :meth:`start` on; the parameters are those of :class:`Watched`."""
        self._watches.append(Watched(os.path.normpath(path), changed, depth, matters))

    @property
    def problem(self) -> str:
        """Why not every path is watched; ``""`` if all are."""
        return self._problem

    @property
    def is_running(self) -> bool:
        """Whether anything is watched."""
        return self._inotify is not None

    def start(self) -> None:
        """Begin to watch."""
        try:
            inotify = Inotify()
        except OSError as error:
            self._warn(reason(error) + "; sysctl fs.inotify shows the limits")
            return
        self._inotify = inotify
        self._take(inotify, make_plan(inotify, self._watches))
        asyncio.get_running_loop().add_reader(inotify.fileno(), self._readable, inotify)

    async def replace(self, watches: Iterable[Watched]) -> None:
        """Watch these paths instead, and return when the watches are in place. No callback is called for this."""
        new = list(dict.fromkeys(watches))
        if new != self._watches and self._inotify is not None:
            self._watches = new
            self._placed.clear()
            self._place()
            await self._placed.wait()

    async def close(self) -> None:
        """Stop watching."""
        if self._inotify is None:
            return
        inotify, self._inotify = self._inotify, None
        asyncio.get_running_loop().remove_reader(inotify.fileno())
        await self._tasks.close()
        if self._making is not None:
            await asyncio.wait([self._making])  # A thread still uses the descriptor.
        inotify.close()

    def _readable(self, inotify: Inotify) -> None:
        concerned: set[Watched] = set()
        for change in inotify.read():
            watches, outdated = self._plan.affected(change)
            concerned |= watches
            if outdated:
                self._waiting |= watches
                self._outdated = True
        self._notify(concerned)
        if self._outdated:
            self._place()

    def _notify(self, concerned: Iterable[Watched]) -> None:
        for watched in concerned:
            if watched in self._plan.present:
                watched.changed()

    def _place(self) -> None:
        self._outdated = True
        if self._inotify is not None and not self._placing:
            self._placing = True
            self._tasks.start(self._place_all(self._inotify), name="watch what the paths mean now")

    async def _place_all(self, inotify: Inotify) -> None:
        """Make new plans until one is up to date; meanwhile the kernel queues the events."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(inotify.fileno())
        try:
            while self._outdated:
                self._outdated = False
                concerned, self._waiting = self._waiting, set()
                began = loop.time()
                self._making = loop.run_in_executor(None, make_plan, inotify, list(self._watches))
                plan = await asyncio.shield(self._making)
                # A path that has disappeared in the meantime: its event follows, but by then it is not present.
                gone = {watched for watched in self._plan.present - plan.present if watched in self._watches}
                self._take(inotify, plan)
                self._notify(concerned)
                for watched in gone:
                    watched.changed()
                if not self._outdated:
                    self._placed.set()
                await asyncio.sleep(min(loop.time() - began, _PAUSE_LIMIT))
        finally:
            self._placing = False
            self._placed.set()
            if self._inotify is not None:
                loop.add_reader(inotify.fileno(), self._readable, inotify)

    def _take(self, inotify: Inotify, plan: Plan) -> None:
        for number in self._plan.directories.keys() - plan.directories.keys():
            inotify.unwatch(number)
        self._plan = plan
        self._warn(plan.problem)

    def _warn(self, problem: str) -> None:
        if problem and problem != self._problem:
            _log.warning("not every directory is watched, some changes go unnoticed: %s", problem)
        self._problem = problem

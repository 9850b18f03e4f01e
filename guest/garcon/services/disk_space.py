"""Tells the host when the container's disk is nearly full (chromeos-garcon.md §6.10)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable

from guestlink.errors import GuestlinkError
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

PERIOD = 120.0
"""Seconds between two checks, and before the first."""
LOW = 1 << 30
"""Bytes; garcon reports fewer free ones, at each check."""


class DiskSpace:
    """Checks the disk from :meth:`start` to :meth:`close`.

    :param report: sends the number of free bytes to the host; raises GuestlinkError if the host does not get it.
    :param free: returns the number of bytes that users without privileges can write.
    """

    def __init__(self, report: Callable[[int], Awaitable[None]], free: Callable[[], int] | None = None) -> None:
        self._report = report
        self._free = free or free_bytes
        self._tasks = TaskOwner("disk space")

    async def start(self) -> None:
        """Begin to check."""
        self._tasks.start(self._run(), name="check")

    async def close(self) -> None:
        """Stop."""
        await self._tasks.close()

    async def check(self) -> None:
        """Tell the host if little space is left."""
        if (free := self._free()) >= LOW:
            return
        _log.warning("only %d MiB are free on the container's disk", free >> 20)
        try:
            await self._report(free)
        except GuestlinkError as error:
            _log.debug("the host does not learn of it: %s", error)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            await self.check()


def free_bytes(path: str = "/") -> int:
    """The number of bytes that users without privileges can write to a path's file system; 0 if it is not known."""
    try:
        status = os.statvfs(path)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize

"""Refreshes the desktop's databases after launchers or icons have changed: coalesced, in the background."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from pathlib import Path

from guestlink.backoff import backoff
from guestlink.process import run
from guestlink.program import CommandFailed
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

SETTLE = 0.3
"""Seconds to wait for more changes before the tools run, so that a list and its icons are one refresh."""
FIRST_RETRY, LAST_RETRY = 2.0, 60.0
"""Seconds until a tool that failed runs again."""
REST, LONGEST_REST = 10.0, 60.0
"""Times as long as a refresh took, and seconds at most, until the next one: containers that always change launchers
keep the tools running a tenth of the time."""
_TIMEOUT = 60.0


class DesktopDatabases:
    """The caches that desktops keep of launchers, MIME handlers and icons.

    :param data_home: ``$XDG_DATA_HOME`` of the user.
    """

    def __init__(self, data_home: Path) -> None:
        self._applications = data_home / "applications"
        self._theme = data_home / "icons" / "hicolor"
        self._requested = asyncio.Event()
        self._failing: set[str] = set()
        self._tasks = TaskOwner("desktop databases")

    def request(self) -> None:
        """Refresh soon."""
        self._requested.set()

    async def start(self) -> None:
        """Begin to refresh after each request, one refresh at a time; a refresh that failed is repeated."""
        self._tasks.start(self._run(), name="refresh")

    async def close(self) -> None:
        """Stop refreshing."""
        await self._tasks.close()

    async def _run(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff(FIRST_RETRY, LAST_RETRY, failures) if failures else None):
                    await self._requested.wait()
            await asyncio.sleep(SETTLE)
            self._requested.clear()
            began = loop.time()
            failures = 0 if await self.refresh() else failures + 1
            await asyncio.sleep(min((loop.time() - began) * REST, LONGEST_REST))

    async def refresh(self) -> bool:
        """Refresh now. A tool that is not installed is skipped: no desktop here needs it.

        :returns: whether everything is up to date.
        """
        done = True
        if self._applications.is_dir():
            # Writes mimeinfo.cache, where file managers look up the applications for a MIME type.
            done = await self._tool("update-desktop-database", "-q", str(self._applications))
        if self._theme.is_dir():
            # Running desktops reread a theme whose directory is newer (Icon Theme Specification).
            with contextlib.suppress(OSError):
                os.utime(self._theme)
            # An outdated cache is worse than none, so only an existing one is refreshed and none is created.
            if (self._theme / "icon-theme.cache").exists():
                done = await self._tool("gtk-update-icon-cache", "-q", "-t", "-f", str(self._theme)) and done
        return done

    async def _tool(self, name: str, *arguments: str) -> bool:
        if shutil.which(name) is None:
            return True
        try:
            (await run([name, *arguments], timeout=_TIMEOUT)).check()
        except CommandFailed as error:
            if name not in self._failing:
                _log.warning("%s", error)
            self._failing.add(name)
            return False
        self._failing.discard(name)
        return True

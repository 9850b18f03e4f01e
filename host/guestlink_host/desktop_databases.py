"""Tells the desktop that launchers or icons changed: its databases are refreshed, coalesced, in the background."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from pathlib import Path

from guestlink.process import CommandFailed, run

_log = logging.getLogger(__name__)

SETTLE = 0.3
"""Seconds that changes may go on before the tools run: a list and its icons are one refresh."""
_TIMEOUT = 60.0


class DesktopDatabases:
    """The caches that desktops keep of launchers, MIME handlers and icons.

    :param data_home: ``$XDG_DATA_HOME`` of the user.
    """

    def __init__(self, data_home: Path) -> None:
        self._applications = data_home / "applications"
        self._theme = data_home / "icons" / "hicolor"
        self._requested = asyncio.Event()
        self._said: set[str] = set()

    def request(self) -> None:
        """Refresh soon."""
        self._requested.set()

    async def run(self) -> None:
        """Refresh whenever requested, one refresh at a time, for ever."""
        while True:
            await self._requested.wait()
            await asyncio.sleep(SETTLE)
            self._requested.clear()
            await self.refresh()

    async def refresh(self) -> None:
        """Refresh now. Tools that are not installed belong to no desktop that would need them."""
        if self._applications.is_dir():
            # Makes mimeinfo.cache, by which file managers find who opens a type.
            await self._tool("update-desktop-database", "-q", str(self._applications))
        if self._theme.is_dir():
            # A newer directory makes running desktops look again (Icon Theme Specification).
            with contextlib.suppress(OSError):
                os.utime(self._theme)
            # A cache that nobody keeps up to date is worse than none, so none is made where there was none.
            if (self._theme / "icon-theme.cache").exists():
                await self._tool("gtk-update-icon-cache", "-q", "-t", "-f", str(self._theme))

    async def _tool(self, name: str, *arguments: str) -> None:
        if shutil.which(name) is None:
            return
        try:
            (await run([name, *arguments], timeout=_TIMEOUT)).check()
        except CommandFailed as error:
            if name not in self._said:
                _log.warning("%s", error)
            self._said.add(name)
        else:
            self._said.discard(name)

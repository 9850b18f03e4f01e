"""Watches this machine's own applications: their names in its menus, and which of them are its defaults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from guestlink.tasks import TaskOwner
from guestlink_host.launchers.host_defaults import HostDefaults
from guestlink_host.launchers.host_menu import HostMenu
from guestlink_host.launchers.launcher_names import HOST, LauncherNames

INTERVAL = 5.0
"""Seconds between two polls."""


class HostWatch:
    """Polls the host's own applications, updates their names, and reports new default applications.

    :param menu: the host's menus.
    :param names: the names of all applications.
    :param defaults: the host's default applications.
    :param defaults_changed: is called after the types that launchers carry have changed.
    """

    def __init__(
        self, menu: HostMenu, names: LauncherNames, defaults: HostDefaults, defaults_changed: Callable[[], None]
    ) -> None:
        self._menu = menu
        self._names = names
        self._defaults = defaults
        self._defaults_changed = defaults_changed
        self._tasks = TaskOwner("host applications")

    async def start(self) -> None:
        """Begin to poll."""
        self._tasks.start(self._run(), name="poll")

    async def close(self) -> None:
        """Stop polling."""
        await self._tasks.close()

    async def _run(self) -> None:
        changes = self._defaults.changes
        while True:
            if (found := await asyncio.to_thread(self._menu.poll)) is not None:
                self._names.update(HOST, found)
                self._names.reserve(self._menu.window_classes)
            await asyncio.to_thread(self._defaults.types)
            if self._defaults.changes != changes:  # A container's publisher may have been the first to find out.
                changes = self._defaults.changes
                self._defaults_changed()
            self._names.complete.set()
            await asyncio.sleep(INTERVAL)

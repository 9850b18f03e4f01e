"""Notifications of the daemon on the user's desktop."""

from __future__ import annotations

import asyncio

from guestlink.tasks import TaskOwner
from guestlink_host.border.notification import notify


class UserNotifications:
    """Shows notifications without blocking the daemon."""

    def __init__(self) -> None:
        self._tasks = TaskOwner("notifications")

    async def start(self) -> None:
        """Nothing runs before the first notification."""

    async def close(self) -> None:
        """Stop waiting for the notifications that are being shown."""
        await self._tasks.close()

    def show(self, summary: str, text: str) -> None:
        """Show a notification soon."""
        self._tasks.start(asyncio.to_thread(notify, summary, text), name="notify the user")

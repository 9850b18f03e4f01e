"""FileWatchTriggered and LowDiskSpaceTriggered: what a container reports about its files."""

from __future__ import annotations

import time
from collections.abc import Callable

from guestlink.pb import common_pb2
from guestlink.pb import container_host_pb2 as pb
from guestlink_host.containers.guest import Guest
from guestlink_host.listener.token_check import TokenCheck

SEVERE = 512 << 20
"""Bytes below which little space is severe, as Chrome has it (chromeos-garcon.md §6.10)."""
QUIET = 3600.0
"""Seconds after a report in which the user hears of the same state no more: garcon repeats it every two minutes."""


class ReportCalls:
    """The RPCs with which a container reports a change.

    :param notify: shows a summary and a text to the user.
    """

    def __init__(self, guest: Guest, check: TokenCheck, notify: Callable[[str, str], None]) -> None:
        self._guest = guest
        self._check = check
        self._notify = notify
        self._told: dict[bool, float] = {}

    async def file_watch_triggered(self, request: pb.FileWatchTriggeredInfo) -> common_pb2.EmptyMessage:
        """Wake who watches the directory."""
        self._check.call(request.token, "FileWatchTriggered")
        self._guest.watched_directories.changed(request.path)
        return common_pb2.EmptyMessage()

    async def low_disk_space_triggered(self, request: pb.LowDiskSpaceTriggeredInfo) -> common_pb2.EmptyMessage:
        """Tell the user, at most once an hour, and once more when the state becomes severe."""
        self._check.call(request.token, "LowDiskSpaceTriggered")
        now = time.monotonic()
        severe = request.free_bytes < SEVERE
        if now - self._told.get(severe, float("-inf")) >= QUIET:
            self._told[severe] = now
            name = self._guest.container.name
            left = f"{request.free_bytes >> 20} MiB are free" if request.free_bytes else "nobody knows how little"
            self._guest.event("low-disk", left)
            self._notify(
                f"The disk of the container {name} is {'nearly full' if severe else 'filling up'}",
                f"{left[0].upper()}{left[1:]}. Remove files or packages in the container, or enlarge its disk.",
            )
        return common_pb2.EmptyMessage()

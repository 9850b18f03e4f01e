"""GetIcon (chromeos-garcon.md §4)."""

from __future__ import annotations

import asyncio
import logging

from garcon.desktop.pictures import Icon
from garcon.parts import GarconParts
from garcon.session.launch_plan import CannotLaunch
from guestlink.pb import container_guest_pb2 as pb
from guestlink.rpc import RECEIVE_LIMIT

_log = logging.getLogger(__name__)

ICONS_LIMIT = 256
"""Icons of one request; Chrome asks for one (chromeos-garcon.md §1.4)."""
_FIELD_SIZE = 5
"""Bytes of an icon's tag and length in the response, at most."""


class IconCalls:
    """The host reads applications' icons."""

    def __init__(self, parts: GarconParts) -> None:
        self._entries = parts.entries
        self._icons = parts.icons
        self._reading = asyncio.Lock()

    async def get_icon(self, request: pb.IconRequest) -> pb.IconResponse:
        """Read icons; the response omits ids without an icon, and icons that exceed the host's receive limit."""
        ids = request.desktop_file_ids
        if len(ids) > ICONS_LIMIT:
            _log.warning("the host asked for %d icons at once; only the first %d are read", len(ids), ICONS_LIMIT)
        response = pb.IconResponse()
        size = left_out = 0
        for desktop_file_id in ids[:ICONS_LIMIT]:
            async with self._reading:
                icon = await asyncio.to_thread(self._find, desktop_file_id, request.icon_size, request.scale)
            if icon is None:
                continue
            found = pb.DesktopIcon(desktop_file_id=desktop_file_id, icon=icon.content, format=int(icon.format))
            found_size = found.ByteSize() + _FIELD_SIZE
            if size + found_size > RECEIVE_LIMIT:
                left_out += 1
                continue
            size += found_size
            response.desktop_icons.append(found)
        if left_out:
            _log.warning("icons left out of one response, because it would exceed the host's limit: %d", left_out)
        return response

    def _find(self, desktop_file_id: str, size: int, scale: int) -> Icon | None:
        try:
            _, entry = self._entries.find(desktop_file_id)
        except CannotLaunch:
            return None
        return self._icons.find(entry.icon, size, scale)

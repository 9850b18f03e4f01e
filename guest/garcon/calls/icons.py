"""GetIcon (chromeos-garcon.md §4)."""

from __future__ import annotations

import asyncio
import logging

from garcon.desktop.pictures import Icon
from garcon.parts import Parts
from garcon.session.launch_plan import CannotLaunch
from guestlink.pb import container_guest_pb2 as pb
from guestlink.rpc import RECEIVE_LIMIT

_log = logging.getLogger(__name__)

ICONS_LIMIT = 256
"""Icons of one request; Chrome asks for one (chromeos-garcon.md §1.4)."""
_RESPONSE_LIMIT = RECEIVE_LIMIT - 64 * 1024
"""Bytes of icons in one response: the host's receive limit is gRPC's default."""


class IconCalls:
    """The host reads applications' icons."""

    def __init__(self, parts: Parts) -> None:
        self._entries = parts.entries
        self._icons = parts.icons
        self._reading = asyncio.Lock()

    async def get_icon(self, request: pb.IconRequest) -> pb.IconResponse:
        """Read icons; the response omits ids without an icon."""
        response = pb.IconResponse()
        size = 0
        for desktop_file_id in request.desktop_file_ids[:ICONS_LIMIT]:
            async with self._reading:
                icon = await asyncio.to_thread(self._find, desktop_file_id, request.icon_size, request.scale)
            if icon is None:
                continue
            size += len(icon.content)
            if size > _RESPONSE_LIMIT:
                _log.warning("the icons of one request are too large for one response; the rest is left out")
                break
            response.desktop_icons.add(desktop_file_id=desktop_file_id, icon=icon.content, format=int(icon.format))
        return response

    def _find(self, desktop_file_id: str, size: int, scale: int) -> Icon | None:
        try:
            _, entry = self._entries.find(desktop_file_id)
        except CannotLaunch:
            return None
        return self._icons.find(entry.icon, size, scale)

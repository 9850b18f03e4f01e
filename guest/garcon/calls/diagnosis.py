"""GetDebugInformation (chromeos-garcon.md §6.9)."""

from __future__ import annotations

import asyncio

from garcon.parts import GarconParts
from guestlink.logs import recent_messages
from guestlink.pb import container_guest_pb2 as pb


class DiagnosisCalls:
    """The host reads the diagnosis for a feedback report."""

    def __init__(self, parts: GarconParts) -> None:
        self._environ = parts.environ
        self._reporting = asyncio.Lock()

    async def get_debug_information(self, request: pb.GetDebugInformationRequest) -> pb.GetDebugInformationResponse:
        """Return the diagnosis."""
        from garcon.diagnosis.report import debug_text

        async with self._reporting:
            text = await asyncio.to_thread(debug_text, self._environ, recent_messages())
        return pb.GetDebugInformationResponse(debug_information=text)

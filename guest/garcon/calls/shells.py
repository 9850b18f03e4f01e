"""LaunchVshd (chromeos-garcon.md §6.1)."""

from __future__ import annotations

from garcon.parts import GarconParts
from guestlink.pb import container_guest_pb2 as pb
from guestlink.rpc import Refusal


class ShellCalls:
    """The host opens shells."""

    def __init__(self, parts: GarconParts) -> None:
        self._shells = parts.shells

    async def launch_vshd(self, request: pb.LaunchVshdRequest) -> pb.LaunchVshdResponse:
        """Start a vshd session that connects to the host's vsh."""
        if not request.port:
            raise Refusal("INVALID_ARGUMENT", "missing port")
        reason = await self._shells.launch(request.port, list(request.container_features))
        return pb.LaunchVshdResponse(success=not reason, failure_reason=reason)

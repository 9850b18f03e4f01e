"""LaunchApplication (chromeos-garcon.md §5)."""

from __future__ import annotations

from garcon.parts import GarconParts
from guestlink.pb import container_guest_pb2 as pb
from guestlink.rpc import Refusal


class ApplicationCalls:
    """The host starts applications."""

    def __init__(self, parts: GarconParts) -> None:
        self._launcher = parts.launcher

    async def launch_application(self, request: pb.LaunchApplicationRequest) -> pb.LaunchApplicationResponse:
        """Start an application."""
        if not request.desktop_file_id:
            raise Refusal("INVALID_ARGUMENT", "missing desktop_file_id")
        reason = await self._launcher.launch(
            request.desktop_file_id,
            list(request.files),
            scaled=request.display_scaling == pb.LaunchApplicationRequest.SCALED,
            features=list(request.container_features),
        )
        return pb.LaunchApplicationResponse(success=not reason, failure_reason=reason)

"""ConnectChunnel (chromeos-garcon.md §6.2)."""

from __future__ import annotations

from garcon.parts import GarconParts
from guestlink.pb import container_guest_pb2 as pb
from guestlink.rpc import Refusal

_LAST_PORT = 65535


class PortCalls:
    """The host's programs use servers of this container."""

    def __init__(self, parts: GarconParts) -> None:
        self._chunnels = parts.chunnels

    async def connect_chunnel(self, request: pb.ConnectChunnelRequest) -> pb.ConnectChunnelResponse:
        """Begin to connect a port of the host with a server."""
        if not request.chunneld_port:
            raise Refusal("INVALID_ARGUMENT", "missing chunneld port")
        if not 0 < request.target_tcp4_port <= _LAST_PORT:
            raise Refusal("INVALID_ARGUMENT", "the target is no TCP port")
        reason = self._chunnels.connect(request.chunneld_port, request.target_tcp4_port)
        return pb.ConnectChunnelResponse(success=not reason, failure_reason=reason)

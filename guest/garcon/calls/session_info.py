"""GetGarconSessionInfo (chromeos-garcon.md §6.6)."""

from __future__ import annotations

from garcon.parts import GarconParts
from guestlink.pb import container_guest_pb2 as pb


class SessionInfoCalls:
    """The host asks how to show this user's files."""

    def __init__(self, parts: GarconParts) -> None:
        self._environ = parts.environ
        self._sftp = parts.sftp

    async def get_garcon_session_info(
        self, request: pb.GetGarconSessionInfoRequest
    ) -> pb.GetGarconSessionInfoResponse:
        """Return the user's name, the home directory and the SFTP port."""
        if self._sftp.port is None:
            return pb.GetGarconSessionInfoResponse(
                status=pb.GetGarconSessionInfoResponse.FAILED, failure_reason="the SFTP stream is not served yet"
            )
        return pb.GetGarconSessionInfoResponse(
            status=pb.GetGarconSessionInfoResponse.SUCCEEDED,
            container_username=self._environ.get("USER", ""),
            container_homedir=self._environ.get("HOME", ""),
            sftp_vsock_port=self._sftp.port,
        )

"""The Garcon service: turns RPCs into calls of garcon's other parts (chromeos-garcon.md §1.3).

RPCs without a method here answer UNIMPLEMENTED.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from garcon.icon_lookup import IconLookup
from garcon.launch_plan import CannotLaunch
from garcon.launcher import Entries, Launcher
from garcon.pictures import Icon
from garcon.shells import Shells
from guestlink.logs import recent_messages
from guestlink.pb import container_guest_pb2 as pb
from guestlink.rpc import RECEIVE_LIMIT, Refusal

_log = logging.getLogger(__name__)

ICONS_LIMIT = 256
"""Icons of one request; Chrome asks for one (chromeos-garcon.md §1.4)."""
_RESPONSE_ROOM = RECEIVE_LIMIT - 64 * 1024
"""Bytes of icons in one response: the host's receive limit is gRPC's default."""


class GarconService:
    """The RPCs that the host can call.

    :param launcher: starts applications.
    :param entries: finds desktop files.
    :param icons: finds icons.
    :param shells: starts shell sessions.
    :param environ: the session's environment: USER and HOME.
    :param sftp_port: returns the port of the SFTP stream, or ``None`` while it is not known.
    """

    def __init__(
        self,
        *,
        launcher: Launcher,
        entries: Entries,
        icons: IconLookup,
        shells: Shells,
        environ: Mapping[str, str],
        sftp_port: Callable[[], int | None],
    ) -> None:
        self._launcher = launcher
        self._entries = entries
        self._icons = icons
        self._shells = shells
        self._environ = environ
        self._sftp_port = sftp_port
        self._reading_icons = asyncio.Lock()
        self._reporting = asyncio.Lock()

    async def launch_application(self, request: pb.LaunchApplicationRequest) -> pb.LaunchApplicationResponse:
        """Start an application (chromeos-garcon.md §5)."""
        if not request.desktop_file_id:
            raise Refusal("INVALID_ARGUMENT", "missing desktop_file_id")
        reason = await self._launcher.launch(
            request.desktop_file_id,
            list(request.files),
            scaled=request.display_scaling == pb.LaunchApplicationRequest.SCALED,
            features=list(request.container_features),
        )
        return pb.LaunchApplicationResponse(success=not reason, failure_reason=reason)

    async def launch_vshd(self, request: pb.LaunchVshdRequest) -> pb.LaunchVshdResponse:
        """Start a vshd session that connects to the host's vsh (chromeos-garcon.md §6.1)."""
        if not request.port:
            raise Refusal("INVALID_ARGUMENT", "missing port")
        reason = await self._shells.launch(request.port, list(request.container_features))
        return pb.LaunchVshdResponse(success=not reason, failure_reason=reason)

    async def get_icon(self, request: pb.IconRequest) -> pb.IconResponse:
        """Read icons; the response omits ids without an icon (chromeos-garcon.md §4)."""
        response = pb.IconResponse()
        room = _RESPONSE_ROOM
        for desktop_file_id in request.desktop_file_ids[:ICONS_LIMIT]:
            async with self._reading_icons:
                icon = await asyncio.to_thread(self._find_icon, desktop_file_id, request.icon_size, request.scale)
            if icon is None:
                continue
            room -= len(icon.content)
            if room < 0:
                _log.warning("the icons asked for at once are too large; the rest is left out")
                break
            response.desktop_icons.add(desktop_file_id=desktop_file_id, icon=icon.content, format=int(icon.format))
        return response

    async def get_garcon_session_info(
        self, request: pb.GetGarconSessionInfoRequest
    ) -> pb.GetGarconSessionInfoResponse:
        """Return the user's name, the home directory and the SFTP port (chromeos-garcon.md §6.6)."""
        status = pb.GetGarconSessionInfoResponse
        port = self._sftp_port()
        if port is None:
            return status(status=status.FAILED, failure_reason="the SFTP stream is not served yet")
        return status(
            status=status.SUCCEEDED,
            container_username=self._environ.get("USER", ""),
            container_homedir=self._environ.get("HOME", ""),
            sftp_vsock_port=port,
        )

    async def get_debug_information(self, request: pb.GetDebugInformationRequest) -> pb.GetDebugInformationResponse:
        """Return the diagnosis for a feedback report (chromeos-garcon.md §6.9)."""
        from garcon.diagnosis.report import debug_text

        async with self._reporting:
            text = await asyncio.to_thread(debug_text, self._environ, recent_messages())
        return pb.GetDebugInformationResponse(debug_information=text)

    def _find_icon(self, desktop_file_id: str, size: int, scale: int) -> Icon | None:
        try:
            _, entry = self._entries.find(desktop_file_id)
        except CannotLaunch:
            return None
        return self._icons.find(entry.icon, size, scale)

"""The connection to a container's garcon: opened when garcon registers, closed when garcon is gone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from guestlink.address import UnixAddress, VsockAddress
from guestlink.errors import GuestlinkError, reason
from guestlink.pb import container_guest_pb2 as pb
from guestlink.rpc import GARCON, CallFailed, RpcChannel
from guestlink.sockets import Peer, listen, same_user
from guestlink.vsock_bridge import Bridge
from guestlink_host.border.answer_pace import AnswerPace
from guestlink_host.border.packed_fields import packed_fields
from guestlink_host.border.pinned_socket import pin_socket, pinned_address, server_uid
from guestlink_host.containers.parked_connections import ParkedConnections
from guestlink_host.names import visible_line

CALL_TIMEOUT = 60.0
"""Seconds for a call to garcon (chromeos-garcon.md §7.2)."""
ICON_BATCH = 16
"""Icons requested in one call."""
_ALREADY_WATCHING = "already watching path"
"""garcon's reason for a directory that it watches, perhaps for an earlier daemon (chromeos-garcon.md §6.5)."""
_DESCRIPTION_LIMIT = 2000
"""Characters of each text about a package that are shown."""
_REASON_LIMIT = 300
"""Characters of a container's explanation that are shown."""
_ICONS_LIMIT, _RESPONSE_LIMIT = 2 * 1024 * 1024 + 256 * 1024, 256 * 1024
"""Bytes of a response with icons, which are up to 1 MiB each, and of another response. If a batch of icons is
larger, the host asks again for half of the batch."""


_DESKTOP_ICONS = pb.IconResponse.DESCRIPTOR.fields_by_name["desktop_icons"].number


class SessionInfo:
    """The answer of GetGarconSessionInfo."""

    def __init__(self, username: str = "", homedir: str = "", sftp_port: int = 0) -> None:
        self.username = username
        self.homedir = homedir
        self.sftp_port = sftp_port


class GarconLink:
    """One connection to one garcon process; a garcon that registers again gets a new one.

    gRPC's client connects to a private socket of ours, which a bridge connects with garcon.

    :param container: the container's name, for messages.
    :param way: garcon's address, or the connections that garcon parks here.
    :param private: a path for the private socket.
    :param pace: how fast the container may send.
    :ivar way: as above.
    :raises GuestlinkError: there is no socket at a Unix address.
    """

    def __init__(
        self,
        container: str,
        way: UnixAddress | VsockAddress | ParkedConnections,
        private: Path,
        pace: AnswerPace,
    ) -> None:
        self.way = way
        self._pinned: int | None = None
        self._private = private
        target: UnixAddress | VsockAddress | ParkedConnections = way
        if isinstance(way, UnixAddress):
            try:
                self._pinned = pin_socket(way.path)
            except OSError as error:
                raise GuestlinkError(
                    f"garcon of {container} has no socket {way.path}: {reason(error)}",
                    hint="GUESTLINK_GARCON_ADDRESS inside and `guestlink-host add --garcon` must name one socket",
                ) from error
            target = pinned_address(self._pinned)
        ours = UnixAddress(str(private))
        self._bridge = Bridge(listen(ours), target, same_user(), from_target=pace.connection)
        self._bridge.start()
        self._channel = RpcChannel(ours, GARCON, receive_limit=_ICONS_LIMIT)

    @property
    def peer(self) -> Peer:
        """The garcon process, as far as the kernel reports it."""
        if isinstance(self.way, ParkedConnections):
            return self.way.peer
        if isinstance(self.way, VsockAddress):
            return Peer(cid=self.way.cid)
        return Peer(uid=None if self._pinned is None else server_uid(self._pinned))

    async def close(self) -> None:
        """Close the connection and cancel its calls."""
        await self._channel.close()
        if self._pinned is not None:
            os.close(self._pinned)
            self._pinned = None
        await self._bridge.close()
        with contextlib.suppress(FileNotFoundError):
            self._private.unlink()

    async def lost(self) -> str:
        """Wait until the connection of an earlier call is lost; return a sentence that reports it."""
        return await self._channel.lost()

    async def call(
        self,
        method: str,
        request: Any,
        *,
        limit: int = _RESPONSE_LIMIT,
        decode: Callable[[bytes], Any] | None = None,
    ) -> Any:
        """Call an RPC of garcon.

        :param limit: bytes of the response.
        :param decode: as for :meth:`RpcChannel.call <guestlink.rpc.RpcChannel.call>`.
        :raises CallFailed: the status is not OK.
        """
        try:
            return await self._channel.call(method, request, timeout=CALL_TIMEOUT, limit=limit, decode=decode)
        except CallFailed as error:
            # The message comes from the container, and terminals will show it.
            raise CallFailed(error.code, visible_line(error.message, _REASON_LIMIT)) from error

    async def session_info(self) -> SessionInfo:
        """Call GetGarconSessionInfo.

        :raises CallFailed: garcon does not answer.
        """
        info = await self.call("GetGarconSessionInfo", pb.GetGarconSessionInfoRequest())
        if info.status != pb.GetGarconSessionInfoResponse.SUCCEEDED:
            return SessionInfo()
        username, homedir = (visible_line(text, 1024) for text in (info.container_username, info.container_homedir))
        return SessionInfo(username, homedir, info.sftp_vsock_port)

    async def launch(self, desktop_file_id: str, files: Sequence[str]) -> str:
        """Start an application.

        :returns: garcon's reason if the application did not start, else ``""``.
        :raises CallFailed: garcon does not answer.
        """
        response = await self.call(
            "LaunchApplication", pb.LaunchApplicationRequest(desktop_file_id=desktop_file_id, files=files)
        )
        return "" if response.success else _reason(response.failure_reason)

    async def launch_vshd(self, port: int, features: Sequence[int] = ()) -> str:
        """Let garcon start a vshd that connects to a port of ours; returns a reason as :meth:`launch` does."""
        response = await self.call("LaunchVshd", pb.LaunchVshdRequest(port=port, container_features=features))
        return "" if response.success else _reason(response.failure_reason)

    async def add_file_watch(self, path: str) -> str:
        """Let garcon report changes of a directory; returns a reason as :meth:`launch` does."""
        response = await self.call("AddFileWatch", pb.AddFileWatchRequest(path=path))
        if response.status == pb.AddFileWatchResponse.SUCCEEDED or response.failure_reason == _ALREADY_WATCHING:
            return ""
        return _reason(response.failure_reason)

    async def remove_file_watch(self, path: str) -> str:
        """Let garcon report them no more; returns a reason as :meth:`launch` does."""
        response = await self.call("RemoveFileWatch", pb.RemoveFileWatchRequest(path=path))
        succeeded = response.status == pb.RemoveFileWatchResponse.SUCCEEDED
        return "" if succeeded else _reason(response.failure_reason)

    async def package_info(self, file: str, package: str) -> tuple[str, dict[str, Any]]:
        """Describe a package file, or a package by its name.

        :returns: a reason as :meth:`launch` does, and the response's texts and size by the name of the field.
        """
        request = pb.LinuxPackageInfoRequest(file_path=file, package_name=package)
        response = await self.call("GetLinuxPackageInfo", request)
        texts = ("package_id", "license", "description", "project_url", "summary")
        described = {name: visible_line(getattr(response, name), _DESCRIPTION_LIMIT) for name in texts}
        return "" if response.success else _reason(response.failure_reason), described | {"size": response.size}

    async def install_package(self, file: str, package_id: str, command_uuid: str) -> str:
        """Begin to install a package file or a package; returns a reason as :meth:`launch` does."""
        request = pb.InstallLinuxPackageRequest(file_path=file, package_id=package_id, command_uuid=command_uuid)
        response = await self.call("InstallLinuxPackage", request)
        started = response.status == pb.InstallLinuxPackageResponse.STARTED
        return "" if started else _reason(response.failure_reason)

    async def uninstall_package(self, desktop_file_id: str) -> str:
        """Begin to remove an application's package; returns a reason as :meth:`launch` does."""
        request = pb.UninstallPackageOwningFileRequest(desktop_file_id=desktop_file_id)
        response = await self.call("UninstallPackageOwningFile", request)
        started = response.status == pb.UninstallPackageOwningFileResponse.STARTED
        return "" if started else _reason(response.failure_reason)

    async def icons(self, ids: Sequence[str], size: int, scale: int) -> dict[str, tuple[bool, bytes]]:
        """Fetch icons, at most :data:`ICON_BATCH`.

        :returns: by id, whether the icon is an SVG, and its bytes; ids without an icon are missing.
        :raises CallFailed: garcon does not answer.
        """
        request = pb.IconRequest(desktop_file_ids=ids, icon_size=size, scale=scale)
        try:
            icons = await self.call("GetIcon", request, limit=_ICONS_LIMIT, decode=read_icons)
        except CallFailed as error:
            if error.code != "RESOURCE_EXHAUSTED":
                raise
            if len(ids) == 1:
                return {}
            half = len(ids) // 2
            return await self.icons(ids[:half], size, scale) | await self.icons(ids[half:], size, scale)
        kinds = {pb.DesktopIcon.PNG: False, pb.DesktopIcon.SVG: True}
        return {
            icon.desktop_file_id: (kinds[icon.format], icon.icon)
            for icon in icons
            if icon.format in kinds and icon.desktop_file_id in ids
        }


def read_icons(content: bytes) -> list[pb.DesktopIcon]:
    """The icons of a GetIcon response.

    :raises ValueError: it is none, or has more icons than the host ever requests.
    """
    packed = []
    for number, field in packed_fields(content):
        if number == _DESKTOP_ICONS:
            packed.append(field)
            if len(packed) > ICON_BATCH:
                raise ValueError("there are too many icons")
    return [pb.DesktopIcon.FromString(field) for field in packed]


def _reason(text: str) -> str:
    return visible_line(text, _REASON_LIMIT) or "no reason given"

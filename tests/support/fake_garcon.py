"""A fake garcon: a real gRPC server and client whose messages the test decides."""

from __future__ import annotations

import functools
import secrets
import shutil
import struct
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from garcon.host.garcon_server import GarconServer
from garcon.host.parking import Parking
from guestlink.address import UnixAddress
from guestlink.pb import container_guest_pb2, container_host_pb2, service_methods
from guestlink.rpc import CONTAINER_LISTENER, LINUX_HOST, RpcChannel
from guestlink.sockets import connect_soon


def png(width: int = 48, height: int | None = None, *, extra: bytes = b"") -> bytes:
    """A valid PNG.

    :param extra: whole chunks to insert before the picture's data.
    """
    height = width if height is None else height
    rows = zlib.compress(b"".join(b"\0" + b"\x40\x80\xc0\xff" * width for _ in range(height)))
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9"><path d="M0 0h9"/></svg>'


def application(name: str, **fields: Any) -> container_host_pb2.Application:
    """An ``Application`` message whose name is its id."""
    kind = container_host_pb2.Application
    localised = kind.LocalizedString.StringWithLocale
    names = fields.pop("names", {"": name})
    comments = fields.pop("comments", {})
    keywords = fields.pop("keywords", {})
    return kind(
        desktop_file_id=name,
        name=kind.LocalizedString(values=[localised(locale=k, value=v) for k, v in names.items()]),
        comment=kind.LocalizedString(values=[localised(locale=k, value=v) for k, v in comments.items()]),
        keywords=kind.LocaleStrings(
            values=[kind.LocaleStrings.StringsWithLocale(locale=k, value=v) for k, v in keywords.items()]
        ),
        **fields,
    )


class FakeGarcon:
    """A fake garcon for a directory that guestlink-host has made for a container.

    It parks connections there as garcon does; its own gRPC server has a socket elsewhere.

    :param directory: the directory that the container mounts.
    :ivar icons: the GetIcon answers by id: whether the icon is an SVG, and its bytes.
    :ivar failure: the failure reason that LaunchApplication returns; ``""`` is success.
    :ivar sftp_port: the port that the fake announces for SFTP.
    :ivar calls: every request received, with the RPC's name in snake case.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.icons: Mapping[str, tuple[bool, bytes]] = {}
        self.failure = ""
        self.sftp_port = 0
        self.calls: list[tuple[str, Any]] = []
        self._server: GarconServer | None = None
        self._parking: Parking | None = None
        self._private = Path(tempfile.gettempdir(), f"glg-{secrets.token_hex(4)}")
        self._channel: RpcChannel | None = None

    @property
    def token(self) -> str:
        """The current content of the token file."""
        return (self.directory / "token").read_text()

    async def serve(self) -> None:
        """Serve the Garcon service on parked connections."""
        self._private.mkdir(mode=0o700, exist_ok=True)
        self._server = GarconServer([self], self._private)
        await self._server.start(None)
        dial = functools.partial(connect_soon, UnixAddress(str(self.directory / "calls.sock")))
        self._parking = Parking("calls", dial, self._server.serve)
        await self._parking.park()

    @property
    def server_socket(self) -> UnixAddress:
        """The socket of the fake's own gRPC server, which no host knows."""
        return UnixAddress(f"{self._private}/garcon-bridge.sock")

    async def vanish(self) -> None:
        """Stop serving without ContainerShutdown, like a killed garcon."""
        if self._parking is not None:
            await self._parking.close()
            self._parking = None
        if self._server is not None:
            await self._server.close()
            self._server = None

    async def call(self, method: str, **fields: Any) -> Any:
        """Call an RPC of the host; adds the right token if the test passes none."""
        if self._channel is None:
            address = UnixAddress(str(self.directory / "listener.sock"))
            self._channel = RpcChannel(address, CONTAINER_LISTENER, LINUX_HOST)
        request, _ = (service_methods(CONTAINER_LISTENER) | service_methods(LINUX_HOST))[method]
        return await self._channel.call(method, request(**{"token": self.token} | fields), timeout=240)

    async def register(self, port: int = 1) -> None:
        """Serve, then send ContainerReady."""
        if self._server is None:
            await self.serve()
        await self.call("ContainerReady", garcon_port=port, sftp_port=self.sftp_port)

    async def publish(self, *applications: container_host_pb2.Application) -> None:
        """Send a complete list."""
        await self.call("UpdateApplicationList", application=applications)

    async def close(self) -> None:
        """Close the server and the client."""
        await self.vanish()
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
        shutil.rmtree(self._private, ignore_errors=True)

    # -- the Garcon service --------------------------------------------------------------------------------------

    async def get_garcon_session_info(self, request: Any) -> Any:
        self.calls.append(("get_garcon_session_info", request))
        response = container_guest_pb2.GetGarconSessionInfoResponse
        return response(
            status=response.SUCCEEDED,
            container_username="user",
            container_homedir="/home/user",
            sftp_vsock_port=self.sftp_port,
        )

    async def launch_application(self, request: Any) -> Any:
        self.calls.append(("launch_application", request))
        return container_guest_pb2.LaunchApplicationResponse(success=not self.failure, failure_reason=self.failure)

    async def launch_vshd(self, request: Any) -> Any:
        self.calls.append(("launch_vshd", request))
        return container_guest_pb2.LaunchVshdResponse(success=not self.failure, failure_reason=self.failure)

    async def get_icon(self, request: Any) -> Any:
        self.calls.append(("get_icon", request))
        kind = container_guest_pb2.DesktopIcon
        return container_guest_pb2.IconResponse(
            desktop_icons=[
                kind(
                    desktop_file_id=name,
                    icon=self.icons[name][1],
                    format=kind.SVG if self.icons[name][0] else kind.PNG,
                )
                for name in request.desktop_file_ids
                if name in self.icons
            ]
        )

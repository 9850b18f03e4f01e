"""Connects to ContainerListener and LinuxHost on the host, at any kind of address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from garcon.host.listener_client import HostChannel
from garcon.host.proven_connection import ProvenConnections
from guestlink.address import Address, UnixAddress, VsockAddress
from guestlink.handshake import Purpose, call_token
from guestlink.rpc import CONTAINER_LISTENER, LINUX_HOST, CallFailed, RpcChannel
from guestlink.sockets import connect_soon, listen, same_user
from guestlink.vsock_bridge import Bridge

_NOT_CHROMEOS = (
    "the host does not speak as ChromeOS does; if it is guestlink-host, set host_kind = linux in guestlink.conf"
)


class HostDialer:
    """Opens channels to the host. gRPC reaches a host over vsock, and one to which it must prove something first,
    through a bridge on a private Unix socket.

    :param address: where ContainerListener is.
    :param runtime: our private directory.
    :param proven: makes the connections that begin with a handshake; ``None`` for a host without one.
    """

    def __init__(self, address: Address, runtime: Path, proven: ProvenConnections | None = None) -> None:
        self._address = address
        self._proven = proven
        self._bridge_path = str(runtime / "host-bridge.sock")
        self._bridge: Bridge | None = None

    async def probe(self) -> None:
        """Connect and close: cheaper than a channel while the host is down.

        :raises GuestlinkError: the address has no listener, or the listener does not know the token.
        """
        connection = await (connect_soon(self._address) if self._proven is None else self._proven.connect())
        connection.close()

    async def dial(self) -> HostChannel:
        """Open a channel, which connects with its first call."""
        if self._proven is None and not isinstance(self._address, VsockAddress):
            return RpcChannel(self._address, CONTAINER_LISTENER, LINUX_HOST)
        private = UnixAddress(self._bridge_path)
        if self._bridge is None:
            self._bridge = Bridge(listen(private), self._proven or self._address, same_user())
            self._bridge.start()
        channel = RpcChannel(private, CONTAINER_LISTENER, LINUX_HOST)
        return _VsockChannel(channel) if self._proven is None else _TokenlessChannel(channel)

    async def close(self) -> None:
        """Close the bridge."""
        if self._bridge is not None:
            await self._bridge.close()
            Path(self._bridge_path).unlink(missing_ok=True)


class _WrappedChannel:
    """A channel of which a subclass changes the calls."""

    def __init__(self, channel: RpcChannel) -> None:
        self._channel = channel

    async def lost(self) -> str:
        """See :class:`~garcon.host.listener_client.HostChannel`."""
        return await self._channel.lost()

    async def close(self) -> None:
        """See :class:`~garcon.host.listener_client.HostChannel`."""
        await self._channel.close()


class _VsockChannel(_WrappedChannel):
    """A channel to a host that is taken for ChromeOS."""

    async def call(self, method: str, request: Any, *, timeout: float | None) -> Any:
        """See :class:`~garcon.host.listener_client.HostChannel`."""
        try:
            return await self._channel.call(method, request, timeout=timeout)
        except CallFailed as error:
            if "HTTP/2" in error.message:  # gRPC got something else, such as guestlink-host's challenge.
                raise CallFailed(error.code, _NOT_CHROMEOS) from error
            raise


class _TokenlessChannel(_WrappedChannel):
    """A channel whose calls do not carry the token, but a text that is worthless without a handshake."""

    async def call(self, method: str, request: Any, *, timeout: float | None) -> Any:
        """See :class:`~garcon.host.listener_client.HostChannel`."""
        request.token = call_token(request.token)
        return await self._channel.call(method, request, timeout=timeout)


def host_dialer(address: Address, token_file: str, runtime: Path, *, handshake: bool) -> HostDialer:
    """Make the dialer for a host.

    :param token_file: the container's token.
    :param handshake: whether connections to this host begin with a handshake.
    """
    proven = ProvenConnections(address, token_file, Purpose.LISTENER) if handshake else None
    return HostDialer(address, runtime, proven)

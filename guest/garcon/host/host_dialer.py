"""Connects to ContainerListener and LinuxHost on the host, at any kind of address."""

from __future__ import annotations

from pathlib import Path

from guestlink.address import Address, UnixAddress, VsockAddress
from guestlink.rpc import CONTAINER_LISTENER, LINUX_HOST, RpcChannel
from guestlink.sockets import connect_soon, listen, same_user
from guestlink.vsock_bridge import Bridge


class HostDialer:
    """Opens channels to the host. A vsock host is reached through a bridge on a private Unix socket.

    :param address: where ContainerListener is.
    :param runtime: our private directory.
    """

    def __init__(self, address: Address, runtime: Path) -> None:
        self._address = address
        self._bridge_path = str(runtime / "host-bridge.sock")
        self._bridge: Bridge | None = None

    async def probe(self) -> None:
        """Connect and close: cheaper than a channel while the host is down.

        :raises ConnectFailed: the address has no listener.
        """
        (await connect_soon(self._address)).close()

    async def dial(self) -> RpcChannel:
        """Open a channel, which connects with its first call."""
        if isinstance(self._address, VsockAddress):
            private = UnixAddress(self._bridge_path)
            if self._bridge is None:
                self._bridge = Bridge(listen(private), self._address, same_user())
                self._bridge.start()
            return RpcChannel(private, CONTAINER_LISTENER, LINUX_HOST)
        return RpcChannel(self._address, CONTAINER_LISTENER, LINUX_HOST)

    async def close(self) -> None:
        """Close the bridge."""
        if self._bridge is not None:
            await self._bridge.close()
            Path(self._bridge_path).unlink(missing_ok=True)

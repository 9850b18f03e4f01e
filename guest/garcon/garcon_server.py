"""Where the host reaches this container: the Garcon service on any kind of address."""

from __future__ import annotations

from pathlib import Path

from garcon.settings import GARCON_FIRST_PORT, GARCON_LAST_PORT
from guestlink.address import CID_HOST, Address, UnixAddress, VsockAddress
from guestlink.rpc import GARCON, Server
from guestlink.sockets import PeerPolicy, listen
from guestlink.vsock_bridge import Bridge, listen_on_first_free


class GarconServer:
    """Serves a :class:`garcon.service.GarconService`.

    :param service: the implementation.
    :param runtime: our private directory, for the socket behind a vsock bridge.
    """

    def __init__(self, service: object, runtime: Path) -> None:
        self._server = Server(GARCON, service)
        self._private = UnixAddress(str(runtime / "garcon-bridge.sock"))
        self._bridge: Bridge | None = None

    async def start(self, address: Address) -> int:
        """Begin to serve.

        :param address: a vsock address with garcon's first port takes the first free one of its range.
        :returns: the port for ContainerStartupInfo; 1 for a Unix socket, which has none.
        :raises GuestlinkError: the address cannot be served.
        """
        if not isinstance(address, VsockAddress):
            port = self._server.bind(address)
        else:
            self._server.bind(self._private)
            if address.port == GARCON_FIRST_PORT:
                listener, port = listen_on_first_free(address.cid, GARCON_FIRST_PORT, GARCON_LAST_PORT)
            else:
                listener, port = listen(address), address.port
            self._bridge = Bridge(listener, self._private, PeerPolicy(cids=frozenset({CID_HOST})))
            self._bridge.start()
        await self._server.start()
        return port

    async def close(self) -> None:
        """Stop serving."""
        if self._bridge is not None:
            await self._bridge.close()
        await self._server.stop()

"""Serves the Garcon service, which the host calls, on any kind of address."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from garcon.settings import GARCON_FIRST_PORT, GARCON_LAST_PORT, socket_mode
from guestlink.address import CID_HOST, Address, UnixAddress, VsockAddress
from guestlink.rpc import GARCON, RpcServer
from guestlink.sockets import PeerPolicy, SocketFile, listen
from guestlink.vsock_bridge import Bridge, listen_on_first_free


class GarconServer:
    """Serves the families of RPCs in :mod:`garcon.calls`.

    :param implementations: each implements some of the RPCs.
    :param runtime: our private directory, for the socket behind a vsock bridge.
    """

    def __init__(self, implementations: Sequence[object], runtime: Path) -> None:
        self._implementations = implementations
        self._private = UnixAddress(str(runtime / "garcon-bridge.sock"))
        self._server: RpcServer | None = None
        self._file: SocketFile | None = None
        self._bridge: Bridge | None = None
        self._port = 0

    async def start(self, address: Address, cid: int = CID_HOST) -> int:
        """Begin to serve; serve again if the host mounted the socket's directory anew, without our socket.

        :param address: for a vsock address with garcon's first port, the first free port of the range is bound.
        :param cid: the host's cid; no other peer may connect over vsock.
        :returns: the port for ContainerStartupInfo; 1 for a Unix socket, which has none.
        :raises GuestlinkError: the address cannot be served.
        """
        if self._server is not None:
            if self._file is None or self._file.is_there():
                return self._port
            await self.close()
        try:
            self._port = await self._begin(address, cid)
        except BaseException:
            await self.close()  # The next call must try again.
            raise
        return self._port

    async def _begin(self, address: Address, cid: int) -> int:
        server = self._server = RpcServer(GARCON, *self._implementations)
        if isinstance(address, VsockAddress):
            server.bind(self._private)
            if address.port == GARCON_FIRST_PORT:
                listener, port = listen_on_first_free(address.cid, GARCON_FIRST_PORT, GARCON_LAST_PORT)
            else:
                listener, port = listen(address), address.port
            self._bridge = Bridge(listener, self._private, PeerPolicy(cids=frozenset({cid})))
            self._bridge.start()
        elif isinstance(address, UnixAddress):
            port = server.bind(address, mode=socket_mode(address))
            self._file = SocketFile(address.path)
        else:
            port = server.bind(address)
        await server.start()
        return port

    async def close(self) -> None:
        """Stop serving."""
        bridge, server = self._bridge, self._server
        self._bridge = self._server = self._file = None
        if bridge is not None:
            await bridge.close()
        if server is not None:
            await server.stop()

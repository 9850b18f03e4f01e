"""Serves the Garcon service, which the host calls: on an address, or on connections that garcon has parked."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path

from garcon.settings import GARCON_FIRST_PORT, GARCON_LAST_PORT
from guestlink.address import CID_HOST, Address, UnixAddress, VsockAddress
from guestlink.errors import GuestlinkError
from guestlink.relay import relay
from guestlink.rpc import GARCON, RpcServer
from guestlink.sockets import PeerPolicy, connect_soon, listen
from guestlink.vsock_bridge import Bridge, listen_on_first_free


class GarconServer:
    """Serves the families of RPCs in :mod:`garcon.calls`.

    :param implementations: each implements some of the RPCs.
    :param runtime: our private directory, for the socket behind a vsock bridge and behind parked connections.
    """

    def __init__(self, implementations: Sequence[object], runtime: Path) -> None:
        self._implementations = implementations
        self._private = UnixAddress(str(runtime / "garcon-bridge.sock"))
        self._server: RpcServer | None = None
        self._bridge: Bridge | None = None
        self._port = 0

    async def start(self, address: Address | None, cid: int = CID_HOST) -> int:
        """Begin to serve; a server that serves already goes on.

        :param address: for a vsock address with garcon's first port, the first free port of the range is bound;
            ``None`` serves only the connections that :meth:`serve` gets.
        :param cid: the host's cid; no other peer may connect over vsock.
        :returns: the port for ContainerStartupInfo; 1 for a Unix socket and parked connections, which have none.
        :raises GuestlinkError: the address cannot be served.
        """
        if self._server is None:
            try:
                self._port = await self._begin(address, cid)
            except BaseException:
                await self.close()  # The next call must try again.
                raise
        return self._port

    async def _begin(self, address: Address | None, cid: int) -> int:
        server = self._server = RpcServer(GARCON, *self._implementations)
        if address is None:
            port = server.bind(self._private)
        elif isinstance(address, VsockAddress):
            server.bind(self._private)
            if address.port == GARCON_FIRST_PORT:
                listener, port = listen_on_first_free(address.cid, GARCON_FIRST_PORT, GARCON_LAST_PORT)
            else:
                listener, port = listen(address), address.port
            self._bridge = Bridge(listener, self._private, PeerPolicy(cids=frozenset({cid})))
            self._bridge.start()
        else:
            port = server.bind(address)
        await server.start()
        return port

    async def serve(self, connection: socket.socket) -> None:
        """Serve a connection that the host has accepted, until it ends.

        :param connection: non-blocking; it is closed.
        """
        with connection, contextlib.suppress(GuestlinkError), await connect_soon(self._private) as server:
            await relay(connection, server)

    async def close(self) -> None:
        """Stop serving."""
        bridge, server = self._bridge, self._server
        self._bridge = self._server = None
        if bridge is not None:
            await bridge.close()
        if server is not None:
            await server.stop()

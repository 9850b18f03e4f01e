"""How the host reaches garcon's two services, gRPC and SFTP: at an address, or on connections that garcon parks."""

from __future__ import annotations

import functools
import os
import socket
from typing import Protocol

from garcon.host.garcon_server import GarconServer
from garcon.host.listener_client import HostTooOld
from garcon.host.parking import Dial, Parking
from garcon.host.proven_connection import ProvenConnections
from garcon.host.sftp import SftpStream, sftp_address
from garcon.services.port_channel_server import PortChannelServer
from garcon.settings import parking_address
from guestlink.address import CID_HOST, Address, UnixAddress, VsockAddress
from guestlink.handshake import Purpose
from guestlink.socket_directory import CALLS, PORTS, SFTP
from guestlink.sockets import ConnectFailed, connect_soon


class HostCalls(Protocol):
    """Lets the host call garcon."""

    async def serve(self) -> tuple[int, int]:
        """Begin to serve, or complete what is missing; called before each registration.

        :returns: garcon's and SFTP's port for ContainerStartupInfo.
        :raises GuestlinkError: the host cannot call us.
        """

    async def close(self) -> None:
        """Stop."""


class CallsAtAddress:
    """garcon listens, and the host connects: ChromeOS, and hosts for which an address is configured.

    :param address: where the Garcon service is served.
    :param host: the host's address; over vsock only this host may connect.
    """

    def __init__(self, server: GarconServer, sftp: SftpStream, address: Address, host: Address) -> None:
        self._server = server
        self._sftp = sftp
        self._address = address
        self._cid = host.cid if isinstance(host, VsockAddress) else CID_HOST

    async def serve(self) -> tuple[int, int]:
        """See :class:`HostCalls`."""
        port = await self._server.start(self._address, self._cid)
        return port, self._sftp.start(sftp_address(self._address), self._cid)

    async def close(self) -> None:
        """See :class:`HostCalls`; the server and the stream are closed by their owner."""


class ParkedCalls:
    """The host listens, and garcon parks connections there.

    :param dial_calls: connects to the host for calls.
    :param dial_sftp: connects to the host for SFTP.
    :param ports: the socket where connections for ports are parked; older hosts have none, and hosts of other
        machines cannot get descriptors.
    """

    def __init__(
        self,
        server: GarconServer,
        sftp: SftpStream,
        dial_calls: Dial,
        dial_sftp: Dial,
        ports: UnixAddress | None = None,
    ) -> None:
        self._server = server
        self._sftp = sftp
        self._ports = ports
        self._port_parking: Parking | None = None
        if ports is not None:
            self._port_parking = Parking("ports", functools.partial(_dial, ports), PortChannelServer().serve)
        self._parkings = (
            Parking("calls", dial_calls, server.serve),
            Parking("SFTP", dial_sftp, sftp.serve),
        )

    async def serve(self) -> tuple[int, int]:
        """See :class:`HostCalls`."""
        ports = (await self._server.start(None), self._sftp.start(None))
        for parking in self._parkings:
            await parking.park()
        if self._port_parking is not None and self._ports is not None and os.path.lexists(self._ports.path):
            await self._port_parking.park()
        return ports

    async def close(self) -> None:
        """See :class:`HostCalls`."""
        for parking in (*self._parkings, self._port_parking):
            if parking is not None:
                await parking.close()


def calls_parked_at(server: GarconServer, sftp: SftpStream, host: UnixAddress) -> ParkedCalls:
    """Park connections at a host of this machine.

    :param host: the socket of the host's ContainerListener; those for parked connections are beside it.
    """
    calls, files, ports = (parking_address(host, name) for name in (CALLS, SFTP, PORTS))
    return ParkedCalls(server, sftp, functools.partial(_dial, calls), functools.partial(_dial, files), ports)


def calls_parked_with_proof(server: GarconServer, sftp: SftpStream, host: Address, token_file: str) -> ParkedCalls:
    """Park connections at a host over TCP or vsock, where both sides prove that they know the token.

    :param host: where the host's ContainerListener is; the same address takes parked connections.
    :param token_file: the container's token.
    """
    calls, files = (ProvenConnections(host, token_file, one) for one in (Purpose.CALLS, Purpose.SFTP))
    return ParkedCalls(server, sftp, calls.connect, files.connect)


async def _dial(address: UnixAddress) -> socket.socket:
    try:
        return await connect_soon(address)
    except ConnectFailed:
        if os.path.lexists(address.path):
            raise
        raise HostTooOld(f"it has no socket {address.path}", hint="upgrade guestlink-host on the host") from None

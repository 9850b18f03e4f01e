"""Connections to a Linux host over TCP or vsock, on which both sides have proved that they know the token."""

from __future__ import annotations

import socket

from guestlink.address import Address
from guestlink.authentication import authenticate_soon, set_tcp_options
from guestlink.errors import GuestlinkError, reason
from guestlink.handshake import DialerHandshake, HandshakeFailed, Purpose
from guestlink.sockets import connect_soon
from guestlink.token import read_token


class ProvenConnections:
    """Connects to a host's address for one purpose.

    :param address: where the host listens.
    :param token_file: the container's token, which is read for each connection: the host may have changed it.
    :param purpose: what the host does with the connections.
    """

    def __init__(self, address: Address, token_file: str, purpose: Purpose) -> None:
        self._address = address
        self._token_file = token_file
        self._purpose = purpose

    def __str__(self) -> str:
        return str(self._address)

    async def connect(self) -> socket.socket:
        """Connect, and perform the handshake.

        :returns: a connected, non-blocking socket.
        :raises GuestlinkError: nobody listens there, there is no token, or the other side does not know it.
        """
        token = read_token(self._token_file)
        connection = await connect_soon(self._address)
        try:
            await authenticate_soon(connection, DialerHandshake(token, self._purpose))
            set_tcp_options(connection)
        except HandshakeFailed as error:
            connection.close()
            raise GuestlinkError(f"{self._address}: {error.message}", hint=error.hint) from error
        except OSError as error:
            connection.close()
            raise GuestlinkError(f"{self._address} closed the connection: {reason(error)}") from error
        except BaseException:
            connection.close()
            raise
        return connection

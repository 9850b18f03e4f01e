"""ConnectChunnel: connections from the host's programs to servers in the container (chromeos-garcon.md §6.2)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from guestlink.address import Address
from guestlink.authentication import authenticate_soon
from guestlink.errors import GuestlinkError, reason
from guestlink.handshake import DialerHandshake, Purpose
from guestlink.relay import relay
from guestlink.sockets import connect_soon
from guestlink.tasks import TaskOwner
from guestlink.token import read_token

_log = logging.getLogger(__name__)

CHUNNELS = 1024
"""Connections at a time."""
LOOPBACK = ("127.0.0.1", "::1")
"""The addresses of "localhost", in the order in which they are tried."""
CONNECT_TIME = 5.0
"""Seconds for each connection; the host waits ten for ours (chromeos-vsh.md §5.3)."""


async def connect_localhost(port: int) -> socket.socket:
    """Connect to a TCP server of this container, on IPv4 or on IPv6.

    :returns: a connected, non-blocking socket.
    :raises OSError: nobody listens there, or nobody answers.
    """
    loop = asyncio.get_running_loop()
    failure = OSError()
    for host in LOOPBACK:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:  # A kernel without IPv6.
            failure = error
            continue
        try:
            async with asyncio.timeout(CONNECT_TIME):
                await loop.sock_connect(sock, (host, port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


class Chunnels:
    """The connections that the host has requested.

    :param address: turns the port of a request into the address where the host listens.
    :param token_file: the container's token.
    :param handshake: returns whether a connection to this address begins with a proof of the token.
    """

    def __init__(
        self, address: Callable[[int], Address], token_file: str, handshake: Callable[[Address], bool]
    ) -> None:
        self._address = address
        self._token_file = token_file
        self._handshake = handshake
        self._tasks = TaskOwner("chunnels")

    def __len__(self) -> int:
        """How many there are."""
        return len(self._tasks)

    async def close(self) -> None:
        """End every connection."""
        await self._tasks.close()

    def connect(self, chunneld_port: int, target_port: int) -> str:
        """Begin to connect a port of the host with a TCP server of this container.

        :returns: why it cannot begin, else ``""``.
        """
        if len(self) >= CHUNNELS:
            return f"there are {CHUNNELS} connections already"
        try:
            address = self._address(chunneld_port)
        except GuestlinkError as error:
            return error.message
        self._tasks.start(self._carry(address, target_port), name=f"port {target_port}")
        return ""

    async def _carry(self, address: Address, target_port: int) -> None:
        try:
            server: socket.socket | None = await connect_localhost(target_port)
        except OSError as error:
            # The host's program learns of it at once only if the host's connection is made, and ends.
            _log.debug("nobody serves port %d: %s", target_port, reason(error))
            server = None
        try:
            with await self._reach(address) as host:
                if server is not None:
                    await relay(host, server)
        except GuestlinkError as error:
            _log.warning("the host cannot use port %d: %s", target_port, error)
        finally:
            if server is not None:
                server.close()

    async def _reach(self, address: Address) -> socket.socket:
        connection = await connect_soon(address, CONNECT_TIME)
        try:
            if self._handshake(address):
                proof = DialerHandshake(read_token(self._token_file), Purpose.CHUNNEL)
                await authenticate_soon(connection, proof)
        except BaseException:
            connection.close()
            raise
        return connection

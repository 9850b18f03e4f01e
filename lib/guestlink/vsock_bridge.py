"""Relays byte streams between AF_VSOCK and Unix sockets, because no released grpcio can use vsock.

gRPC serves and dials a private Unix socket. A bridge copies bytes between this socket and the address that the
other side uses, and checks the peer, because gRPC sees only the Unix peer (chromeos-garcon.md §2.4,
packaging.md §5.4). A bridge works between any two addresses; tests use this where there is no vsock peer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket

from guestlink.address import Address, VsockAddress
from guestlink.errors import GuestlinkError, reason
from guestlink.sockets import AddressInUse, PeerPolicy, connect_soon, listen, peer_of
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

CHUNK = 64 * 1024
"""Bytes copied at a time; also what a connection buffers in each direction."""
CONNECTION_LIMIT = 128
"""Connections at a time; a host opens one or two."""
_ACCEPT_PAUSE = 0.2
"""Seconds to wait after a failed accept."""


class Bridge:
    """Accepts connections and relays each to a target.

    Each direction has a buffer of :data:`CHUNK` bytes and is read again only when the other side has taken it. The
    directions end separately: after an end of file the other side gets all data, then an end of file. A connection
    whose target cannot be reached is closed.

    :param listener: a listening, non-blocking socket; the bridge closes it.
    :param target: the address that each accepted connection is relayed to.
    :param policy: who may connect.
    """

    def __init__(self, listener: socket.socket, target: Address, policy: PeerPolicy) -> None:
        self._listener = listener
        self._target = target
        self._policy = policy
        self._tasks = TaskOwner(f"bridge to {target}")
        self._connections: set[socket.socket] = set()
        self._said = ""

    def start(self) -> None:
        """Begin to accept."""
        self._tasks.start(self._accept(), name="accept")

    async def close(self) -> None:
        """Stop accepting and close every connection."""
        await self._tasks.close()
        while self._connections:  # Connections of tasks that were cancelled before they ran.
            self._connections.pop().close()
        self._listener.close()

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                # Mostly too many open descriptors; connections that close free some.
                self._warn(f"cannot accept connections to {self._target}: {reason(error)}")
                await asyncio.sleep(_ACCEPT_PAUSE)
                continue
            connection.setblocking(False)
            if refusal := self._refusal(connection):
                self._warn(f"refused a connection to {self._target}: {refusal}")
                connection.close()
                continue
            self._connections.add(connection)
            self._tasks.start(self._carry(connection), name="carry a connection")

    def _refusal(self, connection: socket.socket) -> str | None:
        if len(self._connections) >= CONNECTION_LIMIT:
            return f"there are {CONNECTION_LIMIT} already"
        try:
            return self._policy.refusal(peer_of(connection))
        except OSError:
            return "it went away"

    async def _carry(self, connection: socket.socket) -> None:
        try:
            with await connect_soon(self._target) as target:
                self._said = ""
                await asyncio.gather(_copy(connection, target), _copy(target, connection))
        except GuestlinkError as error:
            self._warn(str(error))
        finally:
            self._connections.discard(connection)
            connection.close()

    def _warn(self, text: str) -> None:
        # A refused peer may retry a thousand times a second; the log gets each text once in a row.
        if text != self._said:
            self._said = text
            _log.warning("%s", text)


async def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Relay one direction until the source ends or the sink fails.

    In both cases shut down the sink for writing and the source for reading; the other direction continues until it
    ends in the same way.
    """
    loop = asyncio.get_running_loop()
    buffer = memoryview(bytearray(CHUNK))
    with contextlib.suppress(OSError):
        while count := await loop.sock_recv_into(source, buffer):
            await loop.sock_sendall(sink, buffer[:count])
    for sock, direction in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with contextlib.suppress(OSError):
            sock.shutdown(direction)


def listen_on_first_free(cid: int, first: int, last: int) -> tuple[socket.socket, int]:
    """Listen on the first free vsock port of a range (chromeos-garcon.md §2.4).

    :returns: the socket and the port.
    :raises AddressInUse: none of the ports is free.
    """
    for port in range(first, last + 1):
        try:
            return listen(VsockAddress(cid, port)), port
        except AddressInUse:
            continue
    raise AddressInUse(
        f"no vsock port from {first} to {last} is free", hint="other containers of this machine have taken them"
    )

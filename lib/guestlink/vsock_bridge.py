"""Carries byte streams between AF_VSOCK and Unix sockets, because no released grpcio can use vsock.

gRPC serves and dials a private Unix socket; a bridge copies bytes between it and the address that the other side
uses, and checks who that is: gRPC sees only the Unix peer (garcon.md §2.4, packaging.md §5.4). Works for any two
addresses, which is how it is tested where there is no vsock peer.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket

from guestlink.address import Address, VsockAddress
from guestlink.errors import GuestlinkError
from guestlink.sockets import AddressInUse, PeerPolicy, connect_soon, listen, peer_of
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

CHUNK = 64 * 1024
"""Bytes copied at a time; also what a connection buffers in each direction."""
CONNECTION_LIMIT = 128
"""Connections at a time; a host opens one or two."""


class Bridge:
    """Accepts connections and carries each to a target.

    :param listener: a listening, non-blocking socket; the bridge closes it.
    :param target: where each accepted connection is carried to.
    :param policy: who may connect.
    """

    def __init__(self, listener: socket.socket, target: Address, policy: PeerPolicy) -> None:
        self._listener = listener
        self._target = target
        self._policy = policy
        self._tasks = TaskOwner(f"bridge to {target}")
        self._connections = 0

    def start(self) -> None:
        """Begin to accept."""
        self._tasks.start(self._accept(), name="accept")

    async def close(self) -> None:
        """Stop accepting and end every connection."""
        await self._tasks.close()
        self._listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    await asyncio.sleep(0.2)  # Out of descriptors; connections that end give some back.
                continue
            connection.setblocking(False)
            try:
                refusal = self._policy.refusal(peer_of(connection))
            except OSError:
                refusal = "it went away"
            if refusal is None and self._connections >= CONNECTION_LIMIT:
                refusal = f"more than {CONNECTION_LIMIT} connections"
            if refusal is not None:
                _log.warning("refused a connection: %s", refusal)
                connection.close()
                continue
            self._tasks.start(self._carry(connection), name="carry a connection")

    async def _carry(self, connection: socket.socket) -> None:
        self._connections += 1
        try:
            target = await connect_soon(self._target)
        except GuestlinkError as error:
            _log.info("%s", error)
        else:
            with target:
                await asyncio.gather(_copy(connection, target), _copy(target, connection))
        finally:
            self._connections -= 1
            connection.close()


async def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Copy until the source ends, then end the sink's half; a broken connection ends both directions."""
    loop = asyncio.get_running_loop()
    buffer = memoryview(bytearray(CHUNK))
    try:
        while count := await loop.sock_recv_into(source, buffer):
            await loop.sock_sendall(sink, buffer[:count])
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def listen_on_first_free(cid: int, first: int, last: int) -> tuple[socket.socket, int]:
    """Listen on the first free vsock port of a range (garcon.md §2.4).

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

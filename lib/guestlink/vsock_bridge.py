"""Relays byte streams between AF_VSOCK and Unix sockets, because no released grpcio can use vsock.

gRPC serves and dials a private Unix socket. A bridge copies bytes between this socket and the address that the
other side uses, and checks the peer, because gRPC sees only the Unix peer (chromeos-garcon.md §2.4,
packaging.md §5.4). A bridge works between any two addresses; tests use this where there is no vsock peer.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Protocol

from guestlink.acceptor import Acceptor
from guestlink.address import Address, TcpAddress, UnixAddress, VsockAddress
from guestlink.errors import GuestlinkError
from guestlink.relay import Inspect, relay
from guestlink.sockets import AddressInUse, PeerPolicy, connect_soon, listen, peer_of

CONNECTION_LIMIT = 128
"""Connections at a time; a host opens one or two."""


_log = logging.getLogger(__name__)


class TargetAbsent(GuestlinkError):
    """A target without an address is not there now. That is no fault, and the bridge does not warn."""


class BridgeTarget(Protocol):
    """A target that is more than an address; its text names it in messages."""

    async def connect(self) -> socket.socket:
        """Return a connected, non-blocking socket, or raise GuestlinkError; :class:`TargetAbsent`
        if that is no fault."""


class Bridge:
    """Accepts connections and relays each to a target (:func:`~guestlink.relay.relay`).

    A connection whose target cannot be reached is closed.

    :param listener: a listening, non-blocking socket; the bridge closes it.
    :param target: where each accepted connection is relayed to.
    :param policy: who may connect.
    :param from_target: makes what inspects the bytes of one connection from the target.
    """

    def __init__(
        self,
        listener: socket.socket,
        target: Address | BridgeTarget,
        policy: PeerPolicy,
        *,
        from_target: Callable[[], Inspect] | None = None,
    ) -> None:
        self._target = target
        self._from_target = from_target
        self._policy = policy
        self._acceptor = Acceptor(listener, str(target), self._carry, refusal=self._refusal)

    def start(self) -> None:
        """Begin to accept."""
        self._acceptor.start()

    async def close(self) -> None:
        """Stop accepting and close every connection."""
        await self._acceptor.close()

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self._acceptor)

    def _refusal(self, connection: socket.socket) -> str:
        if len(self) >= CONNECTION_LIMIT:
            return f"there are {CONNECTION_LIMIT} already"
        try:
            # Without the pid, so that the text of a peer that forks is the same and is logged once.
            return self._policy.refusal(peer_of(connection)._replace(pid=None)) or ""
        except OSError:
            return "it went away"

    async def _carry(self, connection: socket.socket) -> None:
        try:
            target = await self._connect()
        except TargetAbsent as error:
            _log.debug("%s", error)
            return
        with target:
            self._acceptor.forget_warnings()
            inspect = self._from_target() if self._from_target is not None else None
            await relay(connection, target, from_server=inspect)

    async def _connect(self) -> socket.socket:
        if isinstance(self._target, UnixAddress | VsockAddress | TcpAddress):
            return await connect_soon(self._target)
        return await self._target.connect()


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

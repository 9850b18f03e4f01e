"""Connections to vsh that have not proved yet that they come from the container (chromeos-vsh.md §9)."""

from __future__ import annotations

import os
import select
import socket

from guestlink.handshake import HandshakeFailed, ListenerHandshake, Purpose
from guestlink.waiting_room import WaitingRoom

_SILENT_START, _SILENT_FULL = 16, 64
"""Connections that may wait for their proof (:class:`~guestlink.waiting_room.WaitingRoom`)."""


class Strangers:
    """Connections that have not proved yet that they come from the container.

    :param token: the container's token.
    :param poller: polls their sockets.
    :ivar refusal: why the last one was refused that said something.
    """

    def __init__(self, token: str, poller: select.poll) -> None:
        self._token = token
        self._poller = poller
        self.refusal: HandshakeFailed | None = None
        self._waiting: WaitingRoom[int] = WaitingRoom(_SILENT_START, _SILENT_FULL)
        self._connections: dict[int, tuple[socket.socket, ListenerHandshake]] = {}

    def enter(self, connection: socket.socket) -> None:
        """Send a new connection its challenge; close another one if there are too many."""
        handshake = ListenerHandshake(self._token, (Purpose.VSH,))
        descriptor = connection.fileno()
        self._connections[descriptor] = (connection, handshake)
        self._poller.register(connection, select.POLLIN)
        self._waiting.enter(descriptor)
        if not _sent(connection, handshake.begin()):
            self._drop(descriptor)
        elif (gone := self._waiting.make_room(int.from_bytes(os.urandom(4)) / (1 << 32))) is not None:
            self._drop(gone)

    def receive(self, descriptor: int) -> socket.socket | None:
        """Receive from a connection; returns it once it has proved that it comes from the container."""
        if descriptor not in self._connections:
            return None  # Closed in this round.
        connection, handshake = self._connections[descriptor]
        try:
            received = connection.recv(handshake.wanted)
        except BlockingIOError:
            return None
        except OSError:
            received = b""
        try:
            proof = handshake.receive(received) if received else b""
        except HandshakeFailed as error:
            self.refusal = error
            received = b""
        if not received or (proof and not _sent(connection, proof)):
            self._drop(descriptor)
            return None
        if not handshake.complete:
            return None
        self._forget(descriptor)
        return connection

    def close(self) -> None:
        """Close all of them."""
        for descriptor in list(self._connections):
            self._drop(descriptor)

    def _drop(self, descriptor: int) -> None:
        connection, _ = self._connections[descriptor]
        self._forget(descriptor)
        connection.close()

    def _forget(self, descriptor: int) -> None:
        self._poller.unregister(descriptor)
        self._waiting.leave(descriptor)
        del self._connections[descriptor]


def _sent(connection: socket.socket, content: bytes) -> bool:
    """Send some bytes; a connection that does not take so few at once is none of the container's."""
    try:
        return connection.send(content) == len(content)
    except OSError:
        return False

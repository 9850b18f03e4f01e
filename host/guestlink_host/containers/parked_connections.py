"""Connections that a container has opened for the host's use: the host listens, the container dials.

garcon parks a connection or two, and another whenever the host has used one. So the host reaches garcon without
connecting to anything that the container has made. A parked connection is silent; the host speaks first.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from guestlink.sockets import Peer, peer_of
from guestlink.vsock_bridge import TargetAbsent

LIMIT = 8
"""Connections that one container may park for one purpose; a further one takes the place of the oldest. garcon
parks two."""
PATIENCE = 0.3
"""Seconds to wait for a connection while none is parked: garcon parks the next one only after it has seen our
first bytes on the last one."""


class NothingParked(TargetAbsent):
    """A container has parked no connection."""


class ParkedConnections:
    """The connections that one container has parked for one purpose.

    :param text: what is parked, for messages.
    :ivar peer: who has parked the connection that was taken last.
    :ivar ever_parked: whether the container has parked any yet; a garcon that never does is too old.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._parked: list[tuple[socket.socket, Peer]] = []
        self._arrived = asyncio.Event()
        self.peer = Peer()
        self.ever_parked = False

    def __str__(self) -> str:
        return self._text

    def __len__(self) -> int:
        return len(self._parked)

    def park(self, connection: socket.socket) -> None:
        """Keep a connection that has been accepted, and whose peer may park one here; it is closed when it ends."""
        try:
            peer = peer_of(connection)
        except OSError:
            connection.close()  # It went away.
            return
        while len(self._parked) >= LIMIT:
            self._drop(self._parked[0][0])
        connection.setblocking(False)
        self._parked.append((connection, peer))
        self.ever_parked = True
        # Until the host has spoken, a connection only becomes readable when it has ended, or against the rules.
        asyncio.get_running_loop().add_reader(connection, self._drop, connection)
        self._arrived.set()

    async def connect(self) -> socket.socket:
        """Take the newest connection, which the garcon that has started last has parked.

        :returns: a connected, non-blocking socket, which the caller closes.
        :raises NothingParked: there is none, and none arrives within :data:`PATIENCE` seconds.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while True:
                    while self._parked:
                        connection, peer = self._parked[-1]
                        self._forget(connection)
                        if _is_silent(connection):
                            self.peer = peer
                            return connection
                        connection.close()
                    self._arrived.clear()
                    await self._arrived.wait()
        raise NothingParked(
            f"{self._text} is missing",
            hint="`guestlink status` inside the container shows the state of its garcon",
        )

    def close(self) -> None:
        """Close every parked connection; those that were taken stay."""
        while self._parked:
            self._drop(self._parked[0][0])

    def _drop(self, connection: socket.socket) -> None:
        self._forget(connection)
        connection.close()

    def _forget(self, connection: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(connection)
        self._parked = [parked for parked in self._parked if parked[0] is not connection]


def _is_silent(connection: socket.socket) -> bool:
    """Whether a connection is open and its peer has sent nothing."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False

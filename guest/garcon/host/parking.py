"""Connections that this container parks at its host: the host listens, garcon dials.

A parked connection is silent. When the host needs one it sends the first bytes of gRPC or SFTP; garcon serves that
connection and parks another. So the host reaches us without connecting to anything that is ours.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from guestlink.backoff import backoff
from guestlink.errors import GuestlinkError
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

PARKED = 2
"""Connections that are parked for one purpose, so that one is there while the next is on its way."""
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 10.0
"""Seconds before the connections that the host has closed, or that could not be made, are replaced. Each attempt to
register replaces them, too."""


Dial: TypeAlias = Callable[[], Awaitable[socket.socket]]
"""Connects to the host, and proves there what has to be proved; returns a non-blocking socket, or raises
GuestlinkError."""


class Parking:
    """Keeps :data:`PARKED` connections parked for one purpose.

    :param purpose: what the host uses them for, for the log.
    :param dial: connects to the host.
    :param serve: serves a connection on which the host has sent its first bytes; it is closed afterwards.
    """

    def __init__(
        self,
        purpose: str,
        dial: Dial,
        serve: Callable[[socket.socket], Coroutine[Any, Any, None]],
    ) -> None:
        self._dial = dial
        self._serve = serve
        self._parked: set[socket.socket] = set()
        self._used: set[socket.socket] = set()
        self._filling = asyncio.Lock()
        self._losses = 0
        self._refilling: asyncio.Task[None] | None = None
        self._tasks = TaskOwner(f"parked connections for {purpose}")

    def __len__(self) -> int:
        """How many connections are parked."""
        return len(self._parked)

    async def park(self) -> None:
        """Park what is missing, now.

        :raises GuestlinkError: the host takes no connection.
        """
        loop = asyncio.get_running_loop()
        async with self._filling:
            while len(self._parked) < PARKED:
                connection = await self._dial()
                self._parked.add(connection)
                loop.add_reader(connection, self._readable, connection)

    async def close(self) -> None:
        """Close the parked connections, and end those that the host uses."""
        self._close_parked()  # First, because what the host sends now would start a task.
        await self._tasks.close()
        self._close_parked()
        while self._used:  # Connections of tasks that were cancelled before they ran.
            self._used.pop().close()

    def _close_parked(self) -> None:
        while self._parked:
            connection = self._parked.pop()
            asyncio.get_running_loop().remove_reader(connection)
            connection.close()

    async def _use(self, connection: socket.socket) -> None:
        try:
            await self._serve(connection)
        finally:
            self._used.discard(connection)
            connection.close()

    def _readable(self, connection: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(connection)
        self._parked.discard(connection)
        if _has_bytes(connection):
            self._losses = 0
            self._used.add(connection)
            self._tasks.start(self._use(connection), name="serve the host")
        else:
            self._losses += 1
            connection.close()
        if self._refilling is None or self._refilling.done():
            self._refilling = self._tasks.start(self._refill(), name="park again")

    async def _refill(self) -> None:
        while len(self._parked) < PARKED:
            if self._losses:
                await asyncio.sleep(backoff(_FIRST_PAUSE, _LAST_PAUSE, self._losses))
            try:
                await self.park()
            except GuestlinkError as error:
                _log.debug("%s", error)
                self._losses += 1


def _has_bytes(connection: socket.socket) -> bool:
    """Whether the host has sent something, rather than closed the connection."""
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except OSError:
        return False

"""Accepts connections of a listening socket, and serves each in a task."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

from guestlink.errors import GuestlinkError, reason
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

_ACCEPT_PAUSE = 0.2
"""Seconds to wait after a failed accept."""


class Acceptor:
    """Accepts connections until it is closed.

    :param listener: a listening, non-blocking socket; the acceptor closes it.
    :param what: what the connections lead to, for messages.
    :param serve: serves one connection, whose socket the acceptor closes afterwards; a GuestlinkError is a warning.
    :param refusal: why a new connection is refused; ``""`` for one that is served.
    :param warn: gets one sentence about each connection that is refused or fails; by default the log gets the
        sentence, once in a row.
    :param pause: is called after each accepted connection and returns the seconds until the next one is accepted.
    """

    def __init__(
        self,
        listener: socket.socket,
        what: str,
        serve: Callable[[socket.socket], Awaitable[None]],
        *,
        refusal: Callable[[socket.socket], str],
        warn: Callable[[str], None] | None = None,
        pause: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._listener = listener
        self._what = what
        self._serve = serve
        self._refusal = refusal
        self._warn = warn or self._warn_once
        self._pause = pause
        self._tasks = TaskOwner(f"connections to {what}")
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

    def forget_warnings(self) -> None:
        """The next warning is written even if its text is the last one's: something has worked in between."""
        self._said = ""

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                # Mostly too many open descriptors; connections that close free some.
                self._warn(f"cannot accept connections to {self._what}: {reason(error)}")
                await asyncio.sleep(_ACCEPT_PAUSE)
                continue
            connection.setblocking(False)
            if refusal := self._refusal(connection):
                self._warn(f"refused a connection to {self._what}: {refusal}")
                connection.close()
            else:
                self._connections.add(connection)
                self._tasks.start(self._serve_one(connection), name="serve a connection")
            # Also without a pause: an accept that succeeds at once never gives the other tasks their turn.
            await asyncio.sleep(self._pause())

    async def _serve_one(self, connection: socket.socket) -> None:
        try:
            await self._serve(connection)
        except GuestlinkError as error:
            self._warn(str(error))
        finally:
            self._connections.discard(connection)
            connection.close()

    def _warn_once(self, text: str) -> None:
        # A refused peer may retry a thousand times a second; the log gets each text once in a row.
        if text != self._said:
            self._said = text
            _log.warning("%s", text)

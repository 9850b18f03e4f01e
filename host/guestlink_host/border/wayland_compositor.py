"""Connections of guestlink-host itself to the host's compositor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

from guestlink.address import UnixAddress
from guestlink.errors import GuestlinkError, reason
from guestlink.sockets import connect_soon
from guestlink.wayland_globals import SECURITY_CONTEXT
from guestlink_host.border import wayland_wire as wire

ANSWER_TIME = 10.0
"""Seconds that the compositor has for an answer."""
_RECEIVED_AT_ONCE = 16384


class CompositorUnusable(GuestlinkError):
    """The compositor does not run, does not answer, or refuses a request.

    The message names no path: containers may read it.
    """


class CompositorConnection:
    """One connection; :meth:`open` makes it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._answers = wire.CompositorAnswers()

    @classmethod
    async def open(cls, path: Path) -> CompositorConnection:
        """Connect, and list the compositor's globals.

        :raises CompositorUnusable: the compositor does not run, or does not answer.
        """
        try:
            sock = await connect_soon(UnixAddress(str(path)), ANSWER_TIME)
        except GuestlinkError as error:
            raise CompositorUnusable("the compositor does not run") from error
        connection = cls(sock)
        try:
            await connection._ask(wire.list_globals(), (), lambda answers: answers.is_listed)
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def interfaces(self) -> frozenset[str]:
        """The interfaces of the globals that the compositor offers on this connection."""
        return frozenset(self._answers.globals.values())

    async def create_security_context(self, listener: socket.socket, app_id: str) -> int:
        """Let the compositor accept clients on a socket, and treat them as sandboxed. Once per connection.

        :param listener: listens; the compositor has its own descriptor of it afterwards.
        :param app_id: names the sandbox in the compositor's tools.
        :returns: a descriptor; the compositor accepts clients until it is closed.
        :raises CompositorUnusable: the compositor has no security contexts, or refuses this one.
        """
        manager = self._answers.name_of(SECURITY_CONTEXT)
        if manager is None:
            raise CompositorUnusable("the compositor has no security contexts")
        theirs, ours = os.pipe2(os.O_CLOEXEC)
        try:
            request = wire.create_security_context(manager, app_id, f"guestlink-host-{os.getpid()}")
            await self._ask(request, (listener.fileno(), theirs), lambda answers: answers.is_committed)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return ours

    async def ended(self) -> None:
        """Read and drop events until the compositor ends the connection, usually because it has exited."""
        with contextlib.suppress(CompositorUnusable):
            while True:
                await self._receive()

    def close(self) -> None:
        """Close the connection; security contexts stay."""
        self._sock.close()

    async def _ask(
        self, request: bytes, descriptors: tuple[int, ...], is_answered: Callable[[wire.CompositorAnswers], bool]
    ) -> None:
        try:
            # A few hundred bytes fit into the socket, which is empty.
            sent = socket.send_fds(self._sock, [request], descriptors)
            if sent != len(request):
                raise CompositorUnusable("the compositor does not read")
            async with asyncio.timeout(ANSWER_TIME):
                while not is_answered(self._answers):
                    await self._receive()
        except TimeoutError as error:
            raise CompositorUnusable("the compositor does not answer") from error
        except OSError as error:
            raise CompositorUnusable(f"the compositor is gone: {reason(error)}") from error

    async def _receive(self) -> None:
        try:
            data = await asyncio.get_running_loop().sock_recv(self._sock, _RECEIVED_AT_ONCE)
            if not data:
                raise CompositorUnusable("the compositor has ended the connection")
            self._answers.feed(data)
        except OSError as error:
            raise CompositorUnusable(f"the compositor is gone: {reason(error)}") from error
        except wire.CompositorError as error:
            raise CompositorUnusable(f"the compositor {error}") from error

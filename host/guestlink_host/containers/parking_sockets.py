"""The sockets in a container's mounted directory at which its garcon parks connections, and the socket at which a
process of this user fetches one for SFTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

from guestlink.acceptor import Acceptor
from guestlink.address import UnixAddress
from guestlink.errors import GuestlinkError, reason
from guestlink.socket_directory import CALLS, OLD_GARCON, PORTS, SFTP
from guestlink.sockets import listen, peer_of, same_user
from guestlink.tasks import TaskOwner
from guestlink_host.containers.parked_connections import ParkedConnections

_log = logging.getLogger(__name__)

_BACKLOG = 64
"""Connections that wait for accept(2); a further one waits in connect(2) or fails, in the container."""
_PAUSE = 0.02
"""Seconds between two accepts, so that no container keeps the daemon busy with them."""
_FAILURE_PAUSE = 10.0
"""Seconds after a failed accept: mostly too many descriptors are open, and others close some."""
_OLD_PAUSE = 5.0
"""The same for the socket where only an old garcon connects."""


class ParkingSockets:
    """All of one container's sockets for parked connections.

    :param directory: its mounted directory.
    :param private: the beginning of paths that only this user can reach.
    :param calls: gets the connections for gRPC calls.
    :param sftp: gets the connections for SFTP.
    :param ports: gets the connections for ports.
    :param outdated: is called when an older garcon tries to listen where garcon listened before the host did.
    """

    def __init__(
        self,
        directory: Path,
        private: Path,
        *,
        calls: ParkedConnections,
        sftp: ParkedConnections,
        ports: ParkedConnections,
        outdated: Callable[[], None],
    ) -> None:
        def found_old(connection: socket.socket) -> None:
            connection.close()
            outdated()

        self._directory = directory
        self._private = private
        self._sftp = sftp
        self._uses = {CALLS: calls.park, SFTP: sftp.park, PORTS: ports.park, OLD_GARCON: found_old}
        self._tasks = TaskOwner("parked connections")
        self._listeners: list[socket.socket] = []
        self._handover: Acceptor | None = None

    def start(self) -> None:
        """Begin to listen.

        :raises GuestlinkError: a socket cannot be made.
        """
        for name, use in self._uses.items():
            private = self._private.with_name(f"{self._private.name}-{name}")
            # Mode 0666: the directory's access control list decides who may connect, and a mode cannot name the
            # container's users.
            listener = listen(UnixAddress(str(private)), mode=0o666, backlog=_BACKLOG)
            self._listeners.append(listener)
            # A socket's path must be short, and the directory's may be too long to bind there.
            _move(private, self._directory / name)
            pause = _OLD_PAUSE if name == OLD_GARCON else _PAUSE
            self._tasks.start(self._accept(listener, use, pause), name=f"accept at {name}")
        address = sftp_handover(self._private)
        self._handover = Acceptor(listen(address), str(address), self._hand_over, refusal=_refusal)
        self._handover.start()

    async def close(self) -> None:
        """Stop listening and remove the sockets."""
        if self._handover is not None:
            await self._handover.close()
        await self._tasks.close()
        while self._listeners:
            self._listeners.pop().close()
        for path in (*(self._directory / name for name in self._uses), Path(sftp_handover(self._private).path)):
            with contextlib.suppress(OSError):
                path.unlink()

    async def _accept(self, listener: socket.socket, use: Callable[[socket.socket], None], pause: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                _log.warning("%s cannot park connections: %s", self._directory.name, reason(error))
                await asyncio.sleep(_FAILURE_PAUSE)
                continue
            use(connection)
            await asyncio.sleep(pause)

    async def _hand_over(self, asker: socket.socket) -> None:
        with contextlib.suppress(OSError):
            try:
                connection = await self._sftp.connect()
            except GuestlinkError as error:
                asker.sendall(error.message.encode())
                return
            with connection:
                socket.send_fds(asker, [b"\0"], [connection.fileno()])


def sftp_handover(private: Path) -> UnixAddress:
    """The address where a process of this user fetches a parked connection for SFTP: it receives one byte with the
    connection's descriptor, or else a sentence that tells why there is none.

    :param private: as for :class:`ParkingSockets`.
    """
    return UnixAddress(f"{private}-handover")


def _refusal(asker: socket.socket) -> str:
    try:
        return same_user().refusal(peer_of(asker)) or ""
    except OSError:
        return "it went away"


def _move(private: Path, path: Path) -> None:
    try:
        os.replace(private, path)
    except OSError as error:
        raise GuestlinkError(
            f"the socket {path} cannot be made: {reason(error)}", hint="remove what is in its place"
        ) from error

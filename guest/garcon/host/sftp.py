"""The SFTP byte stream: one ``sftp-server`` per connection, with the socket itself as its input and output. The
connections are parked at the host, or accepted at an address.

The stream is SFTP version 3 as on an SSH subsystem's channel, but without SSH (chromeos-vsh.md §4,
chromeos-garcon.md §6.12). No byte passes through Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from guestlink import socket_directory
from guestlink.address import CID_ANY, CID_HOST, VSOCK_ANY_PORT, Address, UnixAddress, VsockAddress
from guestlink.child import Child
from guestlink.errors import reason
from guestlink.sockets import PeerPolicy, listen, peer_of
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

SERVERS = (
    "/usr/lib/openssh/sftp-server",  # Debian, Ubuntu
    "/usr/libexec/openssh/sftp-server",  # Fedora
    "/usr/lib/ssh/sftp-server",  # Arch, openSUSE, Alpine
    "/usr/libexec/ssh/sftp-server",  # openSUSE since 2023
    "/usr/libexec/sftp-server",  # Void
    "/usr/lib/misc/sftp-server",  # Gentoo
)
"""Paths of ``sftp-server`` in distributions; the first that exists is used (chromeos-vsh.md §4.2)."""
UNIX_PORT = 1
"""The port in ContainerStartupInfo for a Unix socket: 0 would mean "no SFTP" to the host (chromeos-vsh.md §4.1)."""
_ACCEPT_PAUSE = 0.2
"""Seconds to wait after a failed accept."""
_STOP_TIMEOUT = 2.0
"""Seconds between SIGTERM and SIGKILL for servers that run when the stream closes."""


def sftp_address(garcon: Address) -> Address:
    """Where the stream is served: beside garcon's own service, on a port that the kernel chooses."""
    if isinstance(garcon, UnixAddress):
        return UnixAddress(os.path.join(os.path.dirname(garcon.path), socket_directory.SFTP))
    return VsockAddress(CID_ANY, VSOCK_ANY_PORT)


class SftpStream:
    """Starts a server for each connection.

    :param program: path of ``sftp-server``; ``""`` searches :data:`SERVERS` and ``PATH`` for each connection.
    :param limit: servers at a time; further connections are closed.
    :param environ: the servers' environment; its ``HOME`` is their working directory.
    """

    def __init__(self, program: str, limit: int, environ: Mapping[str, str]) -> None:
        self._program = program
        self._limit = limit
        self._environ = dict(environ)
        self._tasks = TaskOwner("sftp")
        self._listener: socket.socket | None = None
        self._peers = PeerPolicy()
        self._running: set[Child] = set()
        self._last_warning = ""
        self.port: int | None = None

    def start(self, address: Address | None, cid: int = CID_HOST) -> int:
        """Begin to accept at an address; a stream that serves already goes on.

        :param address: ``None`` serves only the connections that :meth:`serve` gets.
        :param cid: the host's cid; no other peer may connect over vsock.
        :returns: the port for ContainerStartupInfo; :data:`UNIX_PORT` for a Unix socket and parked connections.
        :raises GuestlinkError: the address cannot be bound.
        """
        self._peers = PeerPolicy(cids=frozenset({cid}))
        if self.port is not None:
            return self.port
        self.port = UNIX_PORT if address is None else self._listen(address)
        if self._find() is None:
            self._warn_missing()
        return self.port

    async def serve(self, connection: socket.socket) -> None:
        """Serve a connection that the host has accepted, until it ends.

        :param connection: it is closed.
        """
        with connection:
            if refusal := self._full():
                self._warn(f"refused an SFTP connection: {refusal}")
                return
            server = self._spawn(connection)
        if server is not None:
            await self._wait(server)

    def __len__(self) -> int:
        """The number of running servers."""
        return len(self._running)

    async def close(self) -> None:
        """Stop accepting and terminate every server."""
        for server in self._running:
            server.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_TIMEOUT):
                while self._running:
                    await asyncio.sleep(0.01)
        await self._tasks.close()
        if self._listener is not None:
            if self._listener.family == socket.AF_UNIX:
                Path(self._listener.getsockname()).unlink(missing_ok=True)
            self._listener.close()
        self._listener = self.port = None

    def _listen(self, address: Address) -> int:
        listener = self._listener = listen(address)
        self._tasks.start(self._accept(listener), name="accept")
        return UNIX_PORT if isinstance(address, UnixAddress) else int(listener.getsockname()[1])

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                self._warn(f"cannot accept SFTP connections: {reason(error)}")
                await asyncio.sleep(_ACCEPT_PAUSE)
                continue
            if refusal := self._refusal(connection):
                self._warn(f"refused an SFTP connection: {refusal}")
                connection.close()
                continue
            self._tasks.start(self.serve(connection), name="serve a connection")

    def _refusal(self, connection: socket.socket) -> str | None:
        try:
            return self._full() or self._peers.refusal(peer_of(connection))
        except OSError:
            return "it went away"

    def _full(self) -> str | None:
        if len(self._running) >= self._limit:
            return f"there are {self._limit} already (setting sftp_limit)"
        return None

    def _spawn(self, connection: socket.socket) -> Child | None:
        program = self._find()
        if program is None:
            self._warn_missing()
            return None
        home = self._environ.get("HOME", "")
        connection.setblocking(True)
        try:
            process = subprocess.Popen(
                [program],
                stdin=connection.fileno(),
                stdout=connection.fileno(),
                env=self._environ,
                cwd=home if os.path.isdir(home) else "/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self._warn(f"{program} cannot be started: {reason(error)}")
            return None
        self._last_warning = ""
        server = Child(process)
        self._running.add(server)
        return server

    async def _wait(self, server: Child) -> None:
        try:
            await server.wait()
        finally:
            server.kill()
            self._running.discard(server)

    def _find(self) -> str | None:
        if self._program:
            return shutil.which(self._program)
        for path in SERVERS:
            if os.access(path, os.X_OK):
                return path
        return shutil.which("sftp-server", path=self._environ.get("PATH"))

    def _warn_missing(self) -> None:
        if self._program:
            self._warn(f"{self._program} (setting sftp_server) cannot be run, so the host cannot show files")
        else:
            self._warn("there is no sftp-server, so the host cannot show files; install OpenSSH's server package")

    def _warn(self, text: str) -> None:
        # A refused peer may retry a thousand times a second: log the same text only once.
        if text != self._last_warning:
            self._last_warning = text
            _log.warning("%s", text)

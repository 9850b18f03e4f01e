"""Serves one container's ContainerListener and LinuxHost: on a socket in its mounted directory, and on its
``listen`` address."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from guestlink import socket_directory
from guestlink.address import Address, UnixAddress, VsockAddress, parse_address
from guestlink.errors import GuestlinkError, reason
from guestlink.rpc import CONTAINER_LISTENER, LINUX_HOST, RpcServer
from guestlink.sockets import PeerPolicy, listen
from guestlink_host.border.gate import Gate, GateShare, GateTotals
from guestlink_host.containers.guest import Guest
from guestlink_host.containers.parking_sockets import ParkingSockets
from guestlink_host.containers.registry import Containers
from guestlink_host.containers.remote_calls import RemoteCalls

_log = logging.getLogger(__name__)

REQUEST_LIMIT = 256 * 1024
"""Bytes of a request without a limit of its own (:func:`guestlink.rpc.accepts`): a token and a few short texts."""
_GRACE = 0.2
"""Seconds that running calls get to finish when the server stops."""
_RETRY = 10.0
"""Seconds until a failed attempt to listen is repeated: the address's network may come up later, for example."""


class ContainerService:
    """One container's side of the daemon.

    :param guest: the container; closed with the service.
    :param implementations: the objects that implement the RPCs, by service.
    :param containers: the registry, which creates its directory.
    :param private: a path for gRPC's socket, which the container cannot see; a path beside it is used, too.
    :param totals: what all containers have at their gates.
    :ivar problem: why the container is not served; ``""`` if it is.
    :ivar manager_problem: what its manager cannot do, or ``""``.
    :ivar directory_is_new: whether :meth:`listen` created the container's directory, which a container that runs
        cannot see until its manager has mounted it.
    """

    def __init__(
        self,
        guest: Guest,
        implementations: Mapping[str, tuple[object, ...]],
        containers: Containers,
        private: Path,
        totals: GateTotals,
    ) -> None:
        self.guest = guest
        self.problem = ""
        self.manager_problem = ""
        self.directory_is_new = False
        self._implementations = implementations
        self._containers = containers
        self._private = private
        self._new = private.with_suffix(".new")
        self._share = GateShare(guest.container.name, totals)
        self._strangers = GateShare(guest.container.name, totals, strangers=True)
        self._servers: list[RpcServer] = []
        self._gates: list[Gate] = []
        self._parking: ParkingSockets | None = None
        self._closed = False

    @property
    def _socket(self) -> Path:
        return self._containers.directory(self.guest.container.name) / socket_directory.LISTENER

    async def listen(self) -> None:
        """Begin to serve the container.

        :raises GuestlinkError: its directory cannot be created, or an address cannot be bound. :attr:`problem` then
            has the message.
        """
        try:
            await self._listen()
        except GuestlinkError as error:
            self.problem = error.message
            await self._close_server()
            raise
        self.problem = ""

    async def _listen(self) -> None:
        container = self.guest.container
        self.directory_is_new |= self._containers.prepare(container)
        self._parking = ParkingSockets(
            self._socket.parent,
            self.guest.private,
            calls=self.guest.calls,
            sftp=self.guest.sftp,
            ports=self.guest.ports,
            outdated=self.guest.found_outdated,
        )
        self._parking.start()
        server = self._new_server()
        grpc = UnixAddress(str(self._private))
        server.bind(grpc)
        # Bind at a short path, then rename into the directory: the path always has a socket.
        # Mode 0666, because the directory's access control list decides who may connect: users of the container
        # too, and a mode cannot name those.
        own = listen(UnixAddress(str(self._new)), mode=0o666)
        self._gates.append(Gate(own, grpc, PeerPolicy(), self._share))
        await server.start()
        if container.listen:
            await self._listen_remotely(parse_address(container.listen))
        try:
            os.replace(self._new, self._socket)
        except OSError as error:
            raise GuestlinkError(
                f"the socket {self._socket} cannot be created: {reason(error)}", hint="remove what is in its place"
            ) from error
        for gate in self._gates:
            gate.start()

    async def _listen_remotely(self, address: Address) -> None:
        """Listen at the ``listen`` address. The calls there carry no token, so they have a server of their own."""
        container, remote = self.guest.container, RemoteCalls(self.guest)
        server = self._new_server(remote.prepare)
        grpc = UnixAddress(str(self._private.with_suffix(".far")))
        server.bind(grpc)
        garcon = parse_address(container.garcon) if container.garcon else None
        cids = {garcon.cid} if isinstance(garcon, VsockAddress) else set()
        policy = PeerPolicy(uids=() if isinstance(address, VsockAddress) else None, cids=cids)
        self._gates.append(Gate(listen(address), grpc, policy, self._strangers, admit=remote.admit))
        await server.start()

    def _new_server(self, prepare: Callable[[Any], None] | None = None) -> RpcServer:
        calls = self._implementations[CONTAINER_LISTENER]
        server = RpcServer(CONTAINER_LISTENER, *calls, request_limit=REQUEST_LIMIT, prepare=prepare)
        server.add(LINUX_HOST, *self._implementations[LINUX_HOST])
        self._servers.append(server)
        return server

    async def keep_trying(self) -> None:
        """Repeat :meth:`listen` until it succeeds or the service is closed."""
        while self.problem:
            await asyncio.sleep(_RETRY)
            if self._closed:
                return
            with contextlib.suppress(GuestlinkError):
                await self.listen()
        _log.info("%s is served now", self.guest.container.name)

    async def close(self) -> None:
        """Stop serving and close the guest; the container's launchers stay."""
        self._closed = True
        await self._close_server()
        self._share.close()
        self._strangers.close()
        with contextlib.suppress(OSError):
            self._socket.unlink()
        await self.guest.close()

    async def _close_server(self) -> None:
        parking, self._parking = self._parking, None
        if parking is not None:
            await parking.close()
        while self._gates:
            await self._gates.pop().close()
        while self._servers:
            await self._servers.pop().stop(_GRACE)
        for path in (self._private, self._new):
            with contextlib.suppress(OSError):
                path.unlink()

"""Serves the channel for ports: makes the sockets that a Linux host asks for (:mod:`guestlink.port_channel`)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import select
import socket
import stat
from collections import deque
from collections.abc import Callable
from typing import Any

from garcon.services.chunnels import CONNECT_TIME, LOOPBACK
from garcon.services.listening_ports import listening_ports, programs_of
from guestlink.errors import GuestlinkError
from guestlink.port_channel import (
    LISTENING_LIMIT,
    LOCALHOST,
    PROGRAM_LIMIT,
    UDP,
    UNIX,
    ChannelReader,
    PortEndpoint,
    endpoint_from,
    pack,
)
from guestlink.sockets import network_reason
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

POLL = 1.0
"""Seconds between two looks for listening ports, while the host watches them; a look takes 0.1 ms."""
_BACKLOG = 4096
_READ = 64 * 1024
_IN_FLIGHT_PAUSE = 0.01
"""Seconds until more descriptors are sent, while the host has not received too many (unix(7), ETOOMANYREFS)."""


class PortChannelServer:
    """Serves every channel that the host uses.

    :param scan: returns the listening ports as a message has them.
    """

    def __init__(self, scan: Callable[[], list[tuple[str, int, str]]] | None = None) -> None:
        self._scan = scan or PortScan()

    async def serve(self, connection: socket.socket) -> None:
        """Serve a connection on which the host has sent its first bytes, until it ends.

        :param connection: the caller closes it.
        """
        channel = _Channel(connection, self._scan)
        try:
            await channel.serve()
        finally:
            await channel.close()


class PortScan:
    """Finds the listening ports; looks for the programs only when there are other ports than before."""

    def __init__(self) -> None:
        self._inodes: set[int] = set()
        self._programs: dict[int, str] = {}

    def __call__(self) -> list[tuple[str, int, str]]:
        """The ports as a message has them: host, port, program.

        :raises GuestlinkError: the kernel does not tell.
        """
        ports = listening_ports()[:LISTENING_LIMIT]
        inodes = {one.inode for one in ports}
        if not inodes <= self._inodes:
            self._programs = programs_of(inodes)
        self._inodes = inodes
        programs = self._programs
        return list(dict.fromkeys((one.host, one.port, _visible(programs.get(one.inode, ""))) for one in ports))


class _Channel:
    def __init__(self, connection: socket.socket, scan: Callable[[], list[tuple[str, int, str]]]) -> None:
        self._connection = connection
        self._scan = scan
        self._loop = asyncio.get_running_loop()
        self._reader = ChannelReader()
        self._out: deque[tuple[bytes, socket.socket | None]] = deque()
        self._tasks = TaskOwner("port channel")
        self._ended = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._pausing: asyncio.TimerHandle | None = None

    async def serve(self) -> None:
        self._loop.add_reader(self._connection, self._readable)
        await self._ended.wait()

    async def close(self) -> None:
        self._loop.remove_reader(self._connection)
        self._loop.remove_writer(self._connection)
        if self._pausing is not None:
            self._pausing.cancel()
        await self._tasks.close()
        while self._out:
            _data, sock = self._out.popleft()
            if sock is not None:
                sock.close()

    def _readable(self) -> None:
        try:
            data = self._connection.recv(_READ)
            messages, _unused = self._reader.feed(data, [])
        except BlockingIOError:
            return
        except (OSError, ValueError) as error:
            _log.warning("the host's channel for ports ends: %s", error)
            data, messages = b"", []
        for message, _descriptor in messages:
            self._handle(message)
        if not data:
            self._loop.remove_reader(self._connection)
            self._ended.set()

    def _handle(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        try:
            if "connect" in message:
                self._connect(number, endpoint_from(message["connect"]))
            elif "listen" in message:
                self._send({"id": number}, _listen(endpoint_from(message["listen"])))
            elif "list" in message:
                self._send({"id": number, "listening": self._scan()})
            elif "watch" in message:
                self._watch(bool(message["watch"]))
            else:
                self._send({"id": number, "error": "garcon does not know this request; update it"})
        except OSError as error:
            self._send({"id": number, "error": _sentence(error)})
        except (ValueError, GuestlinkError) as error:
            self._send({"id": number, "error": str(error)})

    # -- connections ---------------------------------------------------------------------------------------------

    def _connect(self, number: object, endpoint: PortEndpoint) -> None:
        """Connect to a server, at once where the kernel can: it can to an address of this container.

        :raises OSError: nobody listens there.
        """
        names = _names(endpoint)
        failure = OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        for at, (family, name) in enumerate(names):
            try:
                sock = socket.socket(family, _socket_kind(endpoint) | socket.SOCK_NONBLOCK)
            except OSError as error:
                failure = error
                continue
            status = sock.connect_ex(name)
            if status == errno.EINPROGRESS:
                # On loopback the connection is made by now; connect(2) says so only to those who ask again.
                if not _is_decided(sock):
                    self._tasks.start(self._connect_slowly(number, endpoint, sock, names[at:]), name="connect")
                    return
                status = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not status:
                self._send({"id": number}, sock)
                return
            sock.close()
            failure = OSError(status, os.strerror(status))
        raise failure

    async def _connect_slowly(
        self,
        number: object,
        endpoint: PortEndpoint,
        first: socket.socket,
        names: list[tuple[socket.AddressFamily, Any]],
    ) -> None:
        """Wait for a connection that is being made, and then try the addresses after it.

        :param first: the socket of the first of the addresses.
        """
        failure: OSError = TimeoutError()
        sock: socket.socket | None = first
        until = self._loop.time() + CONNECT_TIME  # For all addresses together: the host waits seven seconds.
        for family, name in names:
            try:
                sock = sock or socket.socket(family, _socket_kind(endpoint) | socket.SOCK_NONBLOCK)
            except OSError as error:
                failure = error
                continue
            try:
                async with asyncio.timeout_at(until):
                    await self._loop.sock_connect(sock, name)
            except OSError as error:
                sock.close()
                sock, failure = None, error
            except BaseException:
                sock.close()
                raise
            else:
                self._send({"id": number}, sock)
                return
        self._send({"id": number, "error": _sentence(failure)})

    # -- listening ports -----------------------------------------------------------------------------------------

    def _watch(self, wanted: bool) -> None:
        if wanted and self._watching is None:
            self._watching = self._tasks.start(self._watch_ports(), name="watch ports")
        elif not wanted and self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def _watch_ports(self) -> None:
        last = None
        while True:
            try:
                ports = self._scan()
            except GuestlinkError as error:
                _log.warning("no port is reported to the host: %s", error)
                return
            if ports != last:
                last = ports
                self._send({"listening": ports})
            await asyncio.sleep(POLL)

    # -- what the host gets --------------------------------------------------------------------------------------

    def _send(self, message: dict[str, Any], sock: socket.socket | None = None) -> None:
        """Send a message; its socket is closed once the host has got a descriptor of it."""
        self._out.append((pack(message), sock))
        if len(self._out) == 1:
            self._flush()

    def _flush(self) -> None:
        self._pausing = None
        while self._out:
            data, sock = self._out[0]
            descriptors = [] if sock is None else [sock.fileno()]
            try:
                sent = socket.send_fds(self._connection, [data], descriptors, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self._loop.add_writer(self._connection, self._writable)
                return
            except OSError as error:
                if error.errno == errno.ETOOMANYREFS:
                    self._pausing = self._loop.call_later(_IN_FLIGHT_PAUSE, self._flush)
                    return
                self._ended.set()
                return
            if sock is not None:
                sock.close()
            if sent < len(data):
                self._out[0] = (data[sent:], None)
            else:
                self._out.popleft()

    def _writable(self) -> None:
        self._loop.remove_writer(self._connection)
        self._flush()


def _is_decided(sock: socket.socket) -> bool:
    """Whether an attempt to connect has succeeded or failed."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return bool(poll.poll(0))


def _socket_kind(endpoint: PortEndpoint) -> int:
    return socket.SOCK_DGRAM if endpoint.kind == UDP else socket.SOCK_STREAM


def _names(endpoint: PortEndpoint) -> list[tuple[socket.AddressFamily, Any]]:
    """The kernel's names of an endpoint, with their families.

    :raises ValueError: its host is no address: garcon resolves no names for the host.
    """
    if endpoint.kind == UNIX:
        return [(socket.AF_UNIX, endpoint.host)]
    hosts = LOOPBACK if endpoint.host == LOCALHOST else (endpoint.host,)
    if "*" in hosts:
        hosts = ("0.0.0.0", "::")
    found = []
    for host in hosts:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            socket.inet_pton(family, host)
        except OSError:
            raise ValueError(f"{host!r:.80} is no address") from None
        found.append((family, (host, endpoint.port)))
    return found


def _listen(endpoint: PortEndpoint) -> socket.socket:
    """Listen, or bind for UDP, at the first address of an endpoint; on all addresses for IPv4 and IPv6 together.

    :raises OSError: the port is taken, for example.
    """
    family, name = _names(endpoint)[0]
    if endpoint.host == "*" and socket.has_dualstack_ipv6():
        family, name = socket.AF_INET6, ("::", endpoint.port)
    sock = socket.socket(family, _socket_kind(endpoint) | socket.SOCK_NONBLOCK)
    try:
        if endpoint.kind == UNIX:
            _remove_dead_socket(endpoint.host)
            os.fchmod(sock.fileno(), 0o600)  # What bind(2) creates gets the mode of the socket (unix(7)).
        elif family == socket.AF_INET6 and endpoint.host == "*":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if endpoint.kind not in (UDP, UNIX):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(name)
        if endpoint.kind != UDP:
            sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_dead_socket(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "it is a file and no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            if probe.connect_ex(path) == errno.ECONNREFUSED:
                os.unlink(path)


def _sentence(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use in the container"
    if error.errno == errno.EACCES:
        return "the container does not allow it to this user: ports below 1024 are root's"
    return network_reason(error)


def _visible(text: str) -> str:
    return "".join(one for one in text if one.isprintable())[:PROGRAM_LIMIT]

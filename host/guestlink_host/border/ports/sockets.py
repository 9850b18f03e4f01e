"""The sockets of forwards on this machine, and the check of those that a container passes."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import stat
from collections.abc import Callable

from guestlink.errors import GuestlinkError, reason
from guestlink.port_channel import LOCALHOST, UDP, UNIX, PortEndpoint
from guestlink_host.border.ports.forward import ANY
from guestlink_host.border.ports.poller import Poller

BACKLOG = 4096
"""Connections that wait until we accept them (net.core.somaxconn)."""
DIAL_TIME = 5.0
"""Seconds for a connection to a server of this machine."""
_PRIVILEGED = 1024
_NO_FAMILY = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_FAMILIES = {True: (socket.AF_UNIX,), False: (socket.AF_INET, socket.AF_INET6)}


def addresses(endpoint: PortEndpoint) -> list[tuple[socket.AddressFamily, str]]:
    """Each address of an endpoint's host, with its family, in the order in which clients try them."""
    if endpoint.host == LOCALHOST:
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    if endpoint.host == ANY:
        return [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]
    return [(socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET, endpoint.host)]


def listen_here(endpoint: PortEndpoint) -> list[socket.socket]:
    """Listen, or bind for UDP: one socket for each address of the endpoint.

    :raises GuestlinkError: the port is taken, or privileged, or the machine has no such address; with a remedy.
    """
    if endpoint.kind == UNIX:
        return [_listen_at_path(endpoint.host)]
    made: list[socket.socket] = []
    try:
        for family, host in addresses(endpoint):
            try:
                made.append(_bind(family, host, endpoint))
            except OSError as error:
                if not made or error.errno not in _NO_FAMILY:  # A machine may have no IPv6.
                    raise
    except OSError as error:
        for one in made:
            one.close()
        raise _bind_error(endpoint, error) from error
    return made


def _bind(family: socket.AddressFamily, host: str, endpoint: PortEndpoint) -> socket.socket:
    kind = socket.SOCK_DGRAM if endpoint.kind == UDP else socket.SOCK_STREAM
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            # Connections of an earlier process may still be ending; two listeners are refused all the same.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, endpoint.port))
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_error(endpoint: PortEndpoint, error: OSError) -> GuestlinkError:
    port, free = endpoint.port, endpoint.port + 1 if endpoint.port < 60000 else 8080
    if error.errno == errno.EADDRINUSE:
        kind = "u" if endpoint.kind == UDP else "t"
        return GuestlinkError(
            f"port {port} is in use on this machine",
            hint=f"choose another one, as in {free}:{port}; `ss -l{kind}np sport = :{port}` shows who uses it",
        )
    if error.errno in (errno.EACCES, errno.EPERM) and port < _PRIVILEGED:
        return GuestlinkError(
            f"port {port} is privileged: only root may listen below {_PRIVILEGED}",
            hint=f"choose a higher one, as in {8000 + port % 1000}:{port}; or let everybody listen there: "
            f"`sudo sysctl net.ipv4.ip_unprivileged_port_start={port}`",
        )
    if error.errno in _NO_FAMILY:
        return GuestlinkError(
            f"this machine has no address {endpoint.host}", hint="`ip address` shows those that it has"
        )
    return GuestlinkError(f"nothing can listen on {endpoint}: {reason(error)}", hint="choose another port")


def _listen_at_path(path: str) -> socket.socket:
    """Listen at a path; a socket without a server is replaced, and nothing else."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise GuestlinkError(f"{path} is a file and no socket", hint="choose another path")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)
                except BlockingIOError:
                    raise GuestlinkError(f"{path} is in use", hint="choose another path") from None
                else:
                    raise GuestlinkError(f"{path} is in use", hint="choose another path")
        os.fchmod(sock.fileno(), 0o600)  # What bind(2) creates gets the mode of the socket (unix(7)).
        sock.bind(path)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise GuestlinkError(
            f"nothing can listen at {path}: {reason(error)}", hint="choose another path"
        ) from error
    except BaseException:
        sock.close()
        raise
    return sock


def received_socket(descriptor: int, endpoint: PortEndpoint, *, listening: bool) -> socket.socket:
    """The socket that a container has passed for an endpoint of its own.

    :param descriptor: it is closed if it is refused.
    :raises ValueError: this is another kind of file, or another kind of socket.
    """
    try:
        # Nothing but getsockopt(2): a file of another kind may be one whose calls the container answers (FUSE).
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        with contextlib.suppress(OSError):  # A container's own file system (FUSE) answers what it likes.
            os.close(descriptor)
        raise ValueError("this is no socket") from error
    kind = socket.SOCK_DGRAM if endpoint.kind == UDP else socket.SOCK_STREAM
    try:
        listens = bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        if sock.family not in _FAMILIES[endpoint.kind == UNIX] or sock.type != kind:
            raise ValueError("this is another kind of socket")
        if listens != (listening and endpoint.kind != UDP):
            raise ValueError("this socket is in another state")
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ValueError("this is no usable socket") from error
    except ValueError:
        sock.close()
        raise
    return sock


def connected_datagrams(endpoint: PortEndpoint) -> socket.socket:
    """A UDP socket that is connected to a server of this machine.

    :raises OSError: there is none.
    """
    failure = OSError()
    for family, host in addresses(endpoint):
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect((host, endpoint.port))
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


class LocalDial:
    """Connects to a server of this machine, without waiting; addresses are tried in turn.

    :param done: gets the connected socket, or ``None``.
    """

    def __init__(
        self, poller: Poller, endpoint: PortEndpoint, done: Callable[[socket.socket | None], None]
    ) -> None:
        self._poller = poller
        self._done = done
        self._socket: socket.socket | None = None
        self._left: list[tuple[socket.AddressFamily, str | tuple[str, int]]]
        if endpoint.kind == UNIX:
            self._left = [(socket.AF_UNIX, endpoint.host)]
        else:
            self._left = [(family, (host, endpoint.port)) for family, host in addresses(endpoint)]
        poller.later(DIAL_TIME, self._give_up)
        self._next()

    def _next(self) -> None:
        while self._left:
            family, name = self._left.pop(0)
            try:
                sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            except OSError:
                continue
            failure = sock.connect_ex(name)
            if not failure:
                self._end(sock)
                return
            if failure == errno.EINPROGRESS:
                self._socket = sock
                self._poller.watch(sock.fileno(), select.EPOLLOUT, self._answered)
                return
            sock.close()
        self._end(None)

    def _answered(self, _events: int) -> None:
        sock = self._take()
        if sock is None:
            return
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            sock.close()
            self._next()
        else:
            self._end(sock)

    def _give_up(self) -> None:
        if (sock := self._take()) is not None:
            sock.close()
            self._end(None)

    def _take(self) -> socket.socket | None:
        sock, self._socket = self._socket, None
        if sock is not None:
            self._poller.forget(sock.fileno())
        return sock

    def _end(self, sock: socket.socket | None) -> None:
        self._left = []
        self._done(sock)

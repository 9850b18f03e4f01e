"""Stream sockets for the three kinds of address, with a check of the peer."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import stat
import struct
from collections.abc import Collection, Mapping, MutableMapping
from typing import NamedTuple

from guestlink.address import Address, TcpAddress, UnixAddress, VsockAddress
from guestlink.errors import GuestlinkError, reason

_LISTEN_FDS_START = 3
"""The first descriptor that systemd passes (sd_listen_fds(3))."""
_SO_PEERPIDFD = 77
"""Linux 6.5, include/uapi/asm-generic/socket.h."""


class ConnectFailed(GuestlinkError):
    """Nobody answered at an address."""


class AddressInUse(GuestlinkError):
    """Another program serves this address already."""


class Peer(NamedTuple):
    """The other side of a connection; what the kernel does not report is ``None``."""

    uid: int | None = None
    pid: int | None = None
    cid: int | None = None
    host: str | None = None

    def __str__(self) -> str:
        if self.cid is not None:
            return f"context id {self.cid}"
        if self.uid is not None:
            return f"uid {self.uid}" + (f" (pid {self.pid})" if self.pid is not None else "")
        return self.host or "an unknown peer"


class PeerPolicy(NamedTuple):
    """Which peers may connect; ``None`` accepts any of that kind."""

    uids: Collection[int] | None = None
    cids: Collection[int] | None = None

    def refusal(self, peer: Peer) -> str | None:
        """Why this peer is refused, or ``None`` if it is accepted."""
        if peer.cid is not None:
            allowed = self.cids is None or peer.cid in self.cids
        elif peer.uid is not None:
            allowed = self.uids is None or peer.uid in self.uids
        else:
            # TCP does not identify its peer: the protocol above it checks a token.
            allowed = True
        return None if allowed else f"{peer} may not connect here"


def same_user() -> PeerPolicy:
    """Accept this user and root on Unix sockets."""
    return PeerPolicy(uids=frozenset({0, os.getuid()}))


def peer_of(sock: socket.socket) -> Peer:
    """Ask the kernel who is connected to a socket."""
    if sock.family == socket.AF_UNIX:
        pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return Peer(uid=uid, pid=pid)
    name = sock.getpeername()
    if sock.family == getattr(socket, "AF_VSOCK", None):
        return Peer(cid=name[0])
    return Peer(host=str(name[0]))


def terminate_peer(sock: socket.socket, pid: int, seen_at: float) -> None:
    """Send SIGTERM to the process on the other side of a Unix socket, then SIGCONT, without which a stopped process
    does not end.

    Process 1, this process, processes of other users, and processes of other pid namespaces get no signal.

    :param pid: the process on the other side at the time ``seen_at``; 0 is one of another pid namespace.
    :param seen_at: seconds of CLOCK_BOOTTIME. A process that started later has reused the pid and gets no signal.
    """
    if pid in (0, 1, os.getpid()) or peer_of(sock).uid != os.getuid():
        return
    with contextlib.suppress(OSError):
        descriptor = _open_peer(sock, pid, seen_at)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            signal.pidfd_send_signal(descriptor, signal.SIGCONT)
        finally:
            os.close(descriptor)


def _open_peer(sock: socket.socket, pid: int, seen_at: float) -> int:
    """Open a pidfd of the process that had this pid at the time ``seen_at``.

    :raises OSError: the process has exited.
    """
    if peer_of(sock).pid == pid:
        try:
            return sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise
    descriptor = os.pidfd_open(pid)
    try:
        # The check comes after pidfd_open(), so that the pid cannot be reused in between.
        if _start_of(pid) > int(seen_at * os.sysconf("SC_CLK_TCK")):
            raise ProcessLookupError
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _start_of(pid: int) -> int:
    """The clock ticks of CLOCK_BOOTTIME at which a process started: field 22 of proc_pid_stat(5)."""
    with open(f"/proc/{pid}/stat", "rb") as stream:
        fields_from_3 = stream.read().rpartition(b")")[2].split()  # the name before may have spaces and brackets
    return int(fields_from_3[22 - 3])


def connect(address: Address, timeout: float | None = 10.0) -> socket.socket:
    """Connect to an address.

    :param timeout: seconds to wait for the other side; the returned socket is blocking.
    :raises ConnectFailed: the other side is not there, refuses or does not answer.
    """
    try:
        if isinstance(address, TcpAddress):
            sock = socket.create_connection(address, timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            sock = _new_socket(address)
            try:
                sock.settimeout(timeout)
                sock.connect(_kernel_name(address))
            except BaseException:
                sock.close()
                raise
    except OSError as error:
        raise ConnectFailed(f"cannot connect to {address}: {network_reason(error)}") from error
    sock.settimeout(None)
    return sock


async def connect_soon(address: Address, timeout: float = 2.0) -> socket.socket:
    """Connect without blocking the event loop.

    :param timeout: seconds to wait for the other side.
    :returns: a connected, non-blocking socket.
    :raises ConnectFailed: the other side is not there, refuses or does not answer.
    """
    import asyncio  # commands use this module too, without asyncio

    loop = asyncio.get_running_loop()
    if isinstance(address, TcpAddress):
        # Resolving a name blocks, so a thread of the loop does it.
        return await loop.run_in_executor(None, _connect_without_blocking, address, timeout)
    sock = _new_socket(address)
    sock.setblocking(False)
    try:
        if isinstance(address, UnixAddress):
            # This never waits; the loop would take EAGAIN, a full queue, for a connection that is being made.
            sock.connect(address.path)
            return sock
        async with asyncio.timeout(timeout):
            await loop.sock_connect(sock, _kernel_name(address))
    except OSError as error:
        sock.close()
        raise ConnectFailed(f"cannot connect to {address}: {network_reason(error)}") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _connect_without_blocking(address: Address, timeout: float) -> socket.socket:
    sock = connect(address, timeout)
    sock.setblocking(False)
    return sock


def listen(address: Address, *, mode: int = 0o600, backlog: int = 128) -> socket.socket:
    """Listen on an address.

    A Unix socket without a server is replaced; a live server's socket is not touched.

    :param mode: permissions of a Unix socket, set before anybody can connect.
    :returns: a non-blocking listening socket.
    :raises AddressInUse: a live server has this address.
    :raises GuestlinkError: the address cannot be bound for another reason.
    """
    sock = _new_socket(address)
    try:
        if isinstance(address, UnixAddress):
            _remove_dead_socket(address)
            os.fchmod(sock.fileno(), mode)  # what bind() creates gets the mode of the socket (unix(7))
        elif isinstance(address, TcpAddress):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(_kernel_name(address))
        if isinstance(address, UnixAddress):
            os.chmod(address.path, mode)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE and _is_other_file(address):
            raise AddressInUse(f"{address} is a file and no socket", hint="choose another path") from error
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(
                f"{address} is in use", hint="stop the program that serves it, or choose another address"
            ) from error
        raise GuestlinkError(f"cannot listen on {address}: {network_reason(error)}") from error
    except TypeError as error:  # The host's name is no text that a resolver takes.
        sock.close()
        raise GuestlinkError(f"cannot listen on {str(address)!a}: there is no such host") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _is_other_file(address: Address) -> bool:
    """Whether a Unix address is the path of something else than a socket."""
    if not isinstance(address, UnixAddress):
        return False
    try:
        return not stat.S_ISSOCK(os.lstat(address.path).st_mode)
    except OSError:
        return False


def activated_sockets(environ: MutableMapping[str, str] | None = None) -> dict[str, socket.socket]:
    """Sockets that systemd passes to this process, by their ``FileDescriptorName=`` (sd_listen_fds(3)).

    The variables are removed, so that children do not use the sockets.
    """
    variables: MutableMapping[str, str] = os.environ if environ is None else environ
    count, names = _listen_fds(variables)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        variables.pop(name, None)
    found: dict[str, socket.socket] = {}
    for index in range(count):
        descriptor = _LISTEN_FDS_START + index
        os.set_inheritable(descriptor, False)
        name = names[index] if index < len(names) and names[index] else f"unnamed-{index}"
        if name in found:
            name = f"{name}-{index}"  # by default all sockets of a unit have one name
        found[name] = socket.socket(fileno=descriptor)
        found[name].setblocking(False)
    return found


def _listen_fds(variables: Mapping[str, str]) -> tuple[int, list[str]]:
    if variables.get("LISTEN_PID") != str(os.getpid()):
        return 0, []
    count = variables.get("LISTEN_FDS", "")
    return (int(count) if count.isdecimal() else 0), variables.get("LISTEN_FDNAMES", "").split(":")


def _new_socket(address: Address) -> socket.socket:
    if isinstance(address, UnixAddress):
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if isinstance(address, VsockAddress):
        try:
            return socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        except OSError as error:
            raise GuestlinkError(
                "this kernel has no vsock", hint="load the module vsock, or use a unix: or tcp: address"
            ) from error
    return socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)


def _kernel_name(address: Address) -> str | tuple[int | str, int]:
    return address.path if isinstance(address, UnixAddress) else (address[0], address.port)


def _remove_dead_socket(address: UnixAddress) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(address.path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(address.path)
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(address.path)
        except FileNotFoundError:
            pass
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def network_reason(error: OSError) -> str:
    """Like :func:`~guestlink.errors.reason`, for an error that asyncio or a time limit may have made."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno).lower()  # asyncio's own text repeats the address, as a tuple.
    return reason(error)

"""Connects vsh and a vshd: we listen and the container's vshd connects, or we connect to a listening vshd
(chromeos-vsh.md §2)."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

from guestlink.address import Address, TcpAddress, UnixAddress, VsockAddress, parse_address
from guestlink.errors import GuestlinkError
from guestlink.progress import PATIENCE, Progress
from guestlink.sockets import ConnectFailed, PeerPolicy, connect, listen, peer_of
from guestlink.token import read_token
from guestlink_host.control.client import daemon, start_and_wait
from guestlink_host.settings import host_runtime_directory
from guestlink_host.vsh.options import VshOptions

VSHD_PORT = 9001
"""The vsock port on which a machine's vshd listens (chromeos-vsh.md §1.2)."""
ACCEPT_TIMEOUT = 10.0
"""Seconds to wait for the container's connection after garcon has answered; ChromeOS's vsh waits 5
(chromeos-vsh.md §2.2)."""
_PENDING_LIMIT = 16
"""TCP connections that have not sent the token yet."""
_BACKLOG = 1024
"""Connections that wait for accept(2) during the call to garcon; over TCP every local user may open some."""
_TRIES = 8
_WHO_LISTENS = (
    "check whether a vshd listens there; `systemctl --user start guestlink-vshd.socket` starts one on vsock"
)


def connected(arguments: VshOptions) -> socket.socket:
    """Return a connection to a vshd that waits for our setup.

    :raises GuestlinkError: no connection could be made.
    """
    if not arguments.direct:
        return _from_container(arguments)
    try:
        return _directly(arguments)
    except ConnectFailed as error:
        raise GuestlinkError(error.message, hint=_WHO_LISTENS) from error


def _directly(arguments: VshOptions) -> socket.socket:
    if arguments.cid is not None:
        return connect(VsockAddress(arguments.cid, VSHD_PORT))
    address = parse_address(arguments.connect)
    if not isinstance(address, TcpAddress):
        return connect(address)
    if not arguments.token_file:
        raise GuestlinkError(
            "over TCP a vshd requires the container's token", hint="name the token's file with --token-file"
        )
    token = read_token(arguments.token_file)
    connection = connect(address)
    connection.sendall(_auth_line(token))
    return connection


def _from_container(arguments: VshOptions) -> socket.socket:
    start_and_wait(arguments.name)
    endpoint = daemon().call("shell_endpoint", name=arguments.name)
    with _listening(endpoint["address"], arguments.listen_port) as (listener, port):
        # Listen before the call: the connection may arrive before the answer.
        daemon().call("launch_vshd", name=arguments.name, port=port, features=list(arguments.features))
        connection = _accept(listener, endpoint)
    if connection is None:
        raise GuestlinkError(
            f"{arguments.name} did not connect within {ACCEPT_TIMEOUT:g} s",
            hint="is guestlink-vshd installed there? garcon's log in the container says more",
        )
    return connection


@contextlib.contextmanager
def _listening(template: str, port: int) -> Iterator[tuple[socket.socket, int]]:
    """Listen at the address to which the container will connect.

    :param template: an address; a Unix socket's contains ``{port}``.
    :param port: the port number to use; 0 for any.
    """
    if not template.startswith("unix:"):
        address: Address = parse_address(template)
        if port:
            address = address._replace(port=port) if not isinstance(address, UnixAddress) else address
        with listen(address, backlog=_BACKLOG) as listener:
            yield listener, listener.getsockname()[1]
        return
    # Bind where the container cannot interfere, then rename to a path that the container cannot guess.
    private = UnixAddress(str(host_runtime_directory() / "private" / f"vsh-{os.getpid()}.sock"))
    # Mode 0666: the directory's access control list decides who may connect, and a mode cannot name the
    # container's users.
    with listen(private, mode=0o666, backlog=1) as listener:
        try:
            path, number = _move(private.path, template, port)
        except BaseException:
            os.unlink(private.path)
            raise
        try:
            yield listener, number
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _move(private: str, template: str, port: int) -> tuple[str, int]:
    for attempt in range(_TRIES):
        number = port or int.from_bytes(os.urandom(4)) or 1
        path = template.removeprefix("unix:").replace("{port}", str(number))
        try:
            os.replace(private, path)
        except IsADirectoryError:
            if port or attempt == _TRIES - 1:
                break
            continue  # The container has put a directory there.
        return path, number
    raise GuestlinkError(f"{path} is a directory", hint="remove it in the container")


def _accept(listener: socket.socket, endpoint: dict[str, Any]) -> socket.socket | None:
    """Wait for the container's connection; close all others."""
    expected = _auth_line(endpoint["token"]) if "token" in endpoint else b""
    uid, cid = endpoint.get("uid"), endpoint.get("cid")
    policy = PeerPolicy(None if uid is None else {uid}, None if cid is None else {cid})
    began = time.monotonic()
    deadline = began + ACCEPT_TIMEOUT
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    pending: dict[int, tuple[socket.socket, bytearray]] = {}
    progress = Progress()
    try:
        while (left := deadline - time.monotonic()) > 0:
            if time.monotonic() - began >= PATIENCE:
                progress.say("waiting for the container's shell server")
            for descriptor, _ in poller.poll(min(left, PATIENCE) * 1000):
                if descriptor == listener.fileno():
                    connection = _new(listener, policy)
                    if connection is None:
                        continue
                    if not expected:
                        return connection
                    if len(pending) >= _PENDING_LIMIT:
                        # Our vshd sends the token at once, so the oldest pending connection is not ours.
                        silent, _ = pending.pop(next(iter(pending)))
                        poller.unregister(silent)
                        silent.close()
                    pending[connection.fileno()] = (connection, bytearray())
                    poller.register(connection, select.POLLIN)
                    continue
                if descriptor not in pending:
                    continue  # Closed in this round.
                connection, received = pending[descriptor]
                done = _read_token(connection, received, len(expected))
                if done is None:
                    continue
                poller.unregister(connection)
                del pending[descriptor]
                if done and _same(received, expected):
                    return connection
                connection.close()
        return None
    finally:
        progress.end()
        for connection, _ in pending.values():
            connection.close()


def _new(listener: socket.socket, policy: PeerPolicy) -> socket.socket | None:
    try:
        connection, _ = listener.accept()
    except OSError:
        return None  # The peer has closed it already.
    connection.setblocking(False)
    try:
        refused = policy.refusal(peer_of(connection)) is not None
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except OSError:
        refused = True
    if refused:
        connection.close()
        return None
    return connection


def _read_token(connection: socket.socket, received: bytearray, length: int) -> bool | None:
    """Read the token, but no byte after it; ``None`` until it is complete, ``False`` if the peer is gone."""
    try:
        part = connection.recv(length - len(received))
    except BlockingIOError:
        return None
    except OSError:
        return False
    received += part
    if not part:
        return False
    return True if len(received) == length else None


# hmac loads OpenSSL, which takes as long as the interpreter's start, so these functions import it late.


def _auth_line(token: object) -> bytes:
    from guestlink.auth_line import auth_line

    return auth_line(str(token))


def _same(received: bytes | bytearray, expected: bytes) -> bool:
    from hmac import compare_digest

    return compare_digest(received, expected)

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
from guestlink.authentication import authenticate, preload, set_tcp_options
from guestlink.errors import GuestlinkError
from guestlink.handshake import DialerHandshake, HandshakeFailed, Purpose
from guestlink.progress import PATIENCE, Progress
from guestlink.sockets import ConnectFailed, PeerPolicy, connect, listen, peer_of
from guestlink.token import read_token
from guestlink_host.control.client import daemon, start_and_wait
from guestlink_host.settings import host_runtime_directory
from guestlink_host.vsh.options import VshOptions
from guestlink_host.vsh.strangers import Strangers

VSHD_PORT = 9001
"""The vsock port on which a machine's vshd listens (chromeos-vsh.md §1.2)."""
ACCEPT_TIMEOUT = 10.0
"""Seconds to wait for the container's connection after garcon has answered; ChromeOS's vsh waits 5
(chromeos-vsh.md §2.2)."""
_BACKLOG = 1024
"""Connections that wait for accept(2) during the call to garcon; over TCP every local user may open some."""
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
    try:
        authenticate(connection, DialerHandshake(token, Purpose.VSHD))
        set_tcp_options(connection)
    except HandshakeFailed as error:
        connection.close()
        raise GuestlinkError(f"the vshd at {address}: {error.message}", hint=error.hint) from error
    return connection


def _from_container(arguments: VshOptions) -> socket.socket:
    start_and_wait(arguments.name)
    endpoint = daemon().call("shell_endpoint", name=arguments.name)
    with _listening(endpoint["address"], arguments.listen_port) as (listener, port):
        # Listen before the call: the connection may arrive before the answer.
        daemon().call("launch_vshd", name=arguments.name, port=port, features=list(arguments.features))
        return _accept(listener, arguments.name, endpoint)


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
    # Bind at a short path, then rename into the container's directory.
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
    number = port or int.from_bytes(os.urandom(4)) or 1
    path = template.removeprefix("unix:").replace("{port}", str(number))
    os.replace(private, path)
    return path, number


def _accept(listener: socket.socket, name: str, endpoint: dict[str, Any]) -> socket.socket:
    """Wait for the container's connection; close all others.

    :param endpoint: which peers may connect, and the token that they have to know.
    :raises GuestlinkError: it did not come in time.
    """
    uids, cid = endpoint.get("uids"), endpoint.get("cid")
    policy = PeerPolicy(None if uids is None else set(uids), None if cid is None else {cid})
    began = time.monotonic()
    deadline = began + ACCEPT_TIMEOUT
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    if "token" in endpoint:
        preload()  # while the container connects
    strangers = Strangers(endpoint.get("token", ""), poller)
    progress = Progress()
    try:
        while (left := deadline - time.monotonic()) > 0:
            if time.monotonic() - began >= PATIENCE:
                progress.say("waiting for the container's shell server")
            for descriptor, _ in poller.poll(min(left, PATIENCE) * 1000):
                if descriptor != listener.fileno():
                    connection = strangers.receive(descriptor)
                elif (connection := _new(listener, policy)) is not None and "token" in endpoint:
                    strangers.enter(connection)
                    continue
                if connection is not None:
                    return connection
    finally:
        progress.end()
        strangers.close()
    refused = f"; a connection was refused: {strangers.refusal.message}" if strangers.refusal else ""
    hint = "is guestlink-vshd installed there? garcon's log in the container says more"
    raise GuestlinkError(
        f"{name} did not connect within {ACCEPT_TIMEOUT:g} s{refused}",
        hint=(strangers.refusal.hint if strangers.refusal else "") or hint,
    )


def _new(listener: socket.socket, policy: PeerPolicy) -> socket.socket | None:
    try:
        connection, _ = listener.accept()
    except OSError:
        return None  # The peer has closed it already.
    connection.setblocking(False)
    try:
        refused = policy.refusal(peer_of(connection)) is not None
        set_tcp_options(connection)
    except OSError:
        refused = True
    if refused:
        connection.close()
        return None
    return connection

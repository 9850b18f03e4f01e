"""A container's SFTP stream on standard input and output; sshfs, sftp and lftp start this instead of ssh."""

from __future__ import annotations

import _thread
import contextlib
import os
import socket
from collections.abc import Mapping

from guestlink.address import UnixAddress, parse_address
from guestlink.errors import GuestlinkError
from guestlink.sockets import connect
from guestlink_host.border.pinned_socket import pin_socket, pinned_address
from guestlink_host.control.client import daemon, start_and_wait

_CHUNK = 256 * 1024
_SENTENCE = 1024
"""Bytes of the daemon's answer instead of a connection."""


def run(name: str) -> int:
    """Copy the stream in both directions until garcon's side closes it.

    :raises GuestlinkError: the container serves no SFTP, or cannot be reached.
    """
    start_and_wait(name)
    endpoint = daemon().call("sftp_endpoint", name=name)
    with _connected(name, endpoint) as sock:
        _thread.start_new_thread(_send, (sock,))
        buffer = memoryview(bytearray(_CHUNK))
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            while count := sock.recv_into(buffer):
                _write(buffer[:count])
    # The other thread may be blocked on standard input for ever.
    os._exit(0)


def _connected(name: str, endpoint: Mapping[str, object]) -> socket.socket:
    if "handover" in endpoint:
        return _handed_over(name, UnixAddress(str(endpoint["handover"])))
    address = parse_address(str(endpoint["address"]))
    if not isinstance(address, UnixAddress):
        return connect(address)
    try:
        descriptor = pin_socket(address.path)
    except OSError as error:
        raise GuestlinkError(
            f"{name} serves no files: there is no socket {address.path}",
            hint="`guestlink status` inside shows whether its garcon runs",
        ) from error
    try:
        return connect(pinned_address(descriptor))
    finally:
        os.close(descriptor)


def _handed_over(name: str, address: UnixAddress) -> socket.socket:
    """A connection that the container has parked."""
    with connect(address) as asked:
        said, descriptors, _, _ = socket.recv_fds(asked, _SENTENCE, 1)
    if not descriptors:
        raise GuestlinkError(
            f"{name} serves no files: {said.decode(errors='replace') or 'guestlink-host closed the connection'}",
            hint="`guestlink status` inside shows whether its garcon runs",
        )
    connection = socket.socket(fileno=descriptors[0])
    connection.setblocking(True)
    return connection


def _send(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(0, _CHUNK):
            sock.sendall(data)
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)  # sftp-server exits, which closes the stream.


def _write(data: memoryview) -> None:
    while data:
        data = data[os.write(1, data) :]

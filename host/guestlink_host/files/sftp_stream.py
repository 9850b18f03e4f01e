"""A container's SFTP stream on standard input and output; sshfs, sftp and lftp start this instead of ssh."""

from __future__ import annotations

import _thread
import contextlib
import os
import socket

from guestlink.address import UnixAddress, parse_address
from guestlink.authentication import authenticate
from guestlink.errors import GuestlinkError
from guestlink.handshake import DialerHandshake, Purpose
from guestlink.sockets import connect
from guestlink_host.border.pinned_socket import pin_socket, pinned_address
from guestlink_host.control.client import daemon, start_and_wait

_CHUNK = 256 * 1024


def run(name: str) -> int:
    """Copy the stream in both directions until garcon's side closes it.

    :raises GuestlinkError: the container serves no SFTP, or cannot be reached.
    """
    start_and_wait(name)
    endpoint = daemon().call("sftp_endpoint", name=name)
    with _connected(name, endpoint["address"]) as sock:
        if "token" in endpoint:
            authenticate(sock, DialerHandshake(str(endpoint["token"]), Purpose.SFTP))
        _thread.start_new_thread(_send, (sock,))
        buffer = memoryview(bytearray(_CHUNK))
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            while count := sock.recv_into(buffer):
                _write(buffer[:count])
    # The other thread may be blocked on standard input for ever.
    os._exit(0)


def _connected(name: str, text: str) -> socket.socket:
    address = parse_address(text)
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


def _send(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(0, _CHUNK):
            sock.sendall(data)
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)  # sftp-server exits, which closes the stream.


def _write(data: memoryview) -> None:
    while data:
        data = data[os.write(1, data) :]

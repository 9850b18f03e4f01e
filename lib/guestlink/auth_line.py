"""The auth line of a TCP connection: the side that connects sends the container's token first (chromeos-vsh.md §9).

A Unix socket's directory identifies the peer, and so does a vsock address: connections over these have none.
TCP does not identify the peer.
"""

from __future__ import annotations

import socket
import time

from guestlink.address import Address, TcpAddress

TIMEOUT = 10.0
"""Seconds in which the auth line must arrive."""


def needs_auth_line(address: Address) -> bool:
    """Whether the side that connects to this address must send an auth line."""
    return isinstance(address, TcpAddress)


def auth_line(token: str) -> bytes:
    """The bytes: the token and a newline."""
    return token.encode() + b"\n"


def read_auth_line(sock: socket.socket, token: str, timeout: float = TIMEOUT) -> bool:
    """Read an auth line and compare it in constant time. No byte after the auth line is read.

    :param sock: a connection; it is blocking afterwards.
    :returns: whether the right auth line arrived in time.
    """
    expected = auth_line(token)
    received = b""
    deadline = time.monotonic() + timeout
    try:
        while len(received) < len(expected):
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            part = sock.recv(len(expected) - len(received))
            if not part:
                break
            received += part
        sock.settimeout(None)
    except OSError:
        return False
    from hmac import compare_digest  # it loads OpenSSL, which a vshd without TCP does not need

    return compare_digest(received, expected)

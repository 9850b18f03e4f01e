"""What the side that connects over TCP says first: the container's token (chromeos-vsh.md §9).

A socket in a directory proves who is behind it, and so does a vsock address; TCP proves nothing. On those two
nobody sends or expects a preface.
"""

from __future__ import annotations

import socket
import time

from guestlink.address import Address, TcpAddress

TIMEOUT = 10.0
"""Seconds in which a preface must have come."""


def needs_preface(address: Address) -> bool:
    """Whether the side that connects to an address has to prove itself."""
    return isinstance(address, TcpAddress)


def preface(token: str) -> bytes:
    """The bytes: the token and a newline."""
    return token.encode() + b"\n"


def demand(sock: socket.socket, token: str, timeout: float = TIMEOUT) -> bool:
    """Read a preface and compare it in constant time. Not a byte behind it is read.

    :param sock: a connection; it blocks afterwards.
    :returns: whether it was the right one and came in time.
    """
    expected = preface(token)
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

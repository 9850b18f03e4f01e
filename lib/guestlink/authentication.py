"""Performs :mod:`guestlink.handshake` on sockets, blocking or of an event loop."""

from __future__ import annotations

import socket
import time

from guestlink.address import Address, TcpAddress
from guestlink.errors import reason
from guestlink.handshake import TIME_LIMIT, Handshake, HandshakeFailed

_KEEPALIVE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 15, socket.TCP_KEEPCNT: 8}
"""Seconds of silence until the first probe, seconds between two, and probes until a peer is gone (tcp(7)). A parked
connection is silent for hours."""


def needs_handshake(address: Address) -> bool:
    """Whether every connection to this address begins with a handshake. Over vsock it depends on the host: ChromeOS
    knows none."""
    return isinstance(address, TcpAddress)


def preload() -> None:
    """Import what a handshake needs, before a process forks those that perform one."""
    import hmac  # noqa: F401


def set_tcp_options(sock: socket.socket) -> None:
    """Send keys at once and notice a peer that is gone; sockets that are not TCP stay as they are.

    :raises OSError: the connection is gone.
    """
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def authenticate(sock: socket.socket, handshake: Handshake, timeout: float = TIME_LIMIT) -> None:
    """Perform a handshake; no byte after it is read.

    :param sock: a connection; it is blocking afterwards.
    :param timeout: seconds for the whole handshake.
    :raises HandshakeFailed: the other side did not prove itself in time; the caller closes the connection.
    """
    deadline = time.monotonic() + timeout
    try:
        sending = handshake.begin()
        while True:
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            if sending:
                sock.sendall(sending)
            if handshake.complete:
                break
            received = sock.recv(handshake.wanted)
            if not received:
                raise handshake.ended()
            sending = handshake.receive(received)
        sock.settimeout(None)
    except TimeoutError:
        raise handshake.ended() from None
    except OSError as error:
        raise _gone(handshake, error) from error


async def authenticate_soon(sock: socket.socket, handshake: Handshake, timeout: float = TIME_LIMIT) -> None:
    """Like :func:`authenticate`, on a non-blocking socket, which stays non-blocking."""
    import asyncio  # vshd and vsh use this module too, without asyncio

    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            sending = handshake.begin()
            while True:
                if sending:
                    await loop.sock_sendall(sock, sending)
                if handshake.complete:
                    return
                received = await loop.sock_recv(sock, handshake.wanted)
                if not received:
                    raise handshake.ended()
                sending = handshake.receive(received)
    except TimeoutError:
        raise handshake.ended() from None
    except OSError as error:
        raise _gone(handshake, error) from error


def _gone(handshake: Handshake, error: OSError) -> HandshakeFailed:
    failure = handshake.ended()
    return HandshakeFailed(f"{failure.message}: {reason(error)}", hint=failure.hint)

"""Relays the bytes of a connection to another one, in both directions."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from guestlink.errors import GuestlinkError

CHUNK = 64 * 1024
"""Bytes copied at a time; also what a connection buffers in each direction."""

Inspect: TypeAlias = Callable[[memoryview], Awaitable[None]]
"""Gets each piece before the relay passes the piece on; may wait; raises GuestlinkError to end the connection."""


async def relay(
    client: socket.socket,
    server: socket.socket,
    *,
    from_client: Inspect | None = None,
    from_server: Inspect | None = None,
    client_time: float | None = None,
) -> None:
    """Relay until both directions have ended.

    Each direction has a buffer of :data:`CHUNK` bytes and is read again only when the other side has taken the
    buffer. The directions end separately: after an end of file the other side gets all data, then an end of file.
    The caller closes the sockets.

    :param client: a connected, non-blocking socket; ``server`` likewise.
    :param from_client: inspects the client's bytes; ``from_server`` likewise.
    :param client_time: seconds within which the client has to take each piece; ``None`` waits for ever.
    :raises GuestlinkError: an inspection ended the connection, or the client took too long; nothing more is sent to
        either side.
    """
    directions = (_copy(client, server, from_client), _copy(server, client, from_server, client_time))
    for ending in await asyncio.gather(*directions, return_exceptions=True):
        if isinstance(ending, BaseException):
            raise ending


async def _copy(
    source: socket.socket, sink: socket.socket, inspect: Inspect | None, sink_time: float | None = None
) -> None:
    """Relay one direction until the source ends or the sink fails.

    In both cases shut down the sink for writing and the source for reading; the other direction continues until it
    ends in the same way.
    """
    loop = asyncio.get_running_loop()
    buffer = memoryview(bytearray(CHUNK))
    try:
        with contextlib.suppress(OSError):
            while count := await loop.sock_recv_into(source, buffer):
                if inspect is not None:
                    await inspect(buffer[:count])
                await _send(sink, buffer[:count], sink_time)
    except GuestlinkError:
        for sock in (source, sink):  # This ends the other direction, too.
            _shut_down(sock, socket.SHUT_RDWR)
        raise
    _shut_down(sink, socket.SHUT_WR)
    _shut_down(source, socket.SHUT_RD)


async def _send(sink: socket.socket, piece: memoryview, sink_time: float | None) -> None:
    try:
        async with asyncio.timeout(sink_time):
            await asyncio.get_running_loop().sock_sendall(sink, piece)
    except TimeoutError:
        raise GuestlinkError(f"a client took no answer for {sink_time:g} s; disconnected") from None


def _shut_down(sock: socket.socket, direction: int) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(direction)

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


class ClientStalled(GuestlinkError):
    """A client has not taken an answer in time."""


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
    :raises ClientStalled: the client took too long; nothing more is sent to either side.
    :raises GuestlinkError: an inspection ended the connection, likewise.
    """
    directions = (_one_way(client, server, from_client), _one_way(server, client, from_server, client_time))
    for ending in await asyncio.gather(*directions, return_exceptions=True):
        if isinstance(ending, BaseException):
            raise ending


async def _one_way(
    source: socket.socket, sink: socket.socket, inspect: Inspect | None, sink_time: float | None = None
) -> None:
    if inspect is None and sink_time is None:
        await _UnseenBytes(source, sink).relay()
    else:
        await _copy(source, sink, inspect, sink_time)


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
    if sink_time is None:
        await asyncio.get_running_loop().sock_sendall(sink, piece)
        return
    try:
        async with asyncio.timeout(sink_time):
            await asyncio.get_running_loop().sock_sendall(sink, piece)
    except TimeoutError:
        raise ClientStalled(f"a client took no answer for {sink_time:g} s; disconnected") from None


def _shut_down(sock: socket.socket, direction: int) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(direction)


class _UnseenBytes:
    """One direction of bytes that nobody inspects, which ends as in :func:`_copy`.

    It stays registered in the event loop, and so takes half the time of a direction that waits anew for each piece.
    """

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._sink = sink
        self._buffer = memoryview(bytearray(CHUNK))
        self._rest = self._buffer[:0]
        self._ended: asyncio.Future[None] = self._loop.create_future()

    async def relay(self) -> None:
        """Relay until the direction has ended."""
        self._loop.add_reader(self._source, self._readable)
        try:
            await self._ended
        finally:
            self._loop.remove_reader(self._source)
            self._loop.remove_writer(self._sink)

    def _readable(self) -> None:
        try:
            count = self._source.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        self._rest = self._buffer[:count]
        if not count or not self._send():
            self._end()
        elif self._rest:
            self._loop.remove_reader(self._source)
            self._loop.add_writer(self._sink, self._writable)

    def _writable(self) -> None:
        if not self._send():
            self._end()
        elif not self._rest:
            self._loop.remove_writer(self._sink)
            self._loop.add_reader(self._source, self._readable)

    def _send(self) -> bool:
        """Send what the sink takes of the rest; returns whether the sink is open."""
        try:
            self._rest = self._rest[self._sink.send(self._rest) :]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def _end(self) -> None:
        self._loop.remove_reader(self._source)
        self._loop.remove_writer(self._sink)
        _shut_down(self._sink, socket.SHUT_WR)
        _shut_down(self._source, socket.SHUT_RD)
        if not self._ended.done():
            self._ended.set_result(None)

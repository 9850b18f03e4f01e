"""Counts the calls on one HTTP/2 connection of gRPC, and the bytes of requests that have no answer yet. Pure.

gRPC keeps what an unfinished request has sent, up to its message limit for each stream, and nothing in its options
bounds all streams together. The frames' headers (RFC 9113 section 4.1) tell it; their contents are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes of a client (RFC 9113 section 3.4). A client sends them without waiting for the server."""

_HEADER = 9
_DATA, _HEADERS, _RST_STREAM, _CONTINUATION = 0x0, 0x1, 0x3, 0x9
_END_STREAM = 0x1
_REQUEST_FRAMES = frozenset({_DATA, _HEADERS, _CONTINUATION})


class Frame(NamedTuple):
    """The header of a frame."""

    length: int
    kind: int
    flags: int
    stream: int


class Frames:
    """Finds the headers of frames in one direction of a connection, in pieces of any length."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._payload_left = 0

    def feed(self, data: memoryview) -> Iterator[Frame]:
        """The frames whose headers end in the next piece."""
        position, end = 0, len(data)
        while position < end:
            skipped = min(self._payload_left, end - position)
            self._payload_left -= skipped
            position += skipped
            piece = data[position : position + _HEADER - len(self._header)]
            position += len(piece)
            self._header += piece
            if len(self._header) == _HEADER:
                header = bytes(self._header)
                self._header.clear()
                self._payload_left = int.from_bytes(header[:3], "big")
                stream = int.from_bytes(header[5:], "big") & 0x7FFFFFFF
                yield Frame(self._payload_left, header[3], header[4], stream)


class CallMeter:
    """The open calls of one connection.

    :ivar unanswered: bytes of the requests of open calls.
    :ivar frames: frames that the client has sent; ``calls`` likewise the calls that it has begun.
    """

    def __init__(self) -> None:
        self.unanswered = 0
        self.frames = 0
        self.calls = 0
        self._from_client = Frames()
        self._from_server = Frames()
        self._open: dict[int, int] = {}
        self._unfinished: dict[int, float] = {}

    def __len__(self) -> int:
        """How many calls are open."""
        return len(self._open)

    @property
    def unfinished(self) -> int:
        """How many open calls have a request that is not complete yet."""
        return len(self._unfinished)

    @property
    def unfinished_since(self) -> float | None:
        """When the oldest request began that is not complete yet."""
        return next(iter(self._unfinished.values()), None)

    def received(self, data: memoryview, now: float) -> None:
        """Count bytes from the client, after the preface."""
        for frame in self._from_client.feed(data):
            self.frames += 1
            if frame.kind == _RST_STREAM:
                self._end(frame.stream)
            elif frame.kind in _REQUEST_FRAMES:
                if frame.kind == _HEADERS and frame.stream not in self._open:
                    self.calls += 1
                    self._open[frame.stream] = 0
                    self._unfinished[frame.stream] = now
                if frame.stream in self._open:
                    self._open[frame.stream] += frame.length
                    self.unanswered += frame.length
                if frame.kind != _CONTINUATION and frame.flags & _END_STREAM:
                    self._unfinished.pop(frame.stream, None)

    def sent(self, data: memoryview) -> None:
        """Count bytes from the server."""
        for frame in self._from_server.feed(data):
            is_last = frame.kind in (_DATA, _HEADERS) and frame.flags & _END_STREAM
            if is_last or frame.kind == _RST_STREAM:
                self._end(frame.stream)

    def _end(self, stream: int) -> None:
        self.unanswered -= self._open.pop(stream, 0)
        self._unfinished.pop(stream, None)

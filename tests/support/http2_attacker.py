"""A client that speaks HTTP/2 by hand, for requests that no gRPC library would send."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from types import TracebackType

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
_INITIAL_WINDOW = 4


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """One frame (RFC 9113 section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header_block(rpc: str, service: str = "vm_tools.container.ContainerListener", encoding: str = "") -> bytes:
    """The headers of a gRPC call, as literals without Huffman codes (RFC 7541 section 6.2.2)."""
    fields = {
        ":method": "POST", ":scheme": "http", ":path": f"/{service}/{rpc}", ":authority": "localhost",
        "content-type": "application/grpc", "te": "trailers",
    }  # fmt: skip
    if encoding:
        fields["grpc-encoding"] = encoding
    texts = ((name.encode(), value.encode()) for name, value in fields.items())
    return b"".join(b"\0" + bytes([len(n)]) + n + bytes([len(v)]) + v for n, v in texts)


class Attacker:
    """One connection that keeps to HTTP/2's flow control, so that the server takes what the attacker sends.

    :ivar is_closed: whether the server has ended the connection.
    :ivar ended: the streams that the server has ended; ``answered`` likewise those that it has not reset.
    """

    def __init__(self, path: str, *, preface: bytes = PREFACE + frame(SETTINGS)) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(1)
        self.is_closed = False
        self.ended: set[int] = set()
        self.answered: set[int] = set()
        try:
            self.sock.connect(path)
        except OSError:  # Its backlog is full.
            self.is_closed = True
            self.sock.close()
        self._windows = {0: 65535}
        self._initial = 65535
        self._next = 1
        self._read = bytearray()
        self.send(preface)

    def __enter__(self) -> Attacker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send bytes, unless the server has ended the connection."""
        if not self.is_closed:
            try:
                self.sock.sendall(data)
            except OSError:
                self.is_closed = True

    def begin(self, rpc: str, flags: int = END_HEADERS, encoding: str = "") -> int:
        """Begin a call; returns its stream.

        :param encoding: how its messages are compressed.
        """
        stream, self._next = self._next, self._next + 2
        self._windows[stream] = self._initial
        self.send(frame(HEADERS, flags, stream, header_block(rpc, encoding=encoding)))
        return stream

    def data(self, stream: int, content: bytes, flags: int = 0) -> int:
        """Send as much of a request as the server's windows allow, in one frame; returns how much."""
        self.read()
        size = max(0, min(len(content), self._windows[stream], self._windows[0], 16384))
        if size:
            self._windows[0] -= size
            self._windows[stream] -= size
            self.send(frame(DATA, flags if size == len(content) else 0, stream, content[:size]))
        return size

    def message(
        self,
        stream: int,
        declared: int,
        content: bytes,
        flags: int = 0,
        limit: float = 5.0,
        *,
        is_compressed: bool = False,
    ) -> int:
        """Send a message of gRPC, for as long as the server takes it.

        :param declared: its length, as its prefix says.
        :param limit: seconds after which the server counts as taking no more.
        :returns: how much of the content was sent.
        """
        left = bytes([is_compressed]) + struct.pack(">I", declared) + content
        end = time.monotonic() + limit
        while left and stream not in self.ended and not self.is_closed and time.monotonic() < end:
            size = self.data(stream, left, flags)
            left = left[size:]
            if not size:
                self.read(0.05)
        return len(content) - len(left)

    def read(self, wait: float = 0.0) -> None:
        """Read what the server has sent."""
        while not self.is_closed and select.select([self.sock], [], [], wait)[0]:
            wait = 0.0
            with contextlib.suppress(BlockingIOError):
                try:
                    piece = self.sock.recv(65536)
                except OSError:
                    piece = b""
                self.is_closed = not piece
                self._read += piece
        while len(self._read) >= 9 and len(self._read) >= 9 + (size := int.from_bytes(self._read[:3], "big")):
            kind, flags, stream = struct.unpack_from(">BBI", self._read, 3)
            self._take(kind, flags, stream & 0x7FFFFFFF, bytes(self._read[9 : 9 + size]))
            del self._read[: 9 + size]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._windows[stream] = self._windows.get(stream, self._initial) + struct.unpack(">I", payload)[0]
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == SETTINGS and not flags & ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == _INITIAL_WINDOW:
                    change, self._initial = value - self._initial, value
                    for each in self._windows:
                        self._windows[each] += change if each else 0
            self.send(frame(SETTINGS, ACK))
        elif kind in (DATA, HEADERS) and flags & END_STREAM:
            self.answered.add(stream)
            self.ended.add(stream)
        elif kind == RST_STREAM:
            self.ended.add(stream)

    def call(self, rpc: str, request: bytes, limit: float) -> None:
        """Make a whole call, as an honest client does, and wait for the answer, whatever it says."""
        stream = self.begin(rpc)
        assert self.message(stream, len(request), request, END_STREAM, limit) == len(request)
        end = time.monotonic() + limit
        while stream not in self.answered:
            assert not self.is_closed, f"the server disconnected at {rpc}"
            assert time.monotonic() < end, f"no answer to {rpc}"
            self.read(0.05)

    def until_closed(self, limit: float) -> None:
        """Wait until the server has ended the connection."""
        end = time.monotonic() + limit
        while not self.is_closed:
            assert time.monotonic() < end, "the server keeps the connection"
            self.read(0.05)

"""A channel over TCP, which passes no descriptors, and the host's half of it: a second implementation of the seam.

Both halves send frames: a kind, a length and a payload. A ``WIRE`` frame holds bytes of the Wayland stream. A
``MEMORY`` frame holds the contents of a memory file, whose descriptor goes with the first byte of the next ``WIRE``
frame; the other half makes a memory file of its own with these contents. No other descriptor can be sent.
"""

from __future__ import annotations

import array
import os
import socket
import stat
import threading
from collections import deque
from pathlib import Path
from struct import Struct

from sommelier_shim.channel import DescriptorRefused, HostUnreachable
from sommelier_shim.core.wire import Buffer

WIRE, MEMORY = range(2)
_FRAME = Struct("<BI")
_CHUNK = 3968
"""Maximum of bytes in a ``WIRE`` frame, as in virtwl (chromeos-sommelier.md §5.3)."""
_BUFFER = 4096
"""Size of the sockets' buffers: small, so that most sends are partial."""


class StreamTransport:
    """One connection of a :class:`StreamChannel`.

    :ivar partial: number of sends in which a frame's payload or header did not fit.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unsent = b""  # what the next payload byte has to wait for
        self._owed = 0  # bytes of the payload that the last WIRE header has announced
        self._left = 0  # bytes to come of the WIRE frame that is being received
        self._head = b""  # the incomplete header, or MEMORY frame, that is being received
        self.partial = 0

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, data: Buffer, descriptors: list[int] | None, /) -> int:
        if not self._owed:
            memory = b"".join(_memory_frame(descriptor) for descriptor in descriptors or ())
            self._owed = min(len(data), _CHUNK)
            self._unsent = memory + _FRAME.pack(WIRE, self._owed)
        try:
            while self._unsent:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
            sent = self._sock.send(memoryview(data)[: self._owed])
        except BlockingIOError:
            self.partial += 1
            raise
        self._owed -= sent
        for descriptor in descriptors or ():
            os.close(descriptor)
        return sent

    def receive(self, space: memoryview, descriptors: deque[int], /) -> int:
        while not self._left:
            need = _FRAME.size
            if len(self._head) >= need:
                need += _FRAME.unpack_from(self._head)[1]
            part = self._sock.recv(need - len(self._head))
            if not part:
                return 0
            self._head += part
            if len(self._head) < _FRAME.size:
                continue
            kind, length = _FRAME.unpack_from(self._head)
            if kind == WIRE:
                self._left = length
                self._head = b""
            elif len(self._head) == _FRAME.size + length:
                descriptors.append(_memory(self._head[_FRAME.size :]))
                self._head = b""
        count = self._sock.recv_into(space, min(self._left, len(space)))
        self._left -= count
        return count

    def close(self) -> None:
        self._sock.close()


class StreamChannel:
    """Connects to a :class:`HostHalf`.

    :ivar transports: the transports so far.
    """

    path = ""

    def __init__(self, port: int) -> None:
        self._port = port
        self.transports: list[StreamTransport] = []

    def connect(self) -> StreamTransport:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        try:
            sock.connect(("127.0.0.1", self._port))
        except OSError:
            sock.close()
            raise HostUnreachable("the host's half of the stream channel is not there") from None
        sock.setblocking(False)
        self.transports.append(StreamTransport(sock))
        return self.transports[-1]


class HostHalf:
    """Accepts streams, and connects each to a compositor's socket. Two threads serve a stream, one a direction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)  # its connections inherit it
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """Close every stream, and wait for the threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for sock in self._sockets:
            _shut_down(sock)
        for thread in self._threads[1:]:
            thread.join()
        for sock in self._sockets:
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            compositor = socket.socket(socket.AF_UNIX)
            compositor.connect(str(self._path))
            self._sockets += [stream, compositor]
            for target in (_to_compositor, _to_stream):
                self._threads.append(threading.Thread(target=_until_end, args=(target, stream, compositor)))
                self._threads[-1].start()


def _until_end(target: object, stream: socket.socket, compositor: socket.socket) -> None:
    assert callable(target)
    try:
        while target(stream, compositor):
            pass
    except OSError:
        pass
    _shut_down(stream)
    _shut_down(compositor)


def _to_compositor(stream: socket.socket, compositor: socket.socket) -> bool:
    """Pass one ``WIRE`` frame on, with the memory files before it."""
    files: list[int] = []
    while head := stream.recv(_FRAME.size, socket.MSG_WAITALL):
        kind, length = _FRAME.unpack(head)
        payload = stream.recv(length, socket.MSG_WAITALL) if length else b""
        if kind == WIRE:
            _send_all(compositor, payload, files)
            return True
        files.append(_memory(payload))
    return False


def _to_stream(stream: socket.socket, compositor: socket.socket) -> bool:
    data, ancillary, _, _ = compositor.recvmsg(_CHUNK, socket.CMSG_SPACE(253 * 4), socket.MSG_CMSG_CLOEXEC)
    for _, _, raw in ancillary:
        for descriptor in array.array("i", raw):
            stream.sendall(_memory_frame(descriptor))
            os.close(descriptor)
    if data:
        stream.sendall(_FRAME.pack(WIRE, len(data)) + data)
    return bool(data)


def _send_all(sock: socket.socket, data: bytes, files: list[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
    sent = sock.sendmsg([data], rights)
    for descriptor in files:
        os.close(descriptor)
    sock.sendall(data[sent:])


def _memory_frame(descriptor: int) -> bytes:
    """
    :raises DescriptorRefused: the descriptor is not a memory file.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise DescriptorRefused("this channel sends memory files, no other descriptors")
    return _FRAME.pack(MEMORY, status.st_size) + os.pread(descriptor, status.st_size, 0)


def _memory(contents: bytes) -> int:
    descriptor = os.memfd_create("stream", os.MFD_CLOEXEC)
    os.write(descriptor, contents)
    return descriptor


def _shut_down(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass

"""The channel through the compositor's socket, which the container manager mounts (chromeos-sommelier.md §5.2)."""

from __future__ import annotations

import errno
import os
import socket
from array import array
from collections import deque

from guestlink.errors import reason
from sommelier_shim.channel import HostBusy, HostUnreachable
from sommelier_shim.core.wire import DESCRIPTORS_PER_SEND, DESCRIPTORS_RECEIVED, IMPLEMENTATION, Buffer, WireError

_ANCILLARY = socket.CMSG_SPACE(DESCRIPTORS_RECEIVED * 4)
_RECEIVING = int(socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
_SENDING = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_LOST = int(socket.MSG_CTRUNC)
"""Ints, because each operation on an IntFlag takes 0.4 µs."""


class SocketTransport:
    """A connection through a Unix stream socket, to the host or to a client. Descriptors pass through unchanged.

    :param sock: connected; the transport owns it.
    """

    __slots__ = ("_receive", "_send", "_sock", "fileno")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._receive = sock.recvmsg_into
        self._send = sock.send
        self.fileno = sock.fileno

    def receive(self, space: memoryview, descriptors: deque[int], /) -> int:
        """Receive once; see :class:`~sommelier_shim.channel.Transport`."""
        count, ancillary, flags, _ = self._receive((space,), _ANCILLARY, _RECEIVING)
        if ancillary:
            for _, _, data in ancillary:
                received = array("i")
                received.frombytes(data[: len(data) - len(data) % received.itemsize])
                descriptors.extend(received)
        if flags & _LOST and count:
            raise WireError("descriptors were lost: this process has too many open", IMPLEMENTATION)
        return count

    def send(self, data: Buffer, descriptors: list[int] | None, /) -> int:
        """Send once; see :class:`~sommelier_shim.channel.Transport`."""
        if not descriptors:
            return self._send(data, _SENDING)
        assert len(descriptors) <= DESCRIPTORS_PER_SEND
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))]
        sent = self._sock.sendmsg([data], rights, _SENDING)
        for descriptor in descriptors:
            os.close(descriptor)
        return sent

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


class SocketChannel:
    """Connects to a compositor's socket.

    :param path: path of the socket.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def connect(self) -> SocketTransport:
        """A new connection.

        :raises HostUnreachable: no process listens on the socket.
        :raises HostBusy: the socket's listen queue is full.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect(self.path)
        except OSError as error:
            sock.close()
            raise connect_error(self.path, error) from None
        return SocketTransport(sock)


def connect_error(path: str, error: OSError) -> HostBusy | HostUnreachable:
    """The exception for a failed connect(2) to a compositor's socket."""
    if error.errno == errno.EAGAIN:
        return HostBusy()
    return HostUnreachable(
        f"the host compositor at {path} cannot be reached: {reason(error)}",
        hint="start it, or name its socket with --display",
    )

"""The client's connection: bytes in, events out; messages wait in a queue while the client does not read them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable

from guestlink.backlog import Backlog
from guestlink.errors import reason
from guestlink.vsh import ProtocolError, ServerProtocol
from guestlink.vsh.messages import FromClient

_RECEIVE_SMALL, _RECEIVE_LARGE = 4 * 1024, 256 * 1024
"""Bytes of one receive, for a person's keys and for a flood; a large buffer costs time even if few bytes arrive."""


class Gone(Exception):
    """The client has disconnected, or has sent something after which the session must end; the text says which."""


class Client:
    """A connected client.

    :param sock: a connected socket; :meth:`close` closes it.
    :ivar backlog: bytes that the client has not taken yet.
    """

    __slots__ = ("_protocol", "_receive_size", "backlog", "sock")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.backlog = Backlog()
        self._protocol = ServerProtocol()
        self._receive_size = _RECEIVE_SMALL

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.sock.fileno()

    @property
    def has_begun(self) -> bool:
        """Whether the client has sent its setup."""
        return self._protocol.has_begun

    def receive(self, *, may_lend: bool) -> bytes | int | None:
        """Receive once.

        :param may_lend: whether bytes of a flood may stay in the protocol's buffers, which costs a fraction.
        :returns: bytes for :meth:`keys` or :meth:`events`, the number of bytes for :meth:`lent_events`, or ``None``
            if there is nothing to receive now.
        :raises Gone: the client has disconnected.
        """
        spaces = self._protocol.spaces() if may_lend else None
        sock = self.sock
        try:
            received = sock.recv(self._receive_size) if spaces is None else sock.recvmsg_into(spaces)[0]
        except BlockingIOError:
            return None
        except OSError as error:
            raise Gone(reason(error)) from error
        if not received:
            raise Gone("it hung up")
        return received

    def keys(self, data: bytes) -> bytes:
        """See :meth:`~guestlink.vsh.ServerProtocol.keys`."""
        return self._protocol.keys(data)

    def events(self, data: bytes) -> Iterable[FromClient]:
        """Decode received bytes.

        :raises Gone: the client broke the protocol.
        """
        self._receive_size = _RECEIVE_LARGE if len(data) >= _RECEIVE_SMALL else _RECEIVE_SMALL
        try:
            return self._protocol.feed(data)
        except ProtocolError as error:
            # The events before the error are dropped: the program that would get them gets SIGHUP now.
            raise Gone(f"it broke the protocol: {error}") from error

    def lent_events(self, count: int) -> Iterable[FromClient]:
        """Decode bytes that :meth:`receive` has left in the protocol's buffers; the events' data is valid until the
        next call.

        :raises Gone: the client broke the protocol.
        """
        try:
            return self._protocol.received(count)
        except ProtocolError as error:
            raise Gone(f"it broke the protocol: {error}") from error

    def send(self, *buffers: bytes | memoryview) -> None:
        """Send the queue and then the buffers, as far as the client takes them.

        :raises Gone: the client has disconnected.
        """
        try:
            self.backlog.send(self.sock, buffers)
        except OSError as error:
            raise Gone(reason(error)) from error

    def shutdown(self, how: int) -> None:
        """Shut down one direction or both, if the client is still connected."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(how)

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

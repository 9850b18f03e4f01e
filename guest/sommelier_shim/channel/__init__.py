"""The seam between the proxy and its peers: channels, and the transports that they open.

A channel opens a transport for each client, and one for the proxy itself. A transport carries one Wayland
connection: a stream of bytes, and descriptors in the order of the messages that use them. Sessions, the host link
and the outlet know nothing else of the host; every socket is in :mod:`sommelier_shim.channel.unix_socket`.

What a channel out of a virtual machine does beyond that stays behind its transports (chromeos-sommelier.md §5.1):

- Chunks: :meth:`Transport.send` may send less than it gets, and :meth:`Transport.receive` may return any part of
  the stream. Message boundaries do not matter.
- Descriptors: a transport replaces each descriptor by a name of the other side (buffer memory, a pipe). It
  refuses a kind that has no such name with :class:`DescriptorRefused`. For each name that it receives it appends a
  descriptor.
- Pipes: a channel is constructed with the proxy's loop. The channel watches the local ends of its pipes there, and
  stops reading one end while the other is full. Pipe data and other frames of the channel's own are not part of the
  stream: :meth:`Transport.receive` handles them, and raises ``BlockingIOError`` if nothing else has come.
- Buffer memory that the host shares: the channel allocates it. Everybody else sees a descriptor, which the
  transport recognises in :meth:`Transport.send`.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from guestlink.errors import GuestlinkError
from sommelier_shim.core.wire import Buffer


class HostUnreachable(GuestlinkError):
    """The host's compositor does not listen."""


class HostBusy(Exception):
    """The host's compositor does not accept a connection at the moment; try again."""


class DescriptorRefused(Exception):
    """A transport cannot send a descriptor of this kind. The text is the reason, for the client's developer."""


class Transport(Protocol):
    """One Wayland connection, to a client or to the host. It never blocks."""

    def fileno(self) -> int:
        """The descriptor to poll: readable when :meth:`receive` has work, writable when :meth:`send` can go on."""

    def receive(self, space: memoryview, descriptors: deque[int], /) -> int:
        """Receive once.

        :param space: where the bytes go; :param descriptors: the transport appends those that came with the bytes.
            The caller owns them, even after an exception.
        :returns: the number of bytes; 0 when the peer has closed the connection.
        :raises BlockingIOError: nothing has come.
        :raises WireError: descriptors were lost; the connection is useless.
        :raises OSError: the connection has failed.
        """

    def send(self, data: Buffer, descriptors: list[int] | None, /) -> int:
        """Send the beginning of ``data``, and all the descriptors with the first byte of it.

        The transport closes the descriptors once a byte is sent; before that, the caller owns them. After a partial
        send the caller sends the rest before anything else.

        :param descriptors: at most ``DESCRIPTORS_PER_SEND``.
        :returns: the number of bytes sent, at least 1.
        :raises BlockingIOError: the transport is full: try again when it is writable.
        :raises OSError: ``ETOOMANYREFS``: try again later. Any other: the connection has failed.
        :raises DescriptorRefused: a descriptor cannot be sent.
        """

    def close(self) -> None:
        """Close the connection."""


class CompositorChannel(Protocol):
    """A way to connect to the host.

    :ivar path: path of the host's socket, so that another process can connect to it on a client's behalf and the
        host can get a listening socket for sandboxed clients; "" for a channel that is not a socket.
    """

    path: str

    def connect(self) -> Transport:
        """A new connection to the compositor.

        :raises HostUnreachable: the compositor does not listen.
        :raises HostBusy: the compositor does not accept the connection at the moment.
        """

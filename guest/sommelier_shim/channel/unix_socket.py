"""The channel through the compositor's socket, which the container manager mounts (chromeos-sommelier.md §5.2)."""

from __future__ import annotations

import socket

from guestlink.errors import reason
from sommelier_shim.channel import HostBusy, HostUnreachable


class SocketChannel:
    """Connects to a compositor's socket. Descriptors pass through unchanged.

    :param path: path of the socket.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def connect(self) -> socket.socket:
        """A new connection.

        :raises HostUnreachable: no process listens on the socket.
        :raises HostBusy: the socket's listen queue is full.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect(self.path)
        except BlockingIOError:
            sock.close()
            raise HostBusy from None
        except OSError as error:
            sock.close()
            raise unreachable(self.path, error) from error
        return sock


def unreachable(path: str, error: OSError) -> HostUnreachable:
    """The error for a socket to which a connection failed."""
    return HostUnreachable(
        f"the host compositor at {path} cannot be reached: {reason(error)}",
        hint="start it, or name its socket with --display",
    )

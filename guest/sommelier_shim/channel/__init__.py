"""Channels: ways to connect to the host's compositor.

A channel opens a non-blocking Wayland stream socket for each client. A channel out of a virtual machine copies data
between its transport and the other end of a socket pair (chromeos-sommelier.md §5.1).
"""

from __future__ import annotations

import socket
from typing import Protocol

from guestlink.errors import GuestlinkError


class HostUnreachable(GuestlinkError):
    """The host's compositor does not listen."""


class HostBusy(Exception):
    """The host's compositor does not accept a connection at the moment; try again."""


class Channel(Protocol):
    """A way to connect to the host.

    :ivar path: path of the host's socket for clients.
    """

    path: str

    def connect(self) -> socket.socket:
        """A new connection to the compositor.

        :raises HostUnreachable: the compositor does not listen.
        :raises HostBusy: the compositor does not accept the connection at the moment.
        """

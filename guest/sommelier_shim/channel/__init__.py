"""Ways to reach the host's compositor.

A channel yields a non-blocking stream socket that speaks Wayland for each client. One that crosses the border of
a virtual machine pumps the other end of a socket pair (chromeos-sommelier.md §5.1).
"""

from __future__ import annotations

import socket
from typing import Protocol

from guestlink.errors import GuestlinkError


class HostUnreachable(GuestlinkError):
    """The host's compositor is not there."""


class HostBusy(Exception):
    """The host's compositor does not accept a connection at the moment; try again."""


class Channel(Protocol):
    """A way to the host.

    :ivar path: of the socket at which clients find the host.
    """

    path: str

    def connect(self) -> socket.socket:
        """A new connection to the compositor.

        :raises HostUnreachable: it is not there.
        :raises HostBusy: it does not accept now.
        """

"""What a service says to its manager (sd_notify(3))."""

from __future__ import annotations

import logging
import os
import socket

_log = logging.getLogger(__name__)

_TIMEOUT = 5.0
"""Seconds that a busy manager may take for one message."""


class NotifySocket:
    """Sends to the socket in ``NOTIFY_SOCKET``, and takes the variable out of the environment.

    Nothing happens where there is none. A socket that nobody serves, as a copied environment may name one, is given
    up: a service works without its manager.

    :param keeps_variable: leave the variable to a program that takes our place.
    """

    def __init__(self, *, keeps_variable: bool = False) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        if not keeps_variable:
            os.environ.pop("NOTIFY_SOCKET", None)
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None

    def send(self, text: str) -> None:
        """Send assignments, for example ``READY=1``."""
        if not self._address:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.settimeout(_TIMEOUT)
            self._socket.sendto(text.encode(errors="replace"), self._address)
        except (OSError, ValueError) as error:
            _log.info("the service manager does not listen at NOTIFY_SOCKET: %s", error)
            self.close()

    def close(self) -> None:
        """Close the socket; nothing is sent any more."""
        self._address = ""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

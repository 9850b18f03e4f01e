"""Sends a service's state to its manager (sd_notify(3)), with the library sdnotify."""

from __future__ import annotations

import os
from typing import Any

_TIMEOUT = 5.0
"""Seconds that a busy manager may take for one message."""


class NotifySocket:
    """Sends to the socket in ``NOTIFY_SOCKET``, and removes the variable from the environment.

    Without the variable nothing is sent. A socket without a server, as in a copied environment, is ignored: a
    service works without its manager.

    :param keeps_variable: keep the variable for the program that replaces this one (execve(2)).
    """

    def __init__(self, *, keeps_variable: bool = False) -> None:
        self._notifier: Any = None
        if os.environ.get("NOTIFY_SOCKET"):
            import sdnotify  # Most vshds, and every command, have no manager.

            self._notifier = sdnotify.SystemdNotifier()
            if self._notifier.socket is not None:
                self._notifier.socket.settimeout(_TIMEOUT)
        if not keeps_variable:
            os.environ.pop("NOTIFY_SOCKET", None)

    def send(self, text: str) -> None:
        """Send assignments, for example ``READY=1``."""
        if self._notifier is not None:
            # sdnotify encodes as Latin-1 and drops other characters; systemd reads UTF-8.
            self._notifier.notify(text.encode(errors="replace").decode("latin-1"))

    def close(self) -> None:
        """Close the socket; later messages are dropped."""
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()
        self._notifier = None

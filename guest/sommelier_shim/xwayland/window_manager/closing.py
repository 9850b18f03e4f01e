"""Closing a window: WM_DELETE_WINDOW, and the end of a program that does not answer _NET_WM_PING. Pure."""

from __future__ import annotations

from collections.abc import Callable

from sommelier_shim.xwayland.window_manager.atoms import Atoms
from sommelier_shim.xwayland.window_manager.client_messages import send_protocol
from sommelier_shim.xwayland.window_manager.window import Window
from sommelier_shim.xwayland.x11.connection import X11Connection
from sommelier_shim.xwayland.x11.messages import KillClient

PATIENCE = 5.0
"""Seconds that a program may leave a ping unanswered before another click on its close button ends it."""


class Closing:
    """What the user has closed.

    :param clock: the time in seconds, which never goes back.
    """

    def __init__(self, x: X11Connection, atoms: Atoms, clock: Callable[[], float]) -> None:
        self._x = x
        self._atoms = atoms
        self._clock = clock
        self._pinged: dict[int, float] = {}

    def close(self, window: Window) -> None:
        """The user closes a window. A program that knows no message for it is disconnected (ICCCM §4.2.8.1), and so
        is one that has not answered the ping of an earlier try."""
        since = self._pinged.get(window.number)
        is_stuck = since is not None and self._clock() - since >= PATIENCE
        if is_stuck or not window.speaks("WM_DELETE_WINDOW"):
            self._x.request(KillClient(window.number))
            return
        send_protocol(self._x, self._atoms, window.number, "WM_DELETE_WINDOW")
        if since is None and window.speaks("_NET_WM_PING"):
            self._pinged[window.number] = self._clock()
            send_protocol(self._x, self._atoms, window.number, "_NET_WM_PING", 0, window.number)

    def answered(self, number: int) -> None:
        """The program has answered the ping of a window."""
        self._pinged.pop(number, None)

    def forget(self, number: int) -> None:
        """A window is gone."""
        self._pinged.pop(number, None)

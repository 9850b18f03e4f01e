"""The keyboard focus of X windows, by the four input models of ICCCM §4.1.7. Pure.

=============== ============= ================ ==========================================
Model           WM_HINTS.input WM_TAKE_FOCUS   The window manager
=============== ============= ================ ==========================================
no input        False         no               takes the focus from all windows
passive         True          no               sets the focus
locally active  True          yes              sets the focus and sends WM_TAKE_FOCUS
globally active False         yes              takes the focus from all, sends WM_TAKE_FOCUS
=============== ============= ================ ==========================================

WM_TAKE_FOCUS contains a time of the server, with which the program sets the focus; the server ignores it if that is
before the last change of the focus. So the window manager changes a property of its own, and sends the message when
the event with the time arrives.
"""

from __future__ import annotations

from sommelier_shim.xwayland.window_manager.client_messages import send_protocol
from sommelier_shim.xwayland.window_manager.root_window import RootWindow
from sommelier_shim.xwayland.window_manager.window import Window
from sommelier_shim.xwayland.x11.connection import X11Connection
from sommelier_shim.xwayland.x11.messages import InputFocus, SetInputFocus


class Focus:
    """Which window has the focus.

    :param x: the connection to the server.
    :ivar window: the number of the window that the host has activated, ``None`` for none.
    """

    def __init__(self, x: X11Connection) -> None:
        self.window: int | None = None
        self._x = x
        self._awaits_time: Window | None = None

    def move(self, root: RootWindow, window: Window | None) -> None:
        """Give the focus to a window, or take it from all."""
        self.window = window.number if window is not None else None
        self._awaits_time = None
        root.set_active(self.window or 0)
        if window is not None and window.hints.takes_input:
            self._x.request(SetInputFocus(InputFocus.PARENT, window.number, 0))
        else:
            self._x.request(SetInputFocus(InputFocus.NONE, 0, 0))
        if window is not None and window.speaks("WM_TAKE_FOCUS"):
            self._awaits_time = window
            root.ask_time()

    def timed(self, root: RootWindow, time: int) -> None:
        """The server has told its time, in milliseconds."""
        window, self._awaits_time = self._awaits_time, None
        if window is not None and window.number == self.window:
            send_protocol(self._x, root.atoms, window.number, "WM_TAKE_FOCUS", time)

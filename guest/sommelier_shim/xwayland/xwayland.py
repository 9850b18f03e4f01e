"""Runs Xwayland with its window manager: the process, its connection to the host, and the X connection."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sommelier_shim.daemon.children import RunningProgram, start_program
from sommelier_shim.daemon.loop import READABLE, WRITABLE, Loop, Timer
from sommelier_shim.daemon.proxy_server import ProxyServer
from sommelier_shim.xwayland.clipboard import Clipboard
from sommelier_shim.xwayland.display import XDisplay
from sommelier_shim.xwayland.drags import Drags
from sommelier_shim.xwayland.surfaces import Surfaces
from sommelier_shim.xwayland.window_manager.manager import AnotherWindowManager, WindowManager
from sommelier_shim.xwayland.x11.connection import X11Connection
from sommelier_shim.xwayland.x11.layout import X11WireError

_log = logging.getLogger(__name__)

_RECEIVE_SIZE = 4096
"""Bytes of one read from the X server. While we handle them, nobody reads Xwayland's Wayland connection, and
Xwayland exits when that has no room for a descriptor: a program that opens 900 windows at once fills it."""
_SEND_BUFFER = 1 << 20
"""Bytes of that socket's buffer; the kernel may give less (socket(7), wmem_max)."""
_OF_DISPLAYS = ("WAYLAND_DISPLAY", "WAYLAND_SOCKET", "DISPLAY")


class XwaylandSettings(NamedTuple):
    """How Xwayland is started.

    :ivar program: the words that start it.
    :ivar switches: further arguments.
    :ivar environ: its environment.
    """

    program: tuple[str, ...]
    switches: tuple[str, ...]
    environ: Mapping[str, str]


class Xwayland:
    """One run of Xwayland.

    :param display: its display.
    :param server: serves its Wayland connection, with the hooks of ``surfaces``.
    :param surfaces: makes roles of its windows.
    :param manager: its window manager, on ``x``.
    :param selections: its selections and drags.
    :param ended: called once with the exit status when Xwayland has ended.
    :raises GuestlinkError: Xwayland cannot be started.
    """

    def __init__(
        self,
        loop: Loop,
        display: XDisplay,
        server: ProxyServer,
        surfaces: Surfaces,
        manager: WindowManager,
        selections: Sequence[Clipboard | Drags],
        x: X11Connection,
        settings: XwaylandSettings,
        ended: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._surfaces = surfaces
        self._manager = manager
        self._selections = selections
        self._x = x
        self._ended = ended
        self._timer: Timer | None = None
        self._deadline: float | None = None
        wayland, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._socket, wm = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        inherited = [theirs.fileno(), wm.fileno(), *(one.fileno() for one in display.listeners)]
        argv = [*settings.program, display.name, "-rootless", "-nolisten", "tcp", *settings.switches]
        argv += ["-wm", str(wm.fileno())]
        for listener in display.listeners:
            argv += ["-listenfd", str(listener.fileno())]
        for descriptor in inherited:
            os.set_inheritable(descriptor, True)
        variables = {key: value for key, value in settings.environ.items() if key not in _OF_DISPLAYS}
        try:
            with theirs, wm:
                variables["WAYLAND_SOCKET"] = str(theirs.fileno())
                self._child: RunningProgram = start_program(loop, argv, variables, self._gone)
        except BaseException:
            wayland.close()
            self._socket.close()
            raise
        finally:
            for listener in display.listeners:
                os.set_inheritable(listener.fileno(), False)
        server.serve(wayland, pid=self._child.pid)
        self._output = b""
        self._watched = READABLE
        loop.add(self._socket.fileno(), READABLE, self._ready)
        self.flush()

    def close(self) -> None:
        """End Xwayland."""
        for selection in self._selections:
            selection.close()
        self._disconnect()
        self._child.close()

    def flush(self) -> None:
        """Send the window manager's requests, to the X server and to the host."""
        self._surfaces.apply()
        for selection in self._selections:
            selection.apply()
        self.send()

    def send(self) -> None:
        """Send the window manager's requests to the X server."""
        if self._socket.fileno() >= 0 and (data := self._x.data_to_send()):
            self._output += data
            self._send()
        if (deadline := self._manager.deadline) != self._deadline:
            self._cancel()
            self._deadline = deadline
            if deadline is not None:
                self._timer = self._loop.call_later(max(deadline - time.monotonic(), 0), self._wake)

    def _wake(self) -> None:
        self._deadline = self._timer = None
        self._manager.wake()
        self.flush()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._deadline = self._timer = None

    def _send(self) -> None:
        try:
            sent = self._socket.send(self._output)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # The process ends, too.
        self._output = self._output[sent:]
        wanted = READABLE | (WRITABLE if self._output else 0)
        if wanted != self._watched:
            self._loop.change(self._socket.fileno(), wanted)
            self._watched = wanted

    def _ready(self, events: int) -> None:
        if events & WRITABLE:
            self._send()
        try:
            data = self._socket.recv(_RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._disconnect()
            return
        try:
            for message in self._x.receive(data):
                was_ready = self._manager.is_ready
                self._manager.receive(message)
                for selection in self._selections:
                    if self._manager.is_ready and not was_ready:
                        selection.start(self._manager.atoms, self._manager.root)
                    selection.receive(message)
        except (X11WireError, AnotherWindowManager) as error:
            _log.error("Xwayland's windows cannot be managed: %s", error)
            self.close()
            return
        self.flush()

    def _disconnect(self) -> None:
        self._cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove(self._socket.fileno())
            self._socket.close()

    def _gone(self, status: int) -> None:
        for selection in self._selections:
            selection.close()
        self._disconnect()
        self._ended(status)

"""The window manager on a real X server. The test plays the Wayland side: it hands out surfaces."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from sommelier_shim.xwayland.window_manager.actions import Action
from sommelier_shim.xwayland.window_manager.manager import WindowManager
from sommelier_shim.xwayland.window_manager.window import Window
from sommelier_shim.xwayland.x11.connection import X11Connection
from sommelier_shim.xwayland.x11.layout import encode
from sommelier_shim.xwayland.x11.messages import (
    LAYOUTS,
    ClientMessage,
    EventMask,
    InternAtom,
    InternAtomReply,
    SendEvent,
)
from support.x_server import LIMIT, XClient

FIRST_SURFACE = 100
"""The id of the first surface that the test hands out."""


class ManagedScreen:
    """A window manager, and surfaces for the windows that the server maps.

    :param display: the X server's.
    :ivar manager: the window manager.
    :ivar now: the window manager's time, in seconds.
    :ivar done: every action so far.
    """

    def __init__(self, display: str) -> None:
        self.display = display
        self.wire = X11Connection()
        self.now = 0.0
        self.manager = WindowManager(self.wire, clock=lambda: self.now)
        self.done: list[Action] = []
        self.helper = XClient(display)
        self._surface_id = self.helper.call(InternAtom(False, b"WL_SURFACE_ID"), InternAtomReply).atom
        self._next = FIRST_SURFACE
        self._paired: set[int] = set()
        self._programs: list[subprocess.Popen[bytes]] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(LIMIT)
        self._socket.connect(f"/tmp/.X11-unix/X{display[1:]}")

    def close(self) -> None:
        """End the programs and disconnect."""
        for program in self._programs:
            program.kill()
            program.wait(LIMIT)
        self._socket.close()
        self.helper.close()

    def start(self, *argv: str, home: Path) -> subprocess.Popen[bytes]:
        """Start an X program."""
        environ = {"DISPLAY": self.display, "PATH": os.environ["PATH"], "HOME": str(home)}
        program = subprocess.Popen(argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._programs.append(program)
        return program

    def until(self, condition: Callable[[], bool]) -> None:
        """Let the window manager work until a condition holds."""
        while not condition():
            if data := self.wire.data_to_send():
                self._socket.sendall(data)
            received = self._socket.recv(65536)
            assert received, "the server has closed the connection"
            for message in self.wire.receive(received):
                self.manager.receive(message)
            self._hand_out()
            self.done += self.manager.actions
            self.manager.actions.clear()
        if data := self.wire.data_to_send():
            self._socket.sendall(data)

    def apply(self, *arguments: object, call: Callable[..., None]) -> None:
        """Call a method of the window manager, and keep its actions."""
        call(*arguments)
        self.done += self.manager.actions
        self.manager.actions.clear()
        self._socket.sendall(self.wire.data_to_send())

    def settle(self) -> None:
        """Let the window manager work until it has taken everything that the server has said so far."""
        number = self.wire.request(InternAtom(False, b"settled"))
        seen: list[int] = []
        self.manager._replies[number] = lambda reply: seen.append(number)
        self.until(lambda: bool(seen))

    def actions(self, kind: type[Action]) -> list[Action]:
        """The actions of a class so far."""
        return [action for action in self.done if isinstance(action, kind)]

    def windows(self) -> dict[int, Window]:
        """The windows that the window manager knows, by number."""
        return {window.number: window for window in self.manager._windows}

    def _hand_out(self) -> None:
        """As Xwayland does: create a surface for each mapped window, and name it to the window manager."""
        for window in self.windows().values():
            if window.is_mapped and window.number not in self._paired:
                self._paired.add(window.number)
                self.manager.surface_created(self._next)
                data = struct.pack("<5I", self._next, 0, 0, 0, 0)
                body = bytes(encode(ClientMessage(32, window.number, self._surface_id, data), LAYOUTS))
                event = bytes([33]) + body[:1] + bytes(2) + body[1:]
                mask = EventMask.SUBSTRUCTURE_NOTIFY | EventMask.SUBSTRUCTURE_REDIRECT
                self.helper.wire.request(SendEvent(False, self.helper.root, mask, event))
                assert self.helper.sync() == []
                self._next += 1
            elif not window.is_mapped:
                self._paired.discard(window.number)


@contextlib.contextmanager
def managed_screen(display: str) -> Iterator[ManagedScreen]:
    """A window manager on a server that has none; yields it when it manages the screen."""
    screen = ManagedScreen(display)
    try:
        screen.until(lambda: screen.manager._root is not None)
        screen.settle()
        yield screen
    finally:
        screen.close()

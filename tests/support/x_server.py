"""A real X server without a screen, and one blocking client of it that speaks by our own wire."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from sommelier_shim.xwayland.x11.connection import Error, Event, Ready, Reply, X11Connection
from sommelier_shim.xwayland.x11.layout import Message
from sommelier_shim.xwayland.x11.messages import GetInputFocus
from support.needs import need

LIMIT = 60.0
"""Seconds that the server may take for anything."""
Kind = TypeVar("Kind", bound=Message)


@contextlib.contextmanager
def x_server(directory: Path) -> Iterator[str]:
    """Run Xvfb; yields its display."""
    need("Xvfb", packages="xvfb")
    with open(directory / "Xvfb.log", "wb") as log:
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", "1", "-noreset", "-nolisten", "tcp", "-screen", "0", "800x600x24"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert server.stdout is not None
        number = server.stdout.readline().decode().strip()
        assert number, (directory / "Xvfb.log").read_text(errors="replace")
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(LIMIT)
        if server.stdout is not None:
            server.stdout.close()


class XClient:
    """A client; made ready.

    :param display: the server's.
    :param cookie: the display's; empty for a server that demands none.
    :ivar wire: its conversation.
    """

    def __init__(self, display: str, cookie: bytes = b"") -> None:
        self.wire = X11Connection((b"MIT-MAGIC-COOKIE-1", cookie) if cookie else (b"", b""))
        self.errors: list[Error] = []
        self.events: list[Event] = []
        self._replies: dict[int, Message] = {}
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(LIMIT)
        self._socket.connect(f"/tmp/.X11-unix/X{display[1:]}")
        self.ready: Ready | None = None
        while self.ready is None:
            self._move()

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    @property
    def root(self) -> int:
        """The root window."""
        assert self.wire.setup is not None
        return self.wire.setup.roots[0].root

    def call(self, message: Message, reply: type[Kind]) -> Kind:
        """Send a request and wait for its reply."""
        found = self.answer(self.wire.request(message))
        assert isinstance(found, reply), found
        return found

    def answer(self, number: int) -> Message | Error:
        """Wait for the reply to a request, or for its error."""
        while number not in self._replies:
            failed = [error for error in self.errors if error.number == number]
            if failed:
                return failed[0]
            self._move()
        return self._replies.pop(number)

    def sync(self) -> list[Error]:
        """Wait until the server has handled every request; returns the errors since the last call."""
        number = self.wire.request(GetInputFocus())
        while number not in self._replies:
            self._move()
        del self._replies[number]
        errors, self.errors = self.errors, []
        return errors

    def event(self, kind: type[Kind]) -> Kind:
        """Wait for an event of a class; earlier ones are dropped."""
        while True:
            while self.events:
                event = self.events.pop(0).message
                if isinstance(event, kind):
                    return event
            self._move()

    def _move(self) -> None:
        self._socket.sendall(self.wire.data_to_send())
        data = self._socket.recv(65536)
        assert data, "the server has closed the connection"
        for message in self.wire.receive(data):
            if isinstance(message, Ready):
                self.ready = message
            elif isinstance(message, Reply):
                self._replies[message.number] = message.message
            elif isinstance(message, Error):
                self.errors.append(message)
            else:
                self.events.append(message)

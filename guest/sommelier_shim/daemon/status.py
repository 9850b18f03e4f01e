"""The proxy's control socket: the protocol of :mod:`guestlink.control` without asyncio, which the proxy does not
load."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

from guestlink.address import UnixAddress
from guestlink.sockets import listen, peer_of, same_user
from sommelier_shim.daemon.loop import READABLE, WRITABLE, Loop

LINE_LIMIT = 4096
"""Maximum size of a call in bytes."""
CONNECTION_LIMIT = 16

StatusSource = Callable[[], dict[str, Any]]


class StatusServer:
    """Answers ``{"call": NAME}`` lines of programs of this user and root.

    :param answers: functions that return the answer, by name of the call.
    :raises AddressInUse: another proxy listens on the socket.
    """

    def __init__(self, loop: Loop, path: str, answers: dict[str, StatusSource]) -> None:
        self._loop = loop
        self._path = path
        self._answers = answers
        self._listener = listen(UnixAddress(path))
        self._connections: set[_Connection] = set()
        loop.add(self._listener.fileno(), READABLE, lambda _: self._accept())

    def close(self) -> None:
        """Stop answering and remove the socket."""
        self._loop.remove(self._listener.fileno())
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        for connection in list(self._connections):
            connection.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        if same_user().refusal(peer_of(sock)) or len(self._connections) >= CONNECTION_LIMIT:
            sock.close()
            return
        sock.setblocking(False)
        self._connections.add(_Connection(self._loop, sock, self._answers, self._connections.discard))


class _Connection:
    """One connection to the control socket."""

    def __init__(
        self, loop: Loop, sock: socket.socket, answers: dict[str, StatusSource], on_end: Callable[[Any], None]
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._answers = answers
        self._on_end = on_end
        self._received = b""
        self._leaving = b""
        self._timer = loop.call_later(30, self.close)
        loop.add(sock.fileno(), READABLE, self._ready)

    def close(self) -> None:
        """Close the connection."""
        if self._sock.fileno() >= 0:
            self._timer.cancel()
            self._loop.remove(self._sock.fileno())
            self._sock.close()
            self._on_end(self)

    def _ready(self, events: int) -> None:
        try:
            if self._leaving:
                self._leaving = self._leaving[self._sock.send(self._leaving, socket.MSG_NOSIGNAL) :]
            else:
                data = self._sock.recv(LINE_LIMIT)
                self._received += data
                if not data or len(self._received) > LINE_LIMIT:
                    self.close()
                    return
                line, newline, rest = self._received.partition(b"\n")
                if newline:
                    self._received = rest
                    import json  # imported late: there may never be a call

                    self._leaving = json.dumps(self._answer(line)).encode() + b"\n"
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._loop.change(self._sock.fileno(), WRITABLE if self._leaving else READABLE)

    def _answer(self, line: bytes) -> dict[str, Any]:
        import json

        try:
            question = json.loads(line)
            name = question["call"]
            answer = self._answers[name]
        except (ValueError, RecursionError, TypeError, KeyError):
            return {"error": "the proxy does not know this question", "hint": "", "exit_code": 1}
        return {"ok": answer()}

"""The process that relays one container's ports; guestlink-host starts it and speaks with it on standard input.

A container passes descriptors to this process, and calls on such a descriptor may take as long as the container
likes: a file of its own file system (FUSE) can delay even close(2). Only this container's ports wait then, and
the daemon replaces a process that does not answer.

The daemon's messages are JSON in packets, with an ``id`` that the answer repeats: ``set`` (``forwards``, ``auto``),
``ask``, and ``channel``, which brings a connection that garcon has parked. This process sends ``need``, when it
needs such a connection, and ``event`` with ``detail``.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
from collections import deque
from typing import Any

from guestlink.descriptor_limit import raise_limit
from guestlink.port_channel import listening_from
from guestlink_host.border.ports.channel import close_received
from guestlink_host.border.ports.forward import forward_from
from guestlink_host.border.ports.poller import Poller
from guestlink_host.border.ports.relay import PortRelay

PACKET_LIMIT = 180 * 1024
"""Bytes of a packet, within the kernel's default for a socket (net.core.wmem_default)."""
_EVENT_QUEUE = 64
"""Packets that wait for the daemon, above which events are dropped."""
SETTLE_TIME = 2.0
"""Seconds within which garcon has to say whether it can listen, for the answer to ``set``."""


class RelayProcess:
    """Serves the daemon's messages.

    :param control: a connected SOCK_SEQPACKET socket; the process ends with it.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._out: deque[bytes] = deque()
        self._poller = Poller()
        self._relay = PortRelay(self._poller, self._notify, self._need_channel)

    def run(self) -> None:
        """Serve until the daemon closes the socket."""
        self._control.setblocking(False)
        self._poller.watch(self._control.fileno(), select.EPOLLIN, self._happened)
        self._need_channel()
        try:
            self._poller.run()
        finally:
            self._relay.close()

    def _happened(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._flush()
        if events & ~select.EPOLLOUT:
            self._receive()

    def _receive(self) -> None:
        data, descriptors = b"", list[int]()
        with contextlib.suppress(ConnectionError):  # The daemon was killed.
            data, descriptors, _flags, _address = socket.recv_fds(self._control, PACKET_LIMIT, 1)
        if not data:
            self._poller.stop()
            return
        message = json.loads(data)
        if "channel" in message:
            self._relay.use_channel(socket.socket(fileno=descriptors[0]))
        elif "set" in message:
            wanted = message["set"]
            self._relay.set(
                [forward_from(one) for one in wanted["forwards"]],
                auto=wanted["auto"],
                settled=lambda: self._answer(message["id"], []),
                limit=SETTLE_TIME,
            )
        elif "ask" in message:
            self._ask(message["id"])

    def _ask(self, number: int) -> None:
        if not self._relay.channel.is_open:
            self._answer(number, None)
            return

        def answered(answer: dict[str, Any], descriptor: int) -> None:
            close_received([descriptor])
            try:
                self._answer(number, listening_from(answer.get("listening")))
            except ValueError:
                self._answer(number, None)

        self._relay.channel.ask({"list": True}, answered)

    def _answer(self, number: int, listening: list[tuple[str, int, str]] | None) -> None:
        self._send({"id": number, "forwards": self._relay.describe(), "listening": listening})

    def _notify(self, what: str, detail: str) -> None:
        if len(self._out) < _EVENT_QUEUE:  # A busy daemon misses events, and no answer.
            self._send({"event": what, "detail": detail})

    def _need_channel(self) -> None:
        self._send({"need": "channel"})

    def _send(self, message: dict[str, Any]) -> None:
        data = _pack(message)
        if len(data) > PACKET_LIMIT and message.get("listening"):
            data = _pack(message | {"listening": message["listening"][:256]})
        if len(data) > PACKET_LIMIT and "forwards" in message:
            # A container that names its programs like this has no names.
            forwards = [one | {"program": ""} for one in message["forwards"]]
            data = _pack(message | {"listening": None, "forwards": forwards})
        self._out.append(data)
        if len(self._out) == 1:
            self._flush()

    def _flush(self) -> None:
        try:
            while self._out:
                self._control.send(self._out[0])
                self._out.popleft()
        except BlockingIOError:
            self._poller.change(self._control.fileno(), select.EPOLLIN | select.EPOLLOUT)
        except OSError:  # The daemon is gone, and we read that next.
            self._out.clear()
        else:
            self._poller.change(self._control.fileno(), select.EPOLLIN)


def _pack(message: dict[str, Any]) -> bytes:
    """A packet. Characters take as many bytes as they have: escapes would take six or twelve for each."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def main() -> None:
    """Run the process."""
    raise_limit()
    with contextlib.suppress(KeyboardInterrupt):
        RelayProcess(socket.socket(fileno=0)).run()

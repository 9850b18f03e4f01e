"""The host's end of the channel for ports: asks garcon for sockets (:mod:`guestlink.port_channel`)."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from guestlink.port_channel import ChannelReader, pack
from guestlink_host.border.allowance import Allowance
from guestlink_host.border.ports.poller import Poller

ANSWER_TIME = 7.0
"""Seconds for an answer; garcon waits five for a server that does not answer."""
UNSENT_TIME = 5.0
"""Seconds that a request waits for a channel: garcon parks another one within a second."""
_SWEEP = 0.5
_DESCRIPTORS = 4
"""Descriptors for which a read has room; an answer has one, and the kernel closes what there is no room for."""
_READ = 64 * 1024
_BURST, _RATE = 8 * 1024 * 1024, 1024 * 1024
"""Bytes that a container may send at once, and then in a second."""
_READ_COST, _REPORT_COST = 64, 1024
"""Bytes that a read counts more, and a message that answers no request."""
_UNREAD = 4 * 1024 * 1024
"""Bytes of requests that may wait for a container that does not read; then the channel ends."""

Answer: TypeAlias = "Callable[[dict[str, Any], int], None]"
"""Gets the answer and its descriptor, which it owns, or -1. Without an answer it gets ``error`` alone."""


class _Request(NamedTuple):
    message: dict[str, Any]
    answer: Answer
    until: float


class PortChannel:
    """The requests to one container. They survive a break of the connection, for a time.

    :param report: gets each message that answers no request.
    :param lost: is called when the connection has ended.
    """

    def __init__(self, poller: Poller, report: Callable[[dict[str, Any]], None], lost: Callable[[], None]) -> None:
        self._poller = poller
        self._report = report
        self._lost = lost
        self._socket: socket.socket | None = None
        self._reader = ChannelReader()
        self._out = bytearray()
        self._requests: dict[int, _Request] = {}
        self._numbers = 0
        self._sweeping = False
        self._allowance = Allowance(_BURST, _RATE)
        self._is_resting = False

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    def open(self, connection: socket.socket) -> None:
        """Use a connection that garcon has parked; an earlier one is closed."""
        self.close()
        connection.setblocking(False)
        self._socket = connection
        self._poller.watch(connection.fileno(), self._events(), self._happened)
        for number, request in list(self._requests.items()):
            # The container may have gone away again, and that cancels requests.
            if self._socket is connection and number in self._requests:
                self._send({"id": number, **request.message})

    def close(self) -> None:
        """Close the connection; requests wait for the next one."""
        connection, self._socket = self._socket, None
        if connection is None:
            return
        self._poller.forget(connection.fileno())
        connection.close()
        self._out.clear()
        close_received(self._reader.close())
        now = time.monotonic()
        for number, request in self._requests.items():
            self._requests[number] = request._replace(until=min(request.until, now + UNSENT_TIME))

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message without an answer, if there is a connection."""
        if self._socket is not None:
            self._send(message)

    def ask(self, message: dict[str, Any], answer: Answer) -> int:
        """Send a request, now or when there is a connection.

        :returns: its number, for :meth:`cancel`.
        """
        self._numbers += 1
        number = self._numbers
        limit = ANSWER_TIME if self.is_open else UNSENT_TIME
        self._requests[number] = _Request(message, answer, time.monotonic() + limit)
        self.tell({"id": number, **message})
        if not self._sweeping:
            self._sweeping = True
            self._poller.later(_SWEEP, self._sweep)
        return number

    def cancel(self, number: int) -> None:
        """Nobody waits for this answer any more; a socket that it brings is closed."""
        self._requests.pop(number, None)

    def _sweep(self) -> None:
        now = time.monotonic()
        for number in [number for number, request in self._requests.items() if request.until < now]:
            if (request := self._requests.pop(number, None)) is not None:
                request.answer({"error": "the container does not answer"}, -1)
        self._sweeping = bool(self._requests)
        if self._sweeping:
            self._poller.later(_SWEEP, self._sweep)

    def _send(self, message: dict[str, Any]) -> None:
        self._out += pack(message)
        self._flush()

    def _flush(self) -> None:
        assert self._socket is not None
        waited = len(self._out)
        try:
            while self._out:
                del self._out[: self._socket.send(self._out, socket.MSG_DONTWAIT)]
        except BlockingIOError:
            pass
        except OSError:
            self._break()
            return
        if len(self._out) > _UNREAD:
            self._break()
        elif self._out or waited:
            self._poller.change(self._socket.fileno(), self._events())

    def _events(self) -> int:
        return (0 if self._is_resting else select.EPOLLIN) | (select.EPOLLOUT if self._out else 0)

    def _happened(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._flush()
        if events & ~select.EPOLLOUT and self._socket is not None:
            self._read()

    def _read(self) -> None:
        assert self._socket is not None
        descriptors: list[int] = []
        try:
            data, descriptors, _flags, _address = socket.recv_fds(self._socket, _READ, _DESCRIPTORS)
            messages, unused = self._reader.feed(data, descriptors)
        except BlockingIOError:
            return
        except (OSError, ValueError):  # It went away, or this is no garcon.
            close_received(descriptors)
            self._break()
            return
        close_received(unused)
        cost = len(data) + _READ_COST
        for message, descriptor in messages:
            if not self._handle(message, descriptor):
                cost += _REPORT_COST
        if not data:
            self._break()
        elif (pause := self._allowance.spend(cost, time.monotonic())) > 0.0 and not self._is_resting:
            self._is_resting = True
            self._poller.later(pause, self._read_again)
            if self._socket is not None:
                self._poller.change(self._socket.fileno(), self._events())

    def _read_again(self) -> None:
        self._is_resting = False
        if self._socket is not None:
            self._poller.change(self._socket.fileno(), self._events())

    def _handle(self, message: dict[str, Any], descriptor: int) -> bool:
        """Give a message to who waits for it; returns whether it answers a request."""
        number = message.get("id")
        request = self._requests.pop(number, None) if isinstance(number, int) else None
        if request is not None:
            request.answer(message, descriptor)
            return True
        close_received([descriptor])
        if number is None:
            self._report(message)
        return False

    def _break(self) -> None:
        if self._socket is not None:
            self.close()
            self._lost()


def close_received(descriptors: list[int]) -> None:
    """Close what a container has passed; -1 is nothing.

    A file of the container's own file system (FUSE) may answer close(2) with an error, and is closed all the same.
    """
    for descriptor in descriptors:
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)

"""UDP forwards: each client gets a socket of its own to the server, until both have been silent for a time."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from guestlink_host.border.ports.poller import Poller

FLOWS = 512
"""Clients of one forward at a time; a further one takes the place of the one that has been silent longest."""
SILENCE = 60.0
"""Seconds of silence after which a client is forgotten (RFC 4787, section 4.3, asks for more than that between
networks; programs of one machine send again)."""
_QUEUE = 16
"""Datagrams of a client that wait for the socket to the server; further ones are lost."""
_SIZE = 65535
_OVER = select.EPOLLRDHUP | select.EPOLLHUP
_BURST = 64
"""Datagrams that are read at a time."""


class DatagramFlow:
    """One client.

    :ivar server: the socket to the server, once there is one.
    :ivar cancel: ends the wait for that socket; set by who dials, if that takes time.
    """

    def __init__(self, front: socket.socket, client: Any) -> None:
        self.front = front
        self.client = client
        self.server: socket.socket | None = None
        self.queue: list[bytes] = []
        self.cancel: Callable[[], None] | None = None
        self.used = time.monotonic()


class Datagrams:
    """The clients of one UDP forward.

    :param fronts: the bound sockets to which the clients send.
    :param dial: is called for a new client, and gives :meth:`connected` its socket, now or later.
    """

    def __init__(self, poller: Poller, fronts: list[socket.socket], dial: Callable[[DatagramFlow], None]) -> None:
        self._poller = poller
        self._fronts = fronts
        self._dial = dial
        self._flows: OrderedDict[tuple[int, Any], DatagramFlow] = OrderedDict()
        for front in fronts:
            front.setblocking(False)
            events = select.EPOLLIN | select.EPOLLRDHUP
            poller.watch(front.fileno(), events, partial(self._from_clients, front))

    def __len__(self) -> int:
        """How many clients there are."""
        return len(self._flows)

    def connected(self, flow: DatagramFlow, server: socket.socket | None) -> None:
        """There is a socket to the server for a client, or there is none."""
        if self._flows.get((id(flow.front), flow.client)) is not flow:
            if server is not None:
                server.close()
            return
        if server is None:
            self._forget(flow)
            return
        flow.server = server
        events = select.EPOLLIN | select.EPOLLRDHUP
        self._poller.watch(server.fileno(), events, lambda events: self._from_server(flow, events))
        for datagram in flow.queue:
            with contextlib.suppress(OSError):
                server.send(datagram, socket.MSG_DONTWAIT)
        flow.queue.clear()

    def expire(self) -> None:
        """Forget the clients that have been silent for :data:`SILENCE` seconds; to be called now and then."""
        limit = time.monotonic() - SILENCE
        while self._flows and (oldest := next(iter(self._flows.values()))).used < limit:
            self._forget(oldest)

    def close(self) -> None:
        """Close every socket."""
        while self._flows:
            self._forget(next(iter(self._flows.values())))
        while self._fronts:
            front = self._fronts.pop()
            self._poller.forget(front.fileno())
            front.close()

    def _from_clients(self, front: socket.socket, events: int) -> None:
        if events & _OVER:
            # A container has shut its socket down: it would be ready for ever, and has nothing.
            self._poller.forget(front.fileno())
        for _ in range(_BURST):
            try:
                datagram, client = front.recvfrom(_SIZE, socket.MSG_DONTWAIT)
            except OSError:  # Nothing more, or the answer to an earlier datagram could not be delivered.
                return
            flow = self._flows.get((id(front), client)) or self._new(front, client)
            self._touch(flow)
            if flow.server is not None:
                with contextlib.suppress(OSError):
                    flow.server.send(datagram, socket.MSG_DONTWAIT)
            elif len(flow.queue) < _QUEUE:
                flow.queue.append(datagram)

    def _new(self, front: socket.socket, client: Any) -> DatagramFlow:
        if len(self._flows) >= FLOWS:
            self._forget(next(iter(self._flows.values())))
        flow = DatagramFlow(front, client)
        self._flows[id(front), client] = flow
        self._dial(flow)
        return flow

    def _from_server(self, flow: DatagramFlow, events: int) -> None:
        assert flow.server is not None
        for _ in range(_BURST):
            try:
                datagram = flow.server.recv(_SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if events & _OVER:  # A container has shut its socket down.
                    self._forget(flow)
                return
            except OSError:  # Nobody serves the port (ICMP): the next datagram begins anew.
                self._forget(flow)
                return
            self._touch(flow)
            with contextlib.suppress(OSError):
                flow.front.sendto(datagram, socket.MSG_DONTWAIT, flow.client)

    def _touch(self, flow: DatagramFlow) -> None:
        flow.used = time.monotonic()
        key = (id(flow.front), flow.client)
        if key in self._flows:
            self._flows.move_to_end(key)

    def _forget(self, flow: DatagramFlow) -> None:
        self._flows.pop((id(flow.front), flow.client), None)
        if flow.cancel is not None:
            flow.cancel()
        server, flow.server = flow.server, None
        if server is not None:
            self._poller.forget(server.fileno())
            server.close()

"""One client: its transport, the transport to the host, and the relay between them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from sommelier_shim.channel import Transport
from sommelier_shim.core.relay import Flow
from sommelier_shim.core.routes import Routes
from sommelier_shim.core.wire import (
    HEADER_SIZE,
    IMPLEMENTATION,
    SIZE_LIMIT,
    WireError,
    error_event,
)
from sommelier_shim.daemon.loop import READABLE, WRITABLE, Loop, Timer
from sommelier_shim.daemon.outlet import Outlet

_log = logging.getLogger(__name__)

RECEIVE_SIZE = 16384
"""Bytes per read: enough for full speed, and little enough that a flooding client blocks the loop only briefly
(performance.md §3)."""
DRAIN_TIME = 5.0
"""Seconds to drain the data queued for a peer before its transport is closed."""
NOT_WATCHED = -1
_RETRY_TIME = 0.01
"""Seconds until the next send after ETOOMANYREFS: the kernel has too many descriptors in flight."""

_buffer = bytearray(SIZE_LIMIT + RECEIVE_SIZE + HEADER_SIZE)
_view = memoryview(_buffer)
_whole = _view[:RECEIVE_SIZE]
"""One receive buffer for all peers: between two reads a peer keeps only the beginning of an incomplete message."""


class SessionPeer:
    """The client or the host of a session, with its transport.

    :ivar tail: the beginning of an incomplete message.
    :ivar ended: whether the session has stopped reading this peer for good.
    :ivar paused: whether the session stops reading this peer until the other peer's queue has drained.
    :ivar hung_up: whether the peer closed its connection while reading was paused.
    :ivar other: the other peer of the session.
    """

    __slots__ = ("ended", "flow", "hung_up", "other", "outlet", "paused", "receive", "session", "tail",
                 "transport", "watched")  # fmt: skip

    def __init__(self, session: ProxySession, transport: Transport) -> None:
        self.session = session
        self.transport = transport
        self.tail = b""
        self.ended = False
        self.paused = False
        self.hung_up = False
        self.watched = NOT_WATCHED
        self.outlet = Outlet(transport, self._queue_changed)
        self.receive = transport.receive
        self.flow: Flow
        self.other = self

    def watch(self) -> None:
        """Poll the transport for the events that matter in the present state."""
        wanted = 0 if self.ended or self.paused else READABLE
        if self.outlet.queued and not self.outlet.broken and not self.outlet.retry:
            wanted |= WRITABLE
        # epoll reports a hang-up even without requested events, so a paused peer stays registered.
        watched = NOT_WATCHED if not wanted and (self.ended or self.hung_up) else wanted
        if watched == self.watched:
            return
        loop = self.session.loop
        if watched == NOT_WATCHED:
            loop.remove(self.transport.fileno())
        elif self.watched == NOT_WATCHED:
            loop.add(self.transport.fileno(), watched, self._ready)
        else:
            loop.change(self.transport.fileno(), watched)
        self.watched = watched

    def close(self) -> None:
        """Close the transport and drop the data queued for it."""
        if self.watched != NOT_WATCHED:
            self.session.loop.remove(self.transport.fileno())
            self.watched = NOT_WATCHED
        self.outlet.close()
        self.transport.close()

    def _queue_changed(self) -> None:
        """The outlet has begun a queue, or has been flushed: wait for the right moment of the next flush, and let
        the session go on."""
        self.watch()
        if self.outlet.retry:
            self.session.loop.call_later(_RETRY_TIME, self._retry)
        self.session.queue_changed(self)

    def _retry(self) -> None:
        if not self.outlet.broken:
            self.outlet.flush()
            self._queue_changed()

    def break_cycles(self) -> None:
        """Break the reference cycles; the peer is unusable afterwards."""
        self.outlet.break_cycles()
        del self.session, self.other, self.receive

    def _ready(self, events: int) -> None:
        """Read once and forward the complete messages. One function, because every message passes through it."""
        if (events != READABLE or self.paused or self.ended) and not self._is_to_be_read(events):
            return
        size, space = 0, _whole
        if self.tail:
            size = len(self.tail)
            _buffer[:size] = self.tail
            space = _view[size : size + RECEIVE_SIZE]
        receive, flow = self.receive, self.flow
        try:
            count = receive(space, flow.received)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        except WireError as error:
            self.session.failed(self, error)
            return
        if not count:
            self.session.ended(self)
            return
        end = size + count
        try:
            used = flow.feed(_buffer, _view, end)
        except WireError as error:
            self.session.failed(self, error)
            return
        except Exception:
            _log.exception("a message could not be handled")
            self.session.broken()
            return
        if used < end:
            self.tail = bytes(_view[used:end])
        elif size:
            self.tail = b""
        other = self.other
        if not other.outlet.is_clear or flow.relay.is_ahead:
            self.session.hold(self)
            if other.outlet.broken:
                self.session.send_failed(other)
        if other.paused:
            self.session.resume(other)

    def _is_to_be_read(self, events: int) -> bool:
        """Handle the other events (writable, hang-up), and return whether to read."""
        if events & WRITABLE:
            self.outlet.flush()
            self._queue_changed()
        if not self.session.is_open or self.ended or not events & ~WRITABLE:
            return False
        if self.paused:
            self.hung_up = True
            self.watch()
            self.session.hung_up()
        return not self.paused


class ProxySession:
    """A client's connection through the proxy.

    :param client: the transport to the client, :param host: the one to the host; the session owns both.
    :param on_end: called once when the session has closed both transports.
    :param on_failure: called with a sentence when the client or the host broke the protocol, when the host sent
        ``wl_display.error``, or after an internal error.
    """

    def __init__(
        self,
        loop: Loop,
        routes: Routes,
        client: Transport,
        host: Transport,
        on_end: Callable[[ProxySession], None],
        on_failure: Callable[[ProxySession, str], None],
    ) -> None:
        self.loop = loop
        self.is_open = True
        self.started = time.time()
        self._on_end = on_end
        self._on_failure = on_failure
        self._drain_timer: Timer | None = None
        self._reported = False
        self.client = SessionPeer(self, client)
        self.host = SessionPeer(self, host)
        self.client.other, self.host.other = self.host, self.client
        self.relay = routes.relay(self.client.outlet.send, self.host.outlet.send)
        self.client.flow = self.relay.requests
        self.host.flow = self.relay.events
        self.client.watch()
        self.host.watch()

    def hold(self, peer: SessionPeer) -> None:
        """Stop reading a peer if the other peer's queue is full, or the client is ahead of the host."""
        if peer.other.outlet.is_full or (peer is self.client and self.relay.is_ahead):
            peer.paused = True
            peer.watch()

    def queue_changed(self, peer: SessionPeer) -> None:
        """Data for a peer has been queued or sent: resume reading the other peer, or close the session."""
        other = peer.other
        if other.paused:
            self.resume(other)
        if peer.outlet.broken:
            self.send_failed(peer)
        elif other.ended and not peer.outlet.queued:
            self.close()

    def hung_up(self) -> None:
        """A peer closed with data unread: keep it for the other peer for at most ``DRAIN_TIME``."""
        self._start_draining()

    def broken(self) -> None:
        """Handle an internal error: close this session, whose state is unknown now. Other sessions go on."""
        self._reported = True
        self._on_failure(self, "sommelier failed internally")
        self.fail("sommelier failed internally; its log shows the error")

    def fail(self, text: str, code: int = IMPLEMENTATION) -> None:
        """Send the client a ``wl_display.error`` with the reason, and close the session."""
        self._drain_to_client(error_event(code, text))

    def close(self) -> None:
        """Close both transports at once and drop the queued data."""
        if not self.is_open:
            return
        self.is_open = False
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None
        self.client.close()
        self.host.close()
        self.relay.close()
        self._on_end(self)
        self.loop.call_later(0, self._break_cycles)  # the caller may still use the peers and the relay

    def resume(self, peer: SessionPeer) -> None:
        """Read a paused peer again, if the reason for the pause is gone."""
        other = peer.other
        if other.outlet.broken or not other.outlet.has_room or (peer is self.client and self.relay.is_ahead):
            return
        peer.paused = False
        peer.watch()

    def _break_cycles(self) -> None:
        """Break the reference cycles: thousands of dead sessions would wait for the garbage collector."""
        for peer in (self.client, self.host):
            peer.break_cycles()
        self.relay.break_cycles()
        del self._on_end, self._on_failure

    def ended(self, peer: SessionPeer) -> None:
        """A peer closed its connection: drain its data to the other peer, then close."""
        peer.ended = True
        peer.watch()
        other = peer.other
        if peer is self.host and self.relay.last_error and not self._reported:
            self._reported = True
            self._on_failure(self, f"the host ended it: {self.relay.last_error}")
        if other.ended or other.outlet.broken or not other.outlet.queued:
            self.close()
            return
        other.ended = True  # its data has no receiver any more
        other.watch()
        self._start_draining()

    def send_failed(self, peer: SessionPeer) -> None:
        """Sending to a peer failed, but its own last data may still be unread."""
        other = peer.other
        if peer.outlet.refusal and not self._reported:
            self._reported = True
            self._on_failure(self, peer.outlet.refusal)
            self.fail(peer.outlet.refusal)
            return
        if peer.ended or peer is self.client:
            self.close()
            return
        # Keep reading the host, which may have sent a wl_display.error; stop reading the client.
        other.paused = True
        other.watch()
        self._start_draining()

    def failed(self, peer: SessionPeer, error: WireError) -> None:
        """A peer broke the protocol: report it, and close the session after the client's ``wl_display.error``."""
        who = "the client" if peer is self.client else "the host"
        self._reported = True
        self._on_failure(self, f"{who} broke the protocol: {error}")
        if peer is self.client:
            self._drain_to_client(error_event(error.code, str(error), error.object_id))
        else:
            self.fail(f"the host compositor broke the protocol: {error}")

    def _drain_to_client(self, last: bytes) -> None:
        self.client.outlet.send(last, None)
        self.client.ended = self.host.ended = True
        self.client.watch()
        self.host.watch()
        if self.client.outlet.broken or not self.client.outlet.queued:
            self.close()
        else:
            self._start_draining()

    def _start_draining(self) -> None:
        if self._drain_timer is None:
            self._drain_timer = self.loop.call_later(DRAIN_TIME, self.close)

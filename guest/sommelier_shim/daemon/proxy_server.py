"""Accepts clients and gives each a session with the host."""

from __future__ import annotations

import errno
import logging
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from guestlink.sockets import PeerPolicy, peer_of, same_user, terminate_peer
from sommelier_shim.channel import CompositorChannel, HostBusy, HostUnreachable, Transport
from sommelier_shim.channel.unix_socket import SocketTransport
from sommelier_shim.core.routes import Routes
from sommelier_shim.core.trace import CLIENT_PID
from sommelier_shim.core.wire import IMPLEMENTATION, error_event
from sommelier_shim.daemon.connectors import Connector, Done, connect_directly
from sommelier_shim.daemon.host_link import HostLink
from sommelier_shim.daemon.loop import READABLE, Loop, Timer
from sommelier_shim.daemon.proxy_session import ProxySession
from sommelier_shim.features.policy.identity import APP_IDS

_log = logging.getLogger(__name__)

CLIENT_LIMIT = 4096
"""Maximum number of clients; each needs three descriptors, a few KB, and a process of 0.3 MB."""
CONTAINER_CLIENT_LIMIT = 256
"""Maximum number of clients of a proxy that serves a container from the host's side: each has a process and a
connection of the host's."""
CONTAINER_MEMORY_LIMIT = 512 << 20
"""Maximum size in bytes of the data of such a proxy."""
_ACCEPTED_AT_ONCE = 32
_BUSY_TIME = 0.02
_BUSY_TRIES = 500
"""Maximum number of attempts to connect to a host whose listen queue is full: ten seconds."""
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class ClientInfo(NamedTuple):
    """The facts on a client for ``guestlink status``."""

    pid: int
    program: str
    since: float
    objects: int
    unconfirmed: int
    queued: int
    sent: int
    received: int
    app_ids: tuple[str, ...]


class _Waiting:
    """A client that waits for its connection to the host."""

    __slots__ = ("pid", "seen_at", "timer", "when_gone")

    def __init__(self, pid: int, when_gone: Callable[[], None] | None) -> None:
        self.pid = pid
        self.seen_at = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.when_gone = when_gone
        self.timer: Timer | None = None


class ProxyServer:
    """Serves the clients of one proxy; all have the same settings.

    :param host: the link to the host.
    :param make_routes: builds the tables for the host; called again when the host's globals have changed.
    :param on_failure: called with the session and a sentence when the proxy disconnects a client because of an
        error.
    :param connect: opens connections to the host.
    :param allowed: which processes may be clients; those of this user and root by default.
    :param limit: maximum number of clients.
    :ivar when_empty: called when the last client has left.
    :ivar failures: number of calls of ``on_failure``; :ivar served: number of sessions so far.
    """

    def __init__(
        self,
        loop: Loop,
        host: HostLink,
        make_routes: Callable[[HostLink], Routes],
        on_failure: Callable[[ProxySession, str], None],
        connect: Callable[[CompositorChannel, int, Done], None] = connect_directly,
        *,
        allowed: PeerPolicy | None = None,
        limit: int = CLIENT_LIMIT,
    ) -> None:
        self._loop = loop
        self._host = host
        host.on_outputs = self._outputs_moved
        self._connect_to_host = connect
        self.when_empty: Callable[[], None] | None = None
        self._make_routes = make_routes
        self._on_failure = on_failure
        self._routes: Routes | None = None
        self._routes_for: tuple[object, ...] = ()
        self._listeners: list[socket.socket] = []
        self._sessions: dict[ProxySession, int] = {}
        self._pending: dict[socket.socket, _Waiting] = {}
        self._allowed = same_user() if allowed is None else allowed
        self._limit = limit
        self._pause: Timer | None = None
        self.failures = 0
        self.served = 0

    def listen(self, listener: socket.socket) -> None:
        """Accept clients on a listening socket, which the server closes."""
        self._listeners.append(listener)
        self._loop.add(listener.fileno(), READABLE, lambda _: self._accept(listener))

    def serve(self, client: socket.socket, when_gone: Callable[[], None] | None = None, *, pid: int = 0) -> None:
        """Serve a connected client.

        :param when_gone: called when the client has left, or the proxy has refused it.
        :param pid: the client's process; 0 asks the socket.
        """
        client.setblocking(False)
        self._pending[client] = _Waiting(pid or peer_of(client).pid or 0, when_gone)
        self._host.when_known(lambda trouble: self._connect(client, trouble, 0))

    def prepare(self) -> None:
        """Build the tables for the host, whose globals are known. This logs the limits before the first client."""
        self._current_routes()

    @property
    def is_empty(self) -> bool:
        """Whether there is no client."""
        return not (self._sessions or self._pending)

    @property
    def clients(self) -> list[ClientInfo]:
        """The connected clients."""
        return [_info(session, pid) for session, pid in self._sessions.items()]

    def stop_listening(self) -> None:
        """Accept no more clients; those that are connected stay."""
        if self._pause is not None:
            self._pause.cancel()
        for listener in self._listeners:
            self._loop.remove(listener.fileno())
            listener.close()
        self._listeners.clear()

    def close(self) -> None:
        """Disconnect all clients and close the listening sockets."""
        self.stop_listening()
        for client, waiting in list(self._pending.items()):
            if waiting.timer is not None:
                waiting.timer.cancel()
            client.close()
        self._pending.clear()
        for session in list(self._sessions):
            session.close()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_DESCRIPTORS:
                    _log.warning("no more descriptors for new clients; trying again in a second")
                    self._rest(listener)
                    return
                continue  # the client left before it was accepted
            peer = peer_of(client)
            refusal = self._allowed.refusal(peer)
            if refusal is None and len(self._sessions) + len(self._pending) >= self._limit:
                refusal = f"there are {self._limit} clients already"
            if refusal is not None:
                _log.warning("a client is refused: %s", refusal)
                _refuse(client, refusal)
                continue
            self.serve(client, pid=peer.pid or 0)

    def _rest(self, listener: socket.socket) -> None:
        self._loop.change(listener.fileno(), 0)
        self._pause = self._loop.call_later(1.0, lambda: self._loop.change(listener.fileno(), READABLE))

    def _connect(self, client: socket.socket, trouble: str, tries: int) -> None:
        waiting = self._pending.get(client)
        if waiting is None:
            return
        if trouble:
            self._turn_away(client, trouble)
            return
        done = partial(self._connected, client, tries)
        self._connect_to_host(self._host.client_channel, waiting.pid, done)

    def _connected(
        self,
        client: socket.socket,
        tries: int,
        host: Transport | HostUnreachable | HostBusy,
        connector: Connector | None,
    ) -> None:
        waiting = self._pending.get(client)
        if isinstance(host, HostUnreachable):
            if waiting is not None:
                self._turn_away(client, self._host.why_unreachable(host))
        elif isinstance(host, HostBusy):
            if waiting is not None:
                self._try_again(client, waiting, tries)
        elif waiting is None:
            # The server has been closed.
            host.close()
            if connector is not None:
                connector.release()
        else:
            del self._pending[client]
            self._start(client, host, connector, waiting)

    def _try_again(self, client: socket.socket, waiting: _Waiting, tries: int) -> None:
        if tries < _BUSY_TRIES:
            waiting.timer = self._loop.call_later(_BUSY_TIME, lambda: self._connect(client, "", tries + 1))
        else:
            self._turn_away(client, "the host compositor accepts no connections")

    def _turn_away(self, client: socket.socket, trouble: str) -> None:
        waiting = self._pending.pop(client)
        _log.warning("a client is turned away: %s", trouble)
        _refuse(client, trouble)
        self._left(waiting)

    def _start(
        self, client: socket.socket, host: Transport, connector: Connector | None, waiting: _Waiting
    ) -> None:
        def ended(session: ProxySession) -> None:
            self._sessions.pop(session, None)
            if connector is not None:
                connector.release()
            self._left(waiting)

        session = ProxySession(
            self._loop, self._current_routes(), SocketTransport(client), host, ended, self._failed
        )
        if connector is not None:
            connector.when_killed = partial(self._killed, session, client, waiting)
        CLIENT_PID.set(session.relay, waiting.pid)
        self._sessions[session] = waiting.pid
        self.served += 1

    def _left(self, waiting: _Waiting) -> None:
        if waiting.when_gone is not None:
            waiting.when_gone()
        if self.when_empty is not None and self.is_empty:
            self.when_empty()

    def _killed(self, session: ProxySession, client: socket.socket, waiting: _Waiting) -> None:
        """The client's connector was killed, so somebody on the host wants to end the client: terminate it."""
        _log.info("client %s (pid %s) is ended from the host", program_of(waiting.pid) or "?", waiting.pid)
        terminate_peer(client, waiting.pid, waiting.seen_at)
        session.fail("it was ended from the host")

    def _current_routes(self) -> Routes:
        host = self._host
        kind = (tuple(sorted(set(host.offered.values()))), host.is_chromeos, host.outputs.is_following)
        if self._routes is None or kind != self._routes_for:
            self._routes = self._make_routes(self._host)
            self._routes_for = kind
        return self._routes

    def _outputs_moved(self) -> None:
        for session in list(self._sessions):
            session.relay.routes.outputs_moved(session.relay)

    def _failed(self, session: ProxySession, text: str) -> None:
        self.failures += 1
        pid = self._sessions.get(session, 0)
        _log.warning("client %s (pid %s) is disconnected: %s", program_of(pid) or "?", pid, _printable(text))
        self._on_failure(session, text)


def program_of(pid: int) -> str:
    """The name of a process, or "" if it has exited or the proxy may not read the name."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as stream:
            return _printable(stream.read(64).decode(errors="replace").strip())
    except OSError:
        return ""


def _printable(text: str) -> str:
    """A client's text with unprintable characters replaced, for terminals and logs."""
    return "".join(char if char.isprintable() else "�" for char in text)


def _info(session: ProxySession, pid: int) -> ClientInfo:
    relay = session.relay
    names = APP_IDS.of(relay)
    return ClientInfo(
        pid=pid,
        program=program_of(pid),
        since=session.started,
        objects=len(relay.requests.objects),
        unconfirmed=relay.unconfirmed,
        queued=session.client.outlet.queued + session.host.outlet.queued,
        sent=session.client.outlet.sent_bytes,
        received=session.host.outlet.sent_bytes,
        app_ids=tuple(sorted(set(map(_printable, names.values())))),
    )


def _refuse(client: socket.socket, text: str) -> None:
    """Send the reason as ``wl_display.error``, without waiting, and close the connection."""
    try:
        client.send(error_event(IMPLEMENTATION, text), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        pass
    client.close()


def raise_descriptor_limit() -> None:
    """Raise this process's soft limit of descriptors to the hard limit: 500 clients with buffers in flight need
    thousands."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit_memory() -> None:
    """Limit this process's memory to ``CONTAINER_MEMORY_LIMIT``: the clients of a container must not take the
    host's."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = CONTAINER_MEMORY_LIMIT if hard == resource.RLIM_INFINITY else min(hard, CONTAINER_MEMORY_LIMIT)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))

"""Relays the ports of one container: listens, asks garcon for the other ends, and moves bytes and datagrams."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from guestlink.errors import GuestlinkError
from guestlink.port_channel import LOCALHOST, TCP, UDP, UNIX, PortEndpoint, listening_from
from guestlink_host.border.ports.channel import PortChannel, close_received
from guestlink_host.border.ports.datagrams import DatagramFlow, Datagrams
from guestlink_host.border.ports.forward import Forward
from guestlink_host.border.ports.poller import Poller
from guestlink_host.border.ports.pump import Pair, Pump
from guestlink_host.border.ports.sockets import LocalDial, connected_datagrams, listen_here, received_socket

CONNECTIONS = 8192
"""Connections of one container at a time; a further one is reset."""
AUTOMATIC = 256
"""Ports that open by themselves at a time."""
FIRST_AUTOMATIC = 1024
"""The lowest of them: lower ones are privileged (chromeos-vsh.md §5.2)."""
NOT_AUTOMATIC = frozenset({2222, 5355})
"""Ports that do not: sshd's of ChromeOS's containers, and LLMNR (chromeos-vsh.md §5.2)."""
ORPHANED = 30.0
"""Seconds without a garcon after which connections end: their sockets keep the container's network alive."""
_REPORT_PAUSE = 0.5
"""Seconds between two reports of listening ports that are acted upon; the newest one counts."""
_ERROR_LIMIT = 200
"""Characters of garcon's explanation that are kept."""
_RETRY = 1.0
"""Seconds until what could not listen is tried again."""
_EXPIRE = 10.0
_ACCEPTS = 64
"""Connections that are accepted at a time."""
_ACCEPT_PAUSE = 0.2
"""Seconds without new ones after a failed accept(2): mostly too many descriptors are open."""
_RESET = struct.pack("ii", 1, 0)
WAITING = "it waits for the container"
"""The state of a forward back while there is no garcon."""


class Notify(Protocol):
    """Tells the daemon what has happened, as an event's word and detail."""

    def __call__(self, what: str, detail: str) -> None: ...


class _Rule:
    """One forward that is in force.

    :ivar automatic: whether the user has not named it, and it has opened by itself.
    :ivar problem: why nothing listens; ``""`` if something does.
    """

    def __init__(self, forward: Forward, program: str = "") -> None:
        self.forward = forward
        self.program = program
        self.automatic = False
        self.problem = WAITING if forward.back else ""
        self.hint = ""
        self.listeners: list[socket.socket] = []
        self.datagrams: Datagrams | None = None
        self.pairs: set[Pair] = set()
        self.request = 0

    def describe(self) -> dict[str, Any]:
        """The state, for the daemon."""
        count = len(self.pairs) + (len(self.datagrams) if self.datagrams is not None else 0)
        return {
            "forward": self.forward.pack(),
            "problem": self.problem,
            "hint": self.hint,
            "connections": count,
            "program": self.program,
            "automatic": self.automatic,
        }


class PortRelay:
    """All forwards of one container.

    :param notify: gets the events of ports that open by themselves.
    :param need_channel: is called when another connection to garcon is needed.
    """

    def __init__(self, poller: Poller, notify: Notify, need_channel: Callable[[], None]) -> None:
        self._poller = poller
        self._notify = notify
        self._need_channel = need_channel
        self._pump = Pump(poller)
        self.channel = PortChannel(poller, self._reported, self._channel_lost)
        self._rules: dict[Forward, _Rule] = {}
        self._named: tuple[Forward, ...] = ()
        self._listening: list[tuple[str, int, str]] = []
        self._auto = False
        self._pending = 0
        self._report_due = False
        self._refused: set[int] = set()
        self._retrying = False
        self._lost_at = 0.0
        self._settled: list[tuple[float, Callable[[], None]]] = []
        poller.later(_EXPIRE, self._expire)

    # -- what the daemon wants -----------------------------------------------------------------------------------

    def set(self, forwards: Iterable[Forward], *, auto: bool, settled: Callable[[], None], limit: float) -> None:
        """Put these forwards in force, and no others.

        :param auto: whether the ports on which the container listens open by themselves.
        :param settled: called when it is known which of them listen, at the latest after ``limit`` seconds.
        """
        self._named = tuple(forwards)
        if auto != self._auto:
            self._auto = auto
            self.channel.tell({"watch": auto})
            if not auto:
                self._listening = []
        self._apply()
        self._settled.append((time.monotonic() + limit, settled))
        self._poller.later(limit, self._check_settled)
        self._check_settled()

    def describe(self) -> list[dict[str, Any]]:
        """The state of every forward."""
        return [rule.describe() for rule in self._rules.values()]

    def use_channel(self, connection: socket.socket) -> None:
        """Use a connection that garcon has parked."""
        self.channel.open(connection)
        # The host speaks first; garcon then serves the connection.
        self.channel.tell({"watch": self._auto})
        for rule in self._rules.values():
            if rule.forward.back and not rule.request:
                self._open(rule)

    def close(self) -> None:
        """Close everything."""
        for rule in list(self._rules.values()):
            self._drop(rule)
        self.channel.close()
        self._pump.close()

    # -- which forwards are in force -----------------------------------------------------------------------------

    def _apply(self) -> None:
        wanted: dict[Forward, str] = dict.fromkeys(self._named, "")
        if self._auto:
            wanted = self._automatic() | wanted
        for forward, rule in list(self._rules.items()):
            if forward not in wanted:
                self._drop(rule)
                if rule.automatic:
                    self._tell_closed(rule)
        for forward, program in wanted.items():
            if (known := self._rules.get(forward)) is not None:
                known.automatic = forward not in self._named
                continue
            rule = self._rules[forward] = _Rule(forward, program)
            rule.automatic = forward not in self._named
            self._open(rule)
            if rule.automatic:
                self._tell_opened(rule)

    def _automatic(self) -> dict[Forward, str]:
        """The forwards that the container's listening ports make, with the names of their programs."""
        # Also those where forwards back listen in the container: they are ours.
        taken = {one.listen.port for one in self._named if one.listen.kind == TCP}
        found: dict[int, tuple[str, str]] = {}
        for host, port, program in self._listening:
            if port < FIRST_AUTOMATIC or port in NOT_AUTOMATIC or port in taken:
                continue
            # The server at a loopback or a wildcard address is the one that people mean.
            target = LOCALHOST if host in ("0.0.0.0", "::", "127.0.0.1", "::1") else host
            if port not in found or target == LOCALHOST:
                found[port] = (target, program)
        return {
            Forward(False, PortEndpoint(TCP, LOCALHOST, port), PortEndpoint(TCP, found[port][0], port)): found[
                port
            ][1]
            for port in sorted(found)[:AUTOMATIC]
        }

    def _tell_opened(self, rule: _Rule) -> None:
        port = rule.forward.listen.port
        if not rule.problem:
            self._refused.discard(port)
            program = f" ({rule.program})" if rule.program else ""
            self._notify("port", f"http://localhost:{port} leads to port {port} in the container{program}")
        elif port not in self._refused:
            self._refused.add(port)
            self._notify("port", f"{port} of the container is not opened here: {rule.problem}")

    def _tell_closed(self, rule: _Rule) -> None:
        port = rule.forward.listen.port
        self._refused.discard(port)
        if not rule.problem:
            self._notify("port", f"http://localhost:{port} is closed: nothing listens in the container")

    def _open(self, rule: _Rule) -> None:
        """Begin to listen for a forward, here or in the container."""
        if rule.forward.back:
            if self.channel.is_open:
                message = {"listen": list(rule.forward.listen)}
                rule.request = self.channel.ask(message, partial(self._listens_inside, rule))
            return
        try:
            sockets = listen_here(rule.forward.listen)
        except GuestlinkError as error:
            rule.problem, rule.hint = error.message, error.hint
            self._retry_soon()
            return
        rule.problem = rule.hint = ""
        self._serve(rule, sockets)

    def _serve(self, rule: _Rule, sockets: list[socket.socket]) -> None:
        if rule.forward.listen.kind == UDP:
            dial = self._dial_back if rule.forward.back else self._dial_forth
            rule.datagrams = Datagrams(self._poller, sockets, partial(dial, rule))
            return
        rule.listeners = sockets
        for one in sockets:
            self._watch_listener(rule, one)

    def _listens_inside(self, rule: _Rule, answer: dict[str, Any], descriptor: int) -> None:
        """garcon has answered a request for a listening socket."""
        rule.request = 0
        if self._rules.get(rule.forward) is not rule:
            close_received([descriptor])
        elif descriptor < 0:
            error = answer.get("error")
            rule.problem = error[:_ERROR_LIMIT] if error and isinstance(error, str) else "garcon sent no socket"
            rule.hint = "choose another port in the container"
            self._retry_soon()
        else:
            try:
                sock = received_socket(descriptor, rule.forward.listen, listening=True)
            except ValueError as error:
                rule.problem = f"the container sent something else than a socket: {error}"
            else:
                rule.problem = rule.hint = ""
                self._serve(rule, [sock])
        self._check_settled()

    def _drop(self, rule: _Rule) -> None:
        """End a forward with its connections."""
        self._rules.pop(rule.forward, None)
        self._stop_listening(rule)
        for pair in tuple(rule.pairs):
            self._pump.reset(pair)

    def _stop_listening(self, rule: _Rule) -> None:
        if rule.request:
            self.channel.cancel(rule.request)
            rule.request = 0
        if rule.datagrams is not None:
            rule.datagrams.close()
            rule.datagrams = None
        for one in rule.listeners:
            self._poller.forget(one.fileno())
            one.close()
        if rule.listeners and rule.forward.listen.kind == UNIX and not rule.forward.back:
            with contextlib.suppress(OSError):
                os.unlink(rule.forward.listen.host)
        rule.listeners = []

    def _retry_soon(self) -> None:
        if not self._retrying:
            self._retrying = True
            self._poller.later(_RETRY, self._retry)

    def _retry(self) -> None:
        self._retrying = False
        for rule in list(self._rules.values()):
            if rule.problem and not rule.request and not (rule.forward.back and not self.channel.is_open):
                self._open(rule)
                if not rule.problem and rule.automatic:
                    self._tell_opened(rule)

    def _check_settled(self) -> None:
        now = time.monotonic()
        # A process that has just started gets its connection to garcon in a moment.
        waits = any(rule.request or rule.problem == WAITING for rule in self._rules.values())
        waiting, self._settled = self._settled, []
        for until, settled in waiting:
            if waits and until > now:
                self._settled.append((until, settled))
            else:
                settled()

    # -- what garcon says ----------------------------------------------------------------------------------------

    def _reported(self, message: dict[str, Any]) -> None:
        try:
            self._listening = listening_from(message.get("listening"))
        except ValueError:
            return
        if not self._report_due:
            self._report_due = True
            self._poller.later(0.0 if self._auto and not self._rules else _REPORT_PAUSE, self._act_on_report)

    def _act_on_report(self) -> None:
        self._report_due = False
        if self._auto:
            self._apply()

    def _channel_lost(self) -> None:
        # The sockets would keep the network of a container alive that has stopped.
        for rule in self._rules.values():
            if rule.forward.back:
                self._stop_listening(rule)
                rule.problem, rule.hint = WAITING, ""
        self._lost_at = time.monotonic()
        self._poller.later(ORPHANED, self._end_orphans)
        self._need_channel()

    def _end_orphans(self) -> None:
        if not self.channel.is_open and self._lost_at + ORPHANED <= time.monotonic():
            for rule in self._rules.values():
                for pair in tuple(rule.pairs):
                    self._pump.reset(pair)

    # -- connections ---------------------------------------------------------------------------------------------

    def _accept(self, rule: _Rule, listener: socket.socket, events: int) -> None:
        for _ in range(_ACCEPTS):
            try:
                client, _address = listener.accept()
            except OSError as error:
                # A container may shut its socket down: then it is ready for ever, and has no connection.
                if events != select.EPOLLIN or not isinstance(error, BlockingIOError):
                    self._poller.forget(listener.fileno())
                    self._poller.later(_ACCEPT_PAUSE, partial(self._accept_again, rule, listener))
                return
            if len(self._pump) + self._pending >= CONNECTIONS:
                _reset(client)
                continue
            self._pending += 1
            if rule.forward.back:
                LocalDial(self._poller, rule.forward.target, partial(self._dialed_here, rule, client))
            else:
                message = {"connect": list(rule.forward.target)}
                self.channel.ask(message, partial(self._dialed_inside, rule, client))

    def _accept_again(self, rule: _Rule, listener: socket.socket) -> None:
        if listener in rule.listeners:
            with contextlib.suppress(OSError):
                self._watch_listener(rule, listener)

    def _watch_listener(self, rule: _Rule, listener: socket.socket) -> None:
        events = select.EPOLLIN | select.EPOLLRDHUP
        self._poller.watch(listener.fileno(), events, partial(self._accept, rule, listener))

    def _dialed_here(self, rule: _Rule, client: socket.socket, server: socket.socket | None) -> None:
        self._pending -= 1
        if server is None or self._rules.get(rule.forward) is not rule:
            _reset(client)
            if server is not None:
                server.close()
            return
        self._join(rule, client, server)

    def _dialed_inside(self, rule: _Rule, client: socket.socket, answer: dict[str, Any], descriptor: int) -> None:
        self._pending -= 1
        if descriptor < 0 or self._rules.get(rule.forward) is not rule:
            close_received([descriptor])
            _reset(client)
            return
        try:
            server = received_socket(descriptor, rule.forward.target, listening=False)
        except ValueError:
            _reset(client)
            return
        self._join(rule, client, server)

    def _join(self, rule: _Rule, client: socket.socket, server: socket.socket) -> None:
        holder: list[Pair] = []
        try:
            pair = self._pump.join(client, server, lambda: rule.pairs.discard(holder[0]))
        except OSError:
            return
        holder.append(pair)
        rule.pairs.add(pair)

    def _dial_forth(self, rule: _Rule, flow: DatagramFlow) -> None:
        number = self.channel.ask({"connect": list(rule.forward.target)}, partial(self._flow_dialed, rule, flow))
        flow.cancel = partial(self.channel.cancel, number)

    def _flow_dialed(self, rule: _Rule, flow: DatagramFlow, answer: dict[str, Any], descriptor: int) -> None:
        server: socket.socket | None = None
        if descriptor >= 0:
            with contextlib.suppress(ValueError):
                server = received_socket(descriptor, rule.forward.target, listening=False)
        if rule.datagrams is not None:
            rule.datagrams.connected(flow, server)
        elif server is not None:
            server.close()

    def _dial_back(self, rule: _Rule, flow: DatagramFlow) -> None:
        server: socket.socket | None = None
        with contextlib.suppress(OSError):
            server = connected_datagrams(rule.forward.target)
        if rule.datagrams is not None:
            rule.datagrams.connected(flow, server)
        elif server is not None:
            server.close()

    def _expire(self) -> None:
        for rule in self._rules.values():
            if rule.datagrams is not None:
                rule.datagrams.expire()
        self._poller.later(_EXPIRE, self._expire)


def _reset(sock: socket.socket) -> None:
    """Close a connection so that its program learns that there is no other end."""
    if sock.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()

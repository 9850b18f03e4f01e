"""A client and a host that send raw Wayland messages, valid or not, and a proxy between them.

A test names requests and events, and each peer knows the interfaces of its objects: the protocol's tables give the
opcode and the types of the arguments. The bytes of a malformed message are the test's own.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import logging
import os
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from guestlink.config import Config
from sommelier_shim.channel import CompositorChannel
from sommelier_shim.channel.unix_socket import SocketChannel
from sommelier_shim.core import tables
from sommelier_shim.core.tables import INTERFACES
from sommelier_shim.core.wire import DISPLAY, HEADER, WireError, decode, encode
from sommelier_shim.daemon.host_link import HostLink
from sommelier_shim.daemon.loop import READABLE, Loop
from sommelier_shim.daemon.proxy import Proxy
from sommelier_shim.daemon.proxy_server import ProxyServer
from sommelier_shim.daemon.proxy_session import ProxySession
from support.protocol import letters, named

_T = TypeVar("_T")

LIMIT = 60.0
"""Time limit of any condition, in seconds."""

GLOBALS = (
    ("wl_compositor", 4),
    ("wl_subcompositor", 1),
    ("wl_shm", 1),
    ("wl_seat", 5),
    ("wl_output", 3),
    ("wl_data_device_manager", 3),
    ("xdg_wm_base", 2),
    ("wp_viewporter", 1),
    ("zwp_primary_selection_device_manager_v1", 1),
)
"""The host's globals unless a test passes others."""


class Message(NamedTuple):
    """A received message.

    :ivar interface: the object's interface, :ivar name: the message's name; "" for an object that the receiver
        does not know, and for a message that the interface does not have.
    """

    object_id: int
    opcode: int
    data: bytes
    interface: str
    name: str
    signature: str

    @property
    def arguments(self) -> list[Any]:
        """Its decoded arguments."""
        return list(decode(self.signature, self.data))


def heard_by(messages: Iterable[Message], object_id: int, name: str) -> list[list[Any]]:
    """The arguments of each message with this object and name."""
    return [m.arguments for m in messages if (m.object_id, m.name) == (object_id, name)]


class Turns:
    """Gives the messages of several peers one order: the order in which the test sends them.

    The proxy polls its sockets, so it could read what the host sent last before what a client sent first. Before a
    peer sends, the proxy must have handled what another peer has sent. Other threads than the test's own, which
    answer or flood, take no turns.
    """

    def __init__(self) -> None:
        self._thread = threading.current_thread()
        self._last: Wire | None = None
        self._proxy: Between | None = None

    def at(self, proxy: Between) -> None:
        """Name the proxy that reads what the peers send."""
        self._proxy = proxy

    def take(self, wire: Wire) -> None:
        """Wait until the proxy has handled the messages of the peer that sent last, if that is another peer."""
        if self._proxy is None or threading.current_thread() is not self._thread:
            return
        last, self._last = self._last, wire
        if last is not None and last is not wire and last.sock.fileno() >= 0:
            proxy = self._proxy
            proxy.wait("the proxy reads a peer", lambda: not last.unread() or proxy.is_holding_a_peer())


class Wire:
    """One end of a connection.

    :param is_client: whether this end sends requests and receives events.
    :ivar fds: received descriptors; closed with the connection.
    :ivar interfaces: the interfaces of the objects by id.
    :ivar turns: the order in which this peer and others send; None for the other end of a real program.
    """

    turns: Turns | None = None

    def __init__(self, sock: socket.socket, *, is_client: bool) -> None:
        self.sock = sock
        self._is_client = is_client
        self.interfaces = {DISPLAY: "wl_display"}
        sock.settimeout(LIMIT)
        self.fds: list[int] = []
        self.ended = False
        self._data = b""

    def send(self, *messages: bytes, fds: Sequence[int] = ()) -> None:
        """Send bytes with copies of descriptors."""
        if self.turns is not None:
            self.turns.take(self)
        data = b"".join(messages)
        if fds:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            sent = self.sock.sendmsg([data], rights)
            data = data[sent:]
        if data:  # the proxy may have closed the connection already
            self.sock.sendall(data)

    def receive(self) -> Message | None:
        """The next message, or None at the end of the connection."""
        while True:
            if len(self._data) >= 8:
                object_id, word = HEADER.unpack_from(self._data)
                size = word >> 16
                assert size >= 8, "a message of an impossible size came through"
                if len(self._data) >= size:
                    message = self._parsed(object_id, word & 0xFFFF, self._data[:size])
                    self._data = self._data[size:]
                    return message
            if not self._read():
                return None

    def encode(self, object_id: int, name: str, *values: Any) -> bytes:
        """The bytes of a message from this end. A descriptor among its arguments has no value.

        :raises ValueError: the object's interface has no such message.
        """
        opcode, message = self._named(object_id, name)
        self._add_objects(message, values)
        return encode(object_id, opcode, letters(message), *values)

    def _named(self, object_id: int, name: str) -> tuple[int, tables.Message]:
        return named(self.interfaces[object_id], name, is_request=self._is_client)

    def _parsed(self, object_id: int, opcode: int, data: bytes) -> Message:
        interface = self.interfaces.get(object_id, "")
        known: tuple[tables.Message, ...] = ()
        if interface:
            known = INTERFACES[interface].events if self._is_client else INTERFACES[interface].requests
        if opcode >= len(known):
            return Message(object_id, opcode, data, interface, "", "")
        signature = letters(known[opcode])
        message = Message(object_id, opcode, data, interface, known[opcode].name, signature)
        if "n" in signature:
            with contextlib.suppress(WireError):  # a test may send anything
                self._add_objects(known[opcode], list(decode(signature.replace("h", ""), data)))
        return message

    def _add_objects(self, message: tables.Message, values: Sequence[Any]) -> None:
        """Remember the interfaces of a message's new objects."""
        signature = letters(message)
        if "n" not in signature:
            return
        for index, letter in enumerate(signature):
            if letter == "n":
                at = index - signature.count("h", 0, index)
                interface = message.interfaces[index] or values[at - 2]  # wl_registry.bind names it
                self.interfaces[values[at]] = interface if isinstance(interface, str) else interface.decode()

    def _read(self) -> bool:
        try:
            data, ancillary, _, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(253 * 4), socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            data, ancillary = b"", []
        for _, _, raw in ancillary:
            received = array.array("i")
            received.frombytes(raw)
            self.fds += received
        self.ended = not data
        self._data += data
        return bool(data)

    def unread(self) -> int:
        """The memory that sent messages take until the proxy reads them, in bytes (SIOCOUTQ of unix(7))."""
        if self.sock.fileno() < 0:
            return 0
        return int(struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4)))[0])

    def close(self) -> None:
        """Close the connection and the received descriptors."""
        for descriptor in self.fds:
            os.close(descriptor)
        self.fds.clear()
        self.sock.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Client(Wire):
    """A client. Ids are counted up; :meth:`bind`, :meth:`request` and :meth:`create` send one request each."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, is_client=True)
        self._next = 2
        self.names: dict[str, tuple[int, int]] = {}
        self.registry = 0
        self.events: list[Message] = []

    def new_id(self) -> int:
        """The next id."""
        self._next += 1
        return self._next - 1

    def start(self) -> None:
        """Get the registry and read the announced globals."""
        self.registry = self.create(DISPLAY, "get_registry")
        self.sync()
        for name, interface, version in heard_by(self.events, self.registry, "global"):
            self.names[interface.decode()] = (name, version)

    def bind(self, interface: str, version: int | None = None) -> int:
        """Bind a global, by default in the announced version."""
        name, announced = self.names[interface]
        new = self.new_id()
        self.request(self.registry, "bind", name, interface, version or announced, new)
        return new

    def request(self, object_id: int, name: str, *values: Any, fds: Sequence[int] = ()) -> None:
        """Send a request.

        :param name: its name in the object's interface; :param fds: its descriptors, which have no value.
        """
        self.send(self.encode(object_id, name, *values), fds=fds)

    def create(self, object_id: int, name: str, *values: Any, fds: Sequence[int] = ()) -> int:
        """Send a request that creates an object; returns its id.

        :param values: the arguments without the new id.
        """
        signature = letters(self._named(object_id, name)[1]).replace("h", "")
        new = self.new_id()
        at = signature.index("n")
        self.request(object_id, name, *values[:at], new, *values[at:], fds=fds)
        return new

    def sync(self) -> list[Message]:
        """Wait until the host has handled every request; returns the messages received meanwhile."""
        callback = self.create(DISPLAY, "sync")
        said: list[Message] = []
        while True:
            message = self.receive()
            assert message is not None, f"the connection ended: {self.error_in(said)}"
            if (message.object_id, message.name) == (callback, "done"):
                self.events += said
                return said
            said.append(message)

    def until_end(self) -> list[Message]:
        """Every message until the connection closes."""
        said = []
        while (message := self.receive()) is not None:
            said.append(message)
        return said

    @staticmethod
    def error_in(messages: list[Message]) -> tuple[int, int, str] | None:
        """The wl_display.error among messages: object id, code and text."""
        for object_id, code, text in heard_by(messages, DISPLAY, "error"):
            return object_id, code, text.decode()
        return None


class HostConnection(Wire):
    """A client's connection as the host sees it. Answers wl_display and wl_registry requests.

    :param refused: interface and name of a request that this host answers with an error.
    :param hidden: interfaces that this host does not announce.
    :param on_context: called with the listening descriptor of each committed security context.
    :ivar requests: every received request, including the answered ones.
    """

    def __init__(
        self,
        sock: socket.socket,
        globals_: list[tuple[str, int]],
        refused: tuple[str, str] = ("", ""),
        hidden: frozenset[str] = frozenset(),
        on_context: Callable[[int], None] = lambda descriptor: None,
    ) -> None:
        super().__init__(sock, is_client=False)
        self._refused = refused
        self._hidden = hidden
        self._on_context = on_context
        self.requests: list[Message] = []
        self.registries: list[int] = []
        self.bound: dict[str, list[int]] = {}
        self.silent = False
        self._globals = globals_
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, what: str, condition: Callable[[], _T]) -> _T:
        """Wait until a condition on the received requests holds."""
        with self._changed:
            deadline = time.monotonic() + LIMIT
            while not (value := condition()):
                left = deadline - time.monotonic()
                assert left > 0, f"it did not happen: {what}; came: {self.requests[-20:]}"
                self._changed.wait(left)
            return value

    def wait_request(self, object_id: int, name: str) -> Message:
        """Wait for a request; returns the last one."""
        found = self.wait(f"request {name} of object {object_id}", lambda: self.asked(object_id, name)[-1:])
        return found[0]

    def asked(self, object_id: int, name: str) -> list[Message]:
        """The requests with a name that an object has received so far."""
        return [m for m in self.requests if (m.object_id, m.name) == (object_id, name)]

    def made(self, factory: int | str, name: str) -> int:
        """Wait for a request that creates an object; returns the id of the last one that it created.

        :param factory: the object of the request, or the interface of the global that was bound last.
        """
        object_id = self.bound[factory][-1] if isinstance(factory, str) else factory
        message = self.wait_request(object_id, name)
        return int(message.arguments[message.signature.index("n")])

    def event(self, object_id: int, name: str, *values: Any, fds: Sequence[int] = ()) -> None:
        """Send an event.

        :param name: its name in the object's interface; :param fds: its descriptors, which have no value.
        """
        self.send(self.encode(object_id, name, *values), fds=fds)

    @contextmanager
    def not_reading(self) -> Iterator[None]:
        """Stop reading inside this block."""
        with self._changed:  # the reading thread needs this lock for each message
            yield

    def join(self) -> None:
        """Close the connection and wait for its thread."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(LIMIT)
        self.close()

    def _run(self) -> None:
        while True:
            try:
                message = self.receive()
            except (OSError, AssertionError):
                message = None
            with self._changed:
                if message is not None:
                    self.requests.append(message)
                    try:
                        self._answer(message)
                    except OSError:
                        pass
                self._changed.notify_all()
            if message is None:
                return

    def _answer(self, message: Message) -> None:
        if self.silent:
            return
        if (message.interface, message.name) == self._refused:
            self.silent = True
            self.event(DISPLAY, "error", message.object_id, 1, "refused")
            return
        match message.interface, message.name:
            case "wl_display", "sync":
                (callback,) = message.arguments
                self.send(self.encode(callback, "done", 7), self.encode(DISPLAY, "delete_id", callback))
            case "wl_display", "get_registry":
                (registry,) = message.arguments
                self.registries.append(registry)
                for name, (interface, version) in enumerate(self._globals, 1):
                    if interface not in self._hidden:
                        self.event(registry, "global", name, interface, version)
            case "wl_registry", "bind":
                _, interface, _, new = message.arguments
                self.bound.setdefault(interface.decode(), []).append(new)
            case "wp_security_context_v1", "commit":
                self._on_context(self.fds[0])


class Host:
    """A compositor's sockets: its own, and those of security contexts.

    :ivar connections: the proxy's own, the one by which the proxy probes a security context, and those of clients.
    :ivar refused: interface and name of a request that new connections answer with an error.
    :ivar hidden: interfaces that the host does not announce through a security context.
    :ivar takes_sandboxed: whether the host keeps connections through a security context open.
    :ivar turns: the order in which its connections and clients send.
    """

    def __init__(self, path: Path, globals_: tuple[tuple[str, int], ...] = GLOBALS) -> None:
        self.path = path
        self.globals = list(globals_)
        self.refused = ("", "")
        self.hidden: frozenset[str] = frozenset()
        self.takes_sandboxed = True
        self.connections: list[HostConnection] = []
        self.turns = Turns()
        self._changed = threading.Condition()
        self._listeners: list[tuple[socket.socket, threading.Thread]] = []
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(1024)
        self._listen(listener, is_sandbox=False)

    def connection(self, number: int = -1, *, at_least: int = 2) -> HostConnection:
        """A connection, once at least ``at_least`` exist (the first is the proxy's own)."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.connections) >= at_least, LIMIT)
            return self.connections[number]

    def close(self) -> None:
        """Close every connection and the sockets."""
        for listener, thread in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(LIMIT)
            listener.close()
        for connection in self.connections:
            connection.join()
        self.path.unlink()

    def _listen(self, listener: socket.socket, *, is_sandbox: bool) -> None:
        listener.setblocking(True)
        thread = threading.Thread(target=self._run, args=(listener, is_sandbox), daemon=True)
        self._listeners.append((listener, thread))
        thread.start()

    def _context(self, descriptor: int) -> None:
        self._listen(socket.socket(fileno=os.dup(descriptor)), is_sandbox=True)

    def _run(self, listener: socket.socket, is_sandbox: bool) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            if is_sandbox and not self.takes_sandboxed:
                sock.close()
                continue
            with self._changed:
                hidden = self.hidden if is_sandbox else frozenset()
                made = HostConnection(sock, self.globals, self.refused, hidden, self._context)
                made.turns = self.turns
                self.connections.append(made)
                self._changed.notify_all()


class _Faults(logging.Handler):
    """Collects the exceptions that the proxy logs, with their tracebacks."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


class Between:
    """A proxy that runs in a thread. An exception that the proxy survives fails the test when the proxy stops.

    :param turns: the order in which the peers send; the host's connections take part in :attr:`Host.turns`.
    :ivar failures: the error messages with which the proxy disconnected clients.
    """

    def __init__(
        self, host_path: Path, config: Config, turns: Turns | None = None, channel: CompositorChannel | None = None
    ) -> None:
        self.failures: list[str] = []
        self._faults = _Faults()
        logging.getLogger("sommelier_shim").addHandler(self._faults)
        self._turns = turns or Turns()
        self.loop = Loop()
        self.proxy = Proxy(config, {})
        self.link = HostLink(
            self.loop,
            channel or SocketChannel(str(host_path)),
            app_id="demo",
            use_security_context=True,
            follows_outputs=self.proxy.follows_outputs,
        )
        self.server = ProxyServer(self.loop, self.link, self.proxy.routes, self._failed)
        self._wake, self._wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._calls: list[Callable[[], None]] = []
        self.loop.add(self._wake, READABLE, lambda _: self._woken())
        self._thread = threading.Thread(target=self.loop.run, daemon=True)
        self._thread.start()
        self._turns.at(self)

    def do(self, function: Callable[[], _T]) -> _T:
        """Run a function in the proxy's thread and return its result."""
        done = threading.Event()
        results: list[_T] = []

        def call() -> None:
            try:
                results.append(function())
            finally:
                done.set()

        self._calls.append(call)
        os.write(self._wakeup, b"x")
        assert done.wait(LIMIT)
        return results[0]

    def client(self) -> Client:
        """Connect a new client."""
        ours, theirs = socket.socketpair()
        self.do(lambda: self.server.serve(theirs))
        client = Client(ours)
        client.turns = self._turns
        return client

    def is_holding_a_peer(self) -> bool:
        """Whether there is a peer that the proxy does not read at present."""
        peers = (peer for session in self.server._sessions for peer in (session.client, session.host))
        return bool(self.server._pending) or any(peer.paused for peer in peers)

    def wait(self, what: str, condition: Callable[[], _T]) -> _T:
        """Wait until a condition holds in the proxy's thread."""
        deadline = time.monotonic() + LIMIT
        while not (value := self.do(condition)):
            assert time.monotonic() < deadline, f"it did not happen: {what}"
            time.sleep(0.01)
        return value

    def close(self) -> None:
        """Stop the proxy."""
        self.do(self.loop.stop)
        self._thread.join(LIMIT)
        self.server.close()
        self.link.close()
        self.loop.close()
        os.close(self._wake)
        os.close(self._wakeup)
        logging.getLogger("sommelier_shim").removeHandler(self._faults)
        assert not self._faults.found, self._faults.found[0]

    def _failed(self, session: ProxySession, text: str) -> None:
        self.failures.append(text)
        self.proxy.failed(session, text)

    def _woken(self) -> None:
        os.read(self._wake, 64)
        while self._calls:
            self._calls.pop(0)()


@contextmanager
def between(
    path: Path, config: Config, turns: Turns | None = None, channel: CompositorChannel | None = None
) -> Iterator[Between]:
    """A proxy whose host listens on a socket, or is reached by another channel."""
    proxy = Between(path, config, turns, channel)
    try:
        yield proxy
    finally:
        proxy.close()


@contextmanager
def stage(
    directory: Path, config: Config | None = None, globals_: tuple[tuple[str, int], ...] = GLOBALS
) -> Iterator[tuple[Between, Host]]:
    """A proxy and its host."""
    host = Host(directory / "host", globals_)
    try:
        with between(host.path, config or Config({}), host.turns) as proxy:
            yield proxy, host
    finally:
        host.close()

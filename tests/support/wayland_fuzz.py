"""Conversations through the proxy, generated from bytes, and models of both peers that check each conversation.

The same bytes always give the same conversation, so a fuzzer can explore conversations and a test can repeat its
findings. The models know what libwayland knows: each side's objects, and the ids that may be used next.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

from sommelier_shim.channel.unix_socket import SocketTransport
from sommelier_shim.core.hooks import Hooks
from sommelier_shim.core.layouts import interface_layout, is_known, version_of
from sommelier_shim.core.relay import Flow, Relay
from sommelier_shim.core.routes import Routes
from sommelier_shim.core.trace import Trace
from sommelier_shim.core.translation import TranslatingRoutes
from sommelier_shim.core.wire import (
    DISPLAY,
    FIRST_SERVER_ID,
    HEADER,
    UINT,
    Buffer,
    WireError,
    decode,
    encode,
    skip,
)
from sommelier_shim.daemon.host_link import HostLink
from sommelier_shim.features import own_globals, registry, scaling
from sommelier_shim.features.output_places import XDG_OUTPUT
from sommelier_shim.features.policy import accelerators, clipboard, identity
from sommelier_shim.features.policy.interfaces import GlobalPolicy

GLOBALS = (
    "wl_compositor", "wl_shm", "wl_seat", "wl_output", "wl_data_device_manager", "xdg_wm_base", "wp_viewporter",
    "zwp_linux_dmabuf_v1", "wl_subcompositor", "zwp_primary_selection_device_manager_v1",
    "wp_fractional_scale_manager_v1", "zwp_tablet_manager_v2", "wl_shell", "wp_single_pixel_buffer_manager_v1",
    "zxdg_output_manager_v1", "zaura_shell", "zcr_keyboard_extension_v1",
)  # fmt: skip
"""The globals of a conversation's host; the client binds each one that the proxy announces."""


def _routes(*, clipboard_policy: str = "both", traced: bool = False, **more: Any) -> Routes:
    hooks = Hooks()
    registry.install(hooks, GlobalPolicy(more.get("allow", ())))
    clipboard.install(hooks, clipboard_policy)
    identity.install(hooks, identity.chromeos_naming("vm"), more.get("title", ""))
    wanted: dict[str, int] = {}
    if "scale" in more:
        wanted |= scaling.install(
            hooks,
            more["scale"],
            (96,),
            stable=more.get("stable", False),
            has_viewporter=more.get("viewporter", True),
            places={},
        )
    if "direct" in more:
        wanted |= scaling.install_direct(hooks, more["direct"], stable=more.get("stable", False), places={})
    if "extension" in more:
        some = frozenset({accelerators.Accelerator(0, 65515)})
        wanted |= accelerators.install(hooks, some, some, has_extension=more["extension"])
    trace = Trace("ring") if traced else None
    if not wanted:
        return Routes(hooks, trace)
    own_globals.install(hooks, wanted)
    return TranslatingRoutes(hooks, trace)


ROUTES = {
    "plain": _routes(),
    "policies": _routes(clipboard_policy="off", traced=True, title="[box] ", extension=False, allow=("*",)),
    "keys": _routes(extension=True),
    "scaled": _routes(scale=0.5),
    "everything": _routes(
        clipboard_policy="off", traced=True, title="[box] ", scale=1.5, stable=True, extension=True
    ),
    "whole scale": _routes(scale=2.0, viewporter=False),
    "direct scale": _routes(direct=1.25, stable=True, traced=True),
}


class _Said(NamedTuple):
    """A message: its object, opcode and bytes."""

    object_id: int
    opcode: int
    data: bytes


def messages(data: Buffer) -> Iterator[_Said]:
    """The whole messages at the start of ``data``."""
    at = 0
    while at + 8 <= len(data):
        object_id, word = HEADER.unpack_from(data, at)
        size = word >> 16
        if size < 8 or size & 3 or at + size > len(data):
            return
        yield _Said(object_id, word & 0xFFFF, bytes(data[at : at + size]))
        at += size


class Peer:
    """The objects that one peer knows: interfaces by id, the oldest first where an id is in use again."""

    def __init__(self) -> None:
        self.objects: dict[int, list[str]] = {DISPLAY: ["wl_display"]}
        self.ended: set[int] = set()
        self.highest = DISPLAY

    def interface(self, object_id: int, *, is_request: bool) -> str:
        """The interface of a message's object, or "": the id's newest for a request, its oldest for an event."""
        found = self.objects.get(object_id)
        return found[-1 if is_request else 0] if found else ""

    def add(self, object_id: int, interface: str) -> None:
        """Add a new object."""
        self.objects.setdefault(object_id, []).append(interface)
        if object_id < FIRST_SERVER_ID:
            self.highest = max(self.highest, object_id)

    def remove(self, object_id: int) -> None:
        """Remove the oldest object of an id."""
        found = self.objects[object_id]
        del found[0]
        if not found:
            del self.objects[object_id]
        self.ended.discard(object_id)


def _made(interface: str, said: _Said, *, is_request: bool) -> list[tuple[int, str]]:
    """The objects that a message creates."""
    if not interface:
        return []
    shapes = interface_layout(interface).requests if is_request else interface_layout(interface).events
    if said.opcode >= len(shapes) or len(said.data) < shapes[said.opcode].min_size:
        return []
    if interface == "wl_registry" and is_request and said.opcode == 0:
        try:
            _, name, _, new = decode("usun", said.data)
        except WireError:
            return []
        text = name.decode("ascii", "replace") if isinstance(name, bytes) else ""
        return [(new, text)] if isinstance(new, int) and is_known(text) else []
    made = []
    for argument in shapes[said.opcode].new:
        try:
            at = skip(argument.preceding, said.data, 8, len(said.data)) if argument.preceding else 0
            made.append((UINT.unpack_from(said.data, at + argument.offset)[0], argument.interface))
        except Exception:
            return []
    return made


class Conversation:
    """A relay, the messages fed to it, and its output.

    :param kind: a key of :data:`ROUTES`.
    :param is_sensible: whether the client obeys the protocol; then the host must see no protocol error.
    :param withdrawn: the number of globals that the host removes at once; the client binds these a second time.
    :ivar descriptors: descriptors that were fed, and have been neither passed on nor closed.
    :ivar is_strange: whether the host broke the protocol, so that its ids cannot be checked any more.
    """

    def __init__(self, kind: str, withdrawn: int = 0, *, is_sensible: bool = False) -> None:
        self.client, self.host = Peer(), Peer()
        self.descriptors: set[int] = set()
        self.is_strange = False
        self._translates = isinstance(ROUTES[kind], TranslatingRoutes)
        self._is_checked = self._translates or is_sensible
        self.relay: Relay = ROUTES[kind].relay(self._to_client, self._to_host)
        self.say(True, encode(DISPLAY, 1, "n", 2))
        offered = [(n, interface, version_of(interface)) for n, interface in enumerate(GLOBALS, 1)]
        if self._translates:
            for name, interface, version in offered:
                self.say(False, encode(2, 0, "usu", name, interface, version))
        for name, interface, version in offered:
            self.say(False, encode(self.relay.host_id(2), 0, "usu", name, interface, version))
        new = 3
        for name, (interface, version) in list(self.relay.globals.items()):
            self.say(True, encode(2, 0, "usun", name, interface, version, new))
            new += 1
        for name, (interface, version) in list(self.relay.globals.items())[:withdrawn]:
            self.say(False, encode(self.relay.host_id(2), 1, "u", name))
            self.say(True, encode(2, 0, "usun", name, interface, version, new))
            new += 1

    def say(self, is_request: bool, data: bytes, descriptors: int = 0) -> None:
        """Feed messages from a peer.

        :raises WireError: the proxy closes the conversation.
        """
        flow = self.relay.requests if is_request else self.relay.events
        for _ in range(descriptors):
            descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            self.descriptors.add(descriptor)
            flow.received.append(descriptor)
        for said in messages(data):
            if is_request:
                for new, interface in _made(
                    self.client.interface(said.object_id, is_request=True), said, is_request=True
                ):
                    self.client.add(new, interface)
            else:
                self._host_said(said)
        self._feed(flow, data)

    def close(self) -> None:
        """Close the relay; it must have passed on or closed every descriptor, and closed none twice."""
        os.close = self._closed
        try:
            self.relay.close()
        finally:
            os.close = _close
        assert not self.descriptors, f"descriptors are left: {self.descriptors}"

    def _feed(self, flow: Flow, data: bytes) -> None:
        buffer = bytearray(data + bytes(8))
        os.close = self._closed  # mock.patch would take as long as everything else here
        try:
            with memoryview(buffer) as view:
                used = flow.feed(buffer, view, len(data))
        finally:
            os.close = _close
        assert 0 <= used <= len(data)

    def _closed(self, descriptor: int) -> None:
        if descriptor in self.descriptors:
            self.descriptors.remove(descriptor)
        _close(descriptor)

    def _passed(self, descriptors: list[int] | None) -> None:
        for descriptor in descriptors or ():
            self.descriptors.remove(descriptor)
            _close(descriptor)

    def _host_said(self, said: _Said) -> None:
        if said.object_id == DISPLAY and said.opcode == 1:
            gone = UINT.unpack(said.data[8:])[0] if len(said.data) == 12 else 0
            if gone in self.host.ended:
                self.host.remove(gone)
            else:
                self.is_strange = True
            return
        told = self.host.interface(said.object_id, is_request=False)
        if told == "wl_callback" and said.opcode == 0:
            self.host.ended.add(said.object_id)
        for new, interface in _made(told, said, is_request=False):
            if new in self.host.objects:
                self.is_strange = True
            else:
                self.host.add(new, interface)

    def _to_host(self, data: Buffer, descriptors: list[int] | None) -> None:
        self._passed(descriptors)
        checks = self._is_checked and not self.is_strange
        size = 0
        for said in messages(data):
            size += len(said.data)
            interface = self.host.interface(said.object_id, is_request=True)
            if checks:
                assert interface, f"a request to object {said.object_id}, which the host does not have"
                assert said.object_id not in self.host.ended, f"a request to object {said.object_id}, which ended"
            for new, made in _made(interface, said, is_request=True):
                if checks:
                    assert new not in self.host.objects, f"object {new} is made twice"
                    assert DISPLAY < new <= self.host.highest + 1, f"object {new} leaves a gap"
                self.host.add(new, made)
            shapes = interface_layout(interface).requests if interface else ()
            if said.opcode < len(shapes) and shapes[said.opcode].destructor:
                if said.object_id < FIRST_SERVER_ID:
                    self.host.ended.add(said.object_id)
                else:
                    self.host.remove(said.object_id)
        assert size == len(data), "a piece of a message"

    def _to_client(self, data: Buffer, descriptors: list[int] | None) -> None:
        self._passed(descriptors)
        size = 0
        for said in messages(data):
            size += len(said.data)
            interface = self.client.interface(said.object_id, is_request=False)
            assert interface, f"an event of object {said.object_id}, which the client does not have"
            for new, made in _made(interface, said, is_request=False):
                assert new >= FIRST_SERVER_ID
                if new not in self.client.objects:
                    self.client.add(new, made)
                self.client.objects[new] = [made]
            if said.object_id == DISPLAY and said.opcode == 1:
                (gone,) = UINT.unpack_from(said.data, 8)
                if gone in self.client.objects:  # libwayland ignores other ids
                    self.client.remove(gone)
        assert size == len(data), "a piece of a message"


_close: Callable[[int], None] = os.close

_TEXTS = (b"", b"text/plain", b"wl_compositor", b"wl_output", b"org.example.App", b"\xff\xfe", b"x" * 200)
_WORDS = (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x10000, 256, 0xFFFFFF00, FIRST_SERVER_ID + 9, 1000)


class _Bytes:
    """A reader for the bytes that describe a conversation."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_empty(self) -> bool:
        return self._at >= len(self._data)

    def byte(self) -> int:
        return self.take(1)[0]

    def take(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        self._at += count
        return found + bytes(count - len(found))


def tell(data: bytes) -> None:
    """Play the conversation that ``data`` describes.

    The first byte chooses the kind of proxy. Messages follow: a byte with the direction (bit 0), the number of
    descriptors (bits 1 to 3) and whether raw bytes follow (bit 7); the object, the opcode, the number of arguments;
    the arguments.

    :raises AssertionError: the proxy broke the protocol. Any other exception is a fault of the proxy as well.
    """
    source = _Bytes(data)
    kinds = [*ROUTES]
    kinds.insert(6, "link")  # its position in the corpus
    kind = kinds[source.byte() % len(kinds)]
    if kind == "link":
        _tell_link(data[1:])
        return
    talk = Conversation(kind)
    try:
        while not source.is_empty:
            control = source.byte()
            said = source.take(source.byte()) if control & 0x80 else _message(source)
            talk.say(bool(control & 1), said, (0, 1, 2, 3, 4, 29, 60, 253)[control >> 1 & 7])
    except WireError:
        pass
    finally:
        talk.close()


def _message(source: _Bytes) -> bytes:
    object_id, opcode = _word(source.byte(), source), source.byte()
    body = b""
    for _ in range(source.byte() & 15):
        code = source.byte()
        if code == 255:
            text = _TEXTS[source.byte() % len(_TEXTS)]
            body += encode(0, 0, "s", text)[8:]
        elif code == 254:
            body += encode(0, 0, "a", source.take(source.byte() & 31))[8:]
        else:
            body += UINT.pack(_word(code, source))
    return HEADER.pack(object_id, (8 + len(body)) << 16 | opcode) + body


def _word(code: int, source: _Bytes) -> int:
    if code < 200:
        return code
    if code < 208:
        return FIRST_SERVER_ID + code - 200
    if code < 216:
        return _WORDS[code - 208]
    return int(UINT.unpack(source.take(4))[0])


class _NoLoop:
    """An event loop that never calls back."""

    def add(self, descriptor: int, events: int, handler: Any) -> None:
        """Does nothing."""

    def remove(self, descriptor: int) -> None:
        """Does nothing."""

    def call_later(self, seconds: float, function: Any) -> Any:
        """Never calls the function."""
        return mock.Mock()


class _Pair:
    """A channel; this object holds the other end of each connection.

    :ivar path: nothing listens there: the proxy's look into a security context fails.
    """

    path = "/nonexistent/wayland"

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def connect(self) -> SocketTransport:
        """One end of a new pair."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        theirs.setblocking(False)
        self.sockets.append(theirs)
        return SocketTransport(ours)


def _tell_link(data: bytes) -> None:
    """The proxy's own connection to a host that sends arbitrary data: it closes or goes on, and raises nothing."""
    pair = _Pair()
    link = HostLink(_NoLoop(), pair, app_id="x", use_security_context=bool(data[:1] > b"\x80"))  # type: ignore[arg-type]
    link.when_known(lambda trouble: None)
    source = _Bytes(data[1:])
    try:
        link.outputs.start({1: (XDG_OUTPUT, 3), 2: ("wl_output", 4)}, 7, lambda said: None)
        while not source.is_empty and link._own is not None:
            said = source.take(source.byte()) if source.byte() & 0x80 else _message(source)
            try:
                pair.sockets[-1].send(said or b"\0")
            except OSError:
                return
            link._own._readable(1)
    finally:
        link.close()
        for sock in pair.sockets:
            sock.close()

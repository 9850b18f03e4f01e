"""Nonsense for the wire and the relay from both sides: the only exception is WireError, nothing leaks, and what is
passed on is always whole messages."""

from __future__ import annotations

import os
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from sommelier_shim import own_globals, registry, scaling
from sommelier_shim.policy import accelerators, clipboard, identity
from sommelier_shim.policy.interfaces import GlobalPolicy
from sommelier_shim.relay import Flow, Relay
from sommelier_shim.routes import Hooks, Routes
from sommelier_shim.scaling.arithmetic import Scale
from sommelier_shim.shapes import interface_shape
from sommelier_shim.trace import Trace
from sommelier_shim.translation import TranslatingRelay, TranslatingRoutes
from sommelier_shim.wire import FIRST_SERVER_ID, HEADER, Buffer, WireError, decode, encode

GLOBALS = (
    "wl_compositor", "wl_shm", "wl_seat", "wl_output", "wl_data_device_manager", "xdg_wm_base", "wp_viewporter",
    "zwp_linux_dmabuf_v1",
)  # fmt: skip


def _plain() -> Routes:
    hooks = Hooks()
    registry.install(hooks, GlobalPolicy())
    return Routes(hooks)


def _everything() -> Routes:
    hooks = Hooks()
    registry.install(hooks, GlobalPolicy())
    clipboard.install(hooks, "off")
    identity.install(hooks, identity.chromeos_naming("vm"), "[box] ")
    wanted = scaling.install(hooks, Scale(0.5), (96,), has_viewporter=True)
    some = frozenset({accelerators.Accelerator(0, 65515)})
    wanted |= accelerators.install(hooks, some, some, has_extension=True)
    own_globals.install(hooks, wanted)
    return TranslatingRoutes(hooks, Trace("ring"))


ROUTES = {"plain": _plain(), "everything": _everything()}


class Conversation:
    """A relay with every global bound once, whose output is checked to be whole messages."""

    def __init__(self, kind: str) -> None:
        self.relay: Relay = ROUTES[kind].relay(self._take, self._take)
        self.feed(self.relay.requests, encode(1, 1, "n", 2))
        mine = self.relay.host_id(2)
        for name, interface in enumerate(GLOBALS, 1):
            version = interface_shape(interface).version
            if isinstance(self.relay, TranslatingRelay):
                self.feed(self.relay.events, encode(2, 0, "usu", name, interface, version))
            self.feed(self.relay.events, encode(mine, 0, "usu", name, interface, version))
            self.feed(self.relay.requests, encode(2, 0, "usun", name, interface, version, name + 2))

    def _take(self, data: Buffer, descriptors: list[int] | None) -> None:
        for descriptor in descriptors or ():
            os.close(descriptor)
        at = 0
        while at < len(data):
            _, word = HEADER.unpack_from(data, at)
            assert word >> 16 >= 8
            at += word >> 16
        assert at == len(data)

    @staticmethod
    def feed(flow: Flow, data: bytes) -> None:
        buffer = bytearray(data + bytes(8))
        with memoryview(buffer) as view:
            used = flow.feed(buffer, view, len(data))
        assert 0 <= used <= len(data)


KINDS = st.sampled_from(sorted(ROUTES))
IDS = st.one_of(st.integers(0, 24), st.integers(FIRST_SERVER_ID, FIRST_SERVER_ID + 3), st.integers(0, 2**32 - 1))
WORDS = st.one_of(IDS, st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1]))
TEXTS = st.one_of(st.sampled_from([b"", b"text/plain", b"wl_compositor"]), st.binary(max_size=40))


@st.composite
def messages(draw: st.DrawFn, *, requests: bool) -> bytes:
    """A message that fits the signature of some message of some interface, for some object."""
    interface = interface_shape(draw(st.sampled_from(["wl_display", "wl_registry", "wl_surface", *GLOBALS])))
    shapes = interface.requests if requests else interface.events
    if not shapes:
        return encode(draw(IDS), 0)
    opcode = draw(st.integers(0, len(shapes) - 1))
    values: list[object] = []
    for letter in shapes[opcode].signature.replace("h", ""):
        if letter == "s":
            values.append(draw(TEXTS).replace(b"\0", b""))
        elif letter == "a":
            values.append(draw(st.binary(max_size=16)))
        elif letter == "f":
            values.append(draw(st.floats(-1e6, 1e6)))
        elif letter == "i":
            values.append(draw(st.integers(-(2**31), 2**31 - 1)))
        else:
            values.append(draw(WORDS))
    return encode(draw(IDS), opcode, shapes[opcode].signature, *values)  # type: ignore[arg-type]


@settings(deadline=None)
@given(KINDS, st.booleans(), st.binary(max_size=300))
def test_random_bytes(kind: str, requests: bool, data: bytes) -> None:
    talk = Conversation(kind)
    with suppress(WireError):
        talk.feed(talk.relay.requests if requests else talk.relay.events, data)
    talk.relay.close()


@settings(max_examples=300, deadline=None)
@given(
    KINDS,
    st.lists(
        st.one_of(
            st.tuples(st.just(True), messages(requests=True)), st.tuples(st.just(False), messages(requests=False))
        ),
        max_size=30,
    ),
    st.integers(0, 40),
)
def test_conversations_of_well_formed_nonsense(kind: str, said: list[tuple[bool, bytes]], descriptors: int) -> None:
    talk = Conversation(kind)
    relay = talk.relay
    for flow in (relay.requests, relay.events):
        flow.received.extend(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(descriptors))
    for is_request, message in said:
        try:
            talk.feed(relay.requests if is_request else relay.events, message)
        except WireError:
            break
    relay.close()


@settings(deadline=None)
@given(KINDS, messages(requests=True), st.data())
def test_a_message_with_one_damaged_byte(kind: str, message: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(message) - 1))
    damaged = bytearray(message)
    damaged[place] ^= data.draw(st.integers(1, 255))
    talk = Conversation(kind)
    with suppress(WireError):
        talk.feed(talk.relay.requests, bytes(damaged))
    talk.relay.close()


@settings(deadline=None)
@given(st.text("iufsonah", max_size=8), st.binary(min_size=8, max_size=100))
def test_decoding_anything(signature: str, data: bytes) -> None:
    with suppress(WireError):
        values = decode(signature, data)
        assert len(values) == len(signature)


@settings(deadline=None)
@given(st.lists(messages(requests=True), max_size=8), st.data())
def test_where_the_input_is_cut_changes_nothing(said: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(said)
    cut = data.draw(st.integers(0, len(whole)))
    outputs = []
    for pieces in ((whole,), (whole[:cut], whole[cut:])):
        collected = bytearray()

        def take(part: Buffer, _: list[int] | None, collected: bytearray = collected) -> None:
            collected.extend(part)

        relay = ROUTES["plain"].relay(lambda part, fds: None, take)
        relay.requests.objects[2] = relay.requests.objects[1]
        rest = b""
        try:
            for piece in pieces:
                end = len(rest + piece)
                buffer = bytearray(rest + piece + bytes(8))
                used = relay.requests.feed(buffer, memoryview(buffer), end)
                rest = bytes(buffer[used:end])
        except WireError as error:
            collected += str(error).encode()
        outputs.append(bytes(collected))
    assert outputs[0] == outputs[1]

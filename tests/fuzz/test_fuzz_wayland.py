"""Arbitrary messages for the wire and the relay from both sides: the only exception is WireError, nothing leaks,
and both peers receive only messages that their models of objects allow (support/wayland_fuzz.py)."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from fuzz.wayland_atheris import read_corpus
from sommelier_shim.core.layouts import interface_layout
from sommelier_shim.core.wire import FIRST_SERVER_ID, HEADER, Buffer, WireError, decode, encode
from support.fuzzing import ROUND
from support.wayland_fuzz import GLOBALS, ROUTES, Conversation, tell

KINDS = st.sampled_from(sorted(ROUTES))
IDS = st.one_of(st.integers(0, 30), st.integers(FIRST_SERVER_ID, FIRST_SERVER_ID + 3), st.integers(0, 2**32 - 1))
WORDS = st.one_of(IDS, st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1]))
TEXTS = st.one_of(st.sampled_from([b"", b"text/plain", b"wl_compositor"]), st.binary(max_size=40))


@st.composite
def messages(draw: st.DrawFn, *, requests: bool) -> bytes:
    """A message with some message's signature, for some object."""
    interface = interface_layout(draw(st.sampled_from(["wl_display", "wl_registry", "wl_surface", *GLOBALS])))
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


def _headed(object_id: int, opcode: int, body: bytes) -> bytes:
    body = body[: len(body) & ~3]
    return HEADER.pack(object_id, (8 + len(body)) << 16 | opcode) + body


HEADED = st.lists(st.builds(_headed, IDS, st.integers(0, 20), st.binary(max_size=40)), max_size=8).map(b"".join)
"""Valid headers, most of them of objects that exist, and arbitrary arguments."""


@ROUND
@given(KINDS, st.booleans(), HEADED | st.binary(max_size=300))
def test_random_bytes(kind: str, requests: bool, data: bytes) -> None:
    talk = Conversation(kind)
    with suppress(WireError):
        talk.say(requests, data)
    talk.close()


@ROUND
@given(
    KINDS,
    st.sampled_from([0, 0, 8]),
    st.lists(
        st.one_of(
            st.tuples(st.just(True), messages(requests=True), st.integers(0, 40)),
            st.tuples(st.just(False), messages(requests=False), st.integers(0, 40)),
        ),
        max_size=30,
    ),
)
def test_conversations_of_well_formed_nonsense(
    kind: str, withdrawn: int, said: list[tuple[bool, bytes, int]]
) -> None:
    talk = Conversation(kind, withdrawn)
    with suppress(WireError):
        for is_request, message, descriptors in said:
            talk.say(is_request, message, descriptors)
    talk.close()


@ROUND
@given(KINDS, messages(requests=True), st.data())
def test_a_message_with_one_damaged_byte(kind: str, message: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(message) - 1))
    damaged = bytearray(message)
    damaged[place] ^= data.draw(st.integers(1, 255))
    talk = Conversation(kind)
    with suppress(WireError):
        talk.say(True, bytes(damaged))
    talk.close()


@ROUND
@given(st.text("iufsonah", max_size=8), st.binary(min_size=8, max_size=100))
def test_decoding_anything(signature: str, data: bytes) -> None:
    with suppress(WireError):
        values = decode(signature, data)
        assert len(values) == len(signature)


@ROUND
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
        for flow in (relay.requests, relay.events):
            flow.objects.put(2, flow.objects.get(1))
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


@ROUND
@given(st.binary(max_size=200))
def test_conversations_that_bytes_tell(data: bytes) -> None:
    tell(data)


def test_what_fuzzing_found_before() -> None:
    corpus = read_corpus()
    assert len(corpus) > 100
    for data in corpus:
        tell(data)

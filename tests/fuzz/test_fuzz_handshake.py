"""Whatever a stranger sends, either side of the handshake refuses it, and never proves what it should not."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from guestlink.handshake import (
    CHALLENGE_SIZE,
    MAGIC,
    NONCE_SIZE,
    PROOF_SIZE,
    RESPONSE_SIZE,
    VERSION,
    DialerHandshake,
    Handshake,
    HandshakeFailed,
    ListenerHandshake,
    Purpose,
)
from support.fuzzing import ROUND

TOKEN = "8a3f2b1c-0d4e-4f5a-9b6c-7d8e9f0a1b2c"
HEADER = MAGIC + bytes([VERSION])
PURPOSES = st.sampled_from(Purpose)


def honest() -> list[bytes]:
    """The messages of a conversation that a stranger has recorded."""
    listener, dialer = ListenerHandshake(TOKEN, set(Purpose)), DialerHandshake(TOKEN, Purpose.VSH)
    challenge = listener.begin()
    response = dialer.receive(challenge)
    return [challenge, response, listener.receive(response)]


RECORDED = honest()
PIECES = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([HEADER, MAGIC, *RECORDED, RECORDED[1][-PROOF_SIZE:], f"{TOKEN}\n".encode()]),
    st.binary(min_size=NONCE_SIZE, max_size=NONCE_SIZE).map(lambda nonce: HEADER + nonce),
    st.binary(min_size=64, max_size=64).map(lambda rest: HEADER + b"\x04" + rest),
)
STREAMS = st.lists(PIECES, max_size=5).map(b"".join)
CUTS = st.lists(st.integers(0, 2**16), max_size=8)


def feed(side: Handshake, stream: bytes, cuts: list[int]) -> tuple[bytes, bool]:
    """Send a stream in pieces; returns what the side sent, and whether it refused."""
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    sent = side.begin()
    for start, end in pairwise(places):
        while start < end and side.wanted:
            taken = min(end - start, side.wanted)
            try:
                sent += side.receive(stream[start : start + taken])
            except HandshakeFailed:
                return sent, True
            start += taken
    assert side.ended().message
    return sent, False


@ROUND
@given(STREAMS, CUTS)
def test_a_stranger_gets_a_challenge_from_a_listener_and_nothing_else(stream: bytes, cuts: list[int]) -> None:
    side = ListenerHandshake(TOKEN, set(Purpose))
    sent, _ = feed(side, stream, cuts)
    assert len(sent) == CHALLENGE_SIZE
    assert not side.complete
    assert side.purpose is None
    assert TOKEN.encode() not in sent


@ROUND
@given(STREAMS, CUTS, PURPOSES)
def test_a_stranger_gets_one_response_from_a_dialer_and_never_its_trust(
    stream: bytes, cuts: list[int], purpose: Purpose
) -> None:
    side = DialerHandshake(TOKEN, purpose)
    sent, _ = feed(side, stream, cuts)
    assert len(sent) in (0, RESPONSE_SIZE)
    assert not side.complete
    assert TOKEN.encode() not in sent


@ROUND
@given(PURPOSES, CUTS, CUTS, st.binary(max_size=20))
def test_both_sides_agree_however_the_bytes_are_cut(
    purpose: Purpose, first: list[int], second: list[int], behind: bytes
) -> None:
    listener, dialer = ListenerHandshake(TOKEN, set(Purpose)), DialerHandshake(TOKEN, purpose)
    response, refused = feed(dialer, listener.begin(), first)
    assert not refused
    places = sorted({0, len(response), *(cut % (len(response) + 1) for cut in second)})
    proof = b"".join(listener.receive(response[start:end]) for start, end in pairwise(places))
    for byte in proof:
        dialer.receive(bytes([byte]))
    assert listener.complete
    assert dialer.complete
    assert listener.purpose is purpose


@ROUND
@given(st.integers(0, 2), st.integers(0, 8 * RESPONSE_SIZE - 1))
def test_a_relay_that_changes_any_bit_is_noticed(message: int, bit: int) -> None:
    listener, dialer = ListenerHandshake(TOKEN, set(Purpose)), DialerHandshake(TOKEN, Purpose.VSH)

    def changed(number: int, content: bytes) -> bytes:
        if number != message:
            return content
        place = bit % (8 * len(content))
        wrong = bytearray(content)
        wrong[place // 8] ^= 1 << place % 8
        return bytes(wrong)

    try:
        response = dialer.receive(changed(0, listener.begin()))
        proof = listener.receive(changed(1, response))
        dialer.receive(changed(2, proof))
    except HandshakeFailed:
        return
    raise AssertionError(f"bit {bit} of message {message} counts for nothing")

"""The handshake's two sides, in memory."""

from __future__ import annotations

import hmac
from itertools import pairwise

import pytest

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
    call_token,
)

TOKEN = "8a3f2b1c-0d4e-4f5a-9b6c-7d8e9f0a1b2c"
OTHER = TOKEN.replace("8", "9", 1)
HEADER = MAGIC + bytes([VERSION])


def pair(
    listening: str = TOKEN, dialing: str = TOKEN, purpose: Purpose = Purpose.VSH
) -> tuple[ListenerHandshake, DialerHandshake]:
    return ListenerHandshake(listening, {Purpose.VSH, Purpose.SFTP}), DialerHandshake(dialing, purpose)


def run(listener: Handshake, dialer: Handshake) -> list[bytes]:
    """Carry the bytes between both sides; returns the messages."""
    messages = [listener.begin()]
    for receiver in (dialer, listener, dialer):
        messages.append(receiver.receive(messages[-1]))
    return messages[:-1]


def byte_by_byte(side: Handshake, said: bytes) -> None:
    for byte in said:
        side.receive(bytes([byte]))


@pytest.mark.parametrize("purpose", [Purpose.VSH, Purpose.SFTP])
def test_both_sides_know_the_token_and_agree_about_the_purpose(purpose: Purpose) -> None:
    listener, dialer = pair(purpose=purpose)
    messages = run(listener, dialer)
    assert [len(message) for message in messages] == [CHALLENGE_SIZE, RESPONSE_SIZE, PROOF_SIZE]
    assert listener.complete
    assert dialer.complete
    assert listener.wanted == dialer.wanted == 0
    assert listener.purpose is purpose


def test_the_messages_are_those_of_the_description() -> None:
    """chromeos-vsh.md §9, computed from its words."""
    listener = ListenerHandshake(TOKEN, [Purpose.CALLS], b"L" * NONCE_SIZE)
    dialer = DialerHandshake(TOKEN, Purpose.CALLS, b"D" * NONCE_SIZE)
    text = b"guestlink handshake\0\x01%s\0\x02" + b"L" * 32 + b"D" * 32
    proofs = [hmac.digest(TOKEN.encode(), text % role, "sha256") for role in (b"dialer", b"listener")]
    assert run(listener, dialer) == [
        b"GUESTLINK\x01" + b"L" * 32,
        b"GUESTLINK\x01\x02" + b"D" * 32 + proofs[0],
        proofs[1],
    ]


def test_no_message_has_the_token_or_repeats_itself() -> None:
    conversations = [b"".join(run(*pair())) for _ in range(20)]
    assert len(set(conversations)) == 20
    assert not [one for one in conversations if TOKEN.encode() in one]


def test_a_dialer_with_another_token_is_refused_and_learns_no_proof() -> None:
    listener, dialer = pair(dialing=OTHER)
    response = dialer.receive(listener.begin())
    with pytest.raises(HandshakeFailed, match="does not know the container's token"):
        listener.receive(response)


def test_a_listener_with_another_token_is_refused_and_the_hint_names_the_reason() -> None:
    listener, dialer = pair()
    dialer.receive(listener.begin())
    with pytest.raises(HandshakeFailed, match="does not know the container's token") as caught:
        dialer.receive(b"\0" * PROOF_SIZE)
    assert "another program serves this address" in caught.value.hint


@pytest.mark.parametrize("changed", range(len(HEADER), RESPONSE_SIZE))
def test_every_byte_of_the_response_counts(changed: int) -> None:
    listener, dialer = pair()
    response = bytearray(dialer.receive(listener.begin()))
    response[changed] ^= 1
    with pytest.raises(HandshakeFailed):
        listener.receive(bytes(response))
    assert listener.purpose is None


@pytest.mark.parametrize("changed", range(PROOF_SIZE))
def test_every_byte_of_the_listeners_proof_counts(changed: int) -> None:
    listener, dialer = pair()
    proof = bytearray(listener.receive(dialer.receive(listener.begin())))
    proof[changed] ^= 1
    with pytest.raises(HandshakeFailed):
        dialer.receive(bytes(proof))


def test_a_recorded_response_is_refused_by_the_next_connection() -> None:
    listener, dialer = pair()
    _, response, _ = run(listener, dialer)
    again, _ = pair()
    again.begin()
    with pytest.raises(HandshakeFailed):
        again.receive(response)


def test_a_recorded_listener_is_refused_by_the_next_dialer() -> None:
    challenge, _, proof = run(*pair())
    _, dialer = pair()
    dialer.receive(challenge)
    with pytest.raises(HandshakeFailed):
        dialer.receive(proof)


def test_a_dialers_own_proof_sent_back_is_refused() -> None:
    listener, dialer = pair()
    response = dialer.receive(listener.begin())
    with pytest.raises(HandshakeFailed):
        dialer.receive(response[-PROOF_SIZE:])


def test_a_listener_that_gets_its_own_challenge_back_refuses_it() -> None:
    listener, _ = pair()
    challenge = listener.begin()
    with pytest.raises(HandshakeFailed):
        listener.receive((challenge * 2)[:RESPONSE_SIZE])


def test_a_listeners_proof_is_no_dialers_proof() -> None:
    """Two listeners are played against each other: the proof of one opens no other."""
    first, dialer = pair()
    second, _ = pair()
    proof = first.receive(dialer.receive(first.begin()))
    second.begin()
    with pytest.raises(HandshakeFailed):
        second.receive(HEADER + bytes([Purpose.VSH]) + b"n" * NONCE_SIZE + proof)


def test_a_proof_for_one_purpose_is_none_for_another() -> None:
    listener, dialer = pair()
    response = bytearray(dialer.receive(listener.begin()))
    response[len(HEADER)] = Purpose.SFTP
    with pytest.raises(HandshakeFailed, match="does not know"):
        listener.receive(bytes(response))


def test_a_purpose_that_is_not_served_is_refused_after_the_proof() -> None:
    listener, dialer = pair(purpose=Purpose.CALLS)
    with pytest.raises(HandshakeFailed, match="purpose 2, which is not served here"):
        listener.receive(dialer.receive(listener.begin()))
    listener, dialer = pair(purpose=Purpose.CALLS, dialing=OTHER)
    with pytest.raises(HandshakeFailed, match="does not know"):
        listener.receive(dialer.receive(listener.begin()))


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (f"{TOKEN}\n".encode(), "sent a token, as older versions of Guestlink do"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "speaks gRPC without a handshake"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "speaks gRPC without a handshake"),
        (MAGIC + b"\x02", "speaks version 2 of the handshake"),
        (b"SSH-2.0-OpenSSH", "does not speak Guestlink's handshake"),
        (b"\x16\x03\x01", "does not speak Guestlink's handshake"),
    ],
)
def test_a_peer_that_speaks_something_else_is_named_at_its_first_byte(said: bytes, sentence: str) -> None:
    for side in pair():
        with pytest.raises(HandshakeFailed, match=sentence):
            byte_by_byte(side, said)


def test_each_state_says_why_an_end_is_too_early() -> None:
    listener, dialer = pair()
    assert "said nothing" in listener.ended().message
    assert "sent no challenge" in dialer.ended().message
    response = dialer.receive(listener.begin())
    assert "did not accept our proof" in dialer.ended().message
    listener.receive(response[:-1])
    assert "did not finish" in listener.ended().message


def test_any_cut_of_the_messages_gives_the_same_handshake() -> None:
    whole = run(
        ListenerHandshake(TOKEN, [Purpose.VSH], b"L" * NONCE_SIZE),
        DialerHandshake(TOKEN, Purpose.VSH, b"D" * NONCE_SIZE),
    )
    for cut in range(1, RESPONSE_SIZE):
        listener = ListenerHandshake(TOKEN, [Purpose.VSH], b"L" * NONCE_SIZE)
        dialer = DialerHandshake(TOKEN, Purpose.VSH, b"D" * NONCE_SIZE)
        messages = [listener.begin()]
        for receiver in (dialer, listener, dialer):
            places = sorted({0, min(cut, len(messages[-1])), len(messages[-1])})
            answers = [receiver.receive(messages[-1][start:end]) for start, end in pairwise(places)]
            assert not any(answers[:-1])
            messages.append(answers[-1])
        assert messages == [*whole, b""]


def test_more_bytes_than_wanted_are_the_callers_mistake() -> None:
    listener, _ = pair()
    with pytest.raises(ValueError, match="bytes instead of"):
        listener.receive(b"x" * (RESPONSE_SIZE + 1))
    with pytest.raises(ValueError, match="an empty token"):
        DialerHandshake("", Purpose.VSH)
    with pytest.raises(ValueError, match="a nonce has 32 bytes"):
        DialerHandshake(TOKEN, Purpose.VSH, b"short")


def test_the_call_token_is_neither_the_token_nor_a_proof() -> None:
    text = call_token(TOKEN)
    assert text == call_token(TOKEN) != call_token(OTHER)
    assert len(text) == 64
    assert TOKEN not in text

"""Frames: lengths, limits, and streams that are cut at any byte."""

from __future__ import annotations

import pytest

from guestlink.vsh.framing import MESSAGE_LIMIT, FrameReader, FrameTooLong, frame


def split_everywhere(data: bytes) -> list[bytes]:
    """The messages of the input; asserts that any cut in two, or cuts after every byte, give the same."""
    whole = [bytes(message) for message in FrameReader().feed(data)]
    for cut in range(len(data)):
        reader = FrameReader()
        assert [bytes(m) for part in (data[:cut], data[cut:]) for m in reader.feed(part)] == whole
        assert reader.pending == 0
    reader = FrameReader()
    assert [bytes(m) for byte in data for m in reader.feed(bytes([byte]))] == whole
    return whole


def test_messages_come_out_as_they_went_in() -> None:
    messages = [b"", b"a", b"b" * 300, b""]
    assert split_everywhere(b"".join(map(frame, messages))) == messages


def test_the_largest_message_is_4096_bytes() -> None:
    assert [len(m) for m in FrameReader().feed(frame(bytes(MESSAGE_LIMIT)))] == [MESSAGE_LIMIT]
    with pytest.raises(FrameTooLong, match="4097"):
        frame(bytes(MESSAGE_LIMIT + 1))


@pytest.mark.parametrize("length", [4097, 2**31, 2**32 - 1])
def test_a_length_above_the_limit_is_refused_before_its_message_has_come(length: int) -> None:
    with pytest.raises(FrameTooLong, match=str(length)):
        FrameReader().feed(length.to_bytes(4, "little"))


def test_what_came_before_a_length_above_the_limit_is_not_lost() -> None:
    reader = FrameReader()
    assert reader.feed(frame(b"good") + (4097).to_bytes(4, "little")) == [b"good"]
    with pytest.raises(FrameTooLong):
        reader.feed(b"")


def test_an_incomplete_message_waits() -> None:
    reader = FrameReader()
    assert reader.feed(frame(b"hello")[:-1]) == []
    assert reader.pending == 8
    assert [bytes(m) for m in reader.feed(b"o")] == [b"hello"]


def test_messages_may_be_taken_one_by_one() -> None:
    reader = FrameReader()
    assert [bytes(m) for m in reader.feed(frame(b"1") + frame(b"2"), 1)] == [b"1"]
    assert [bytes(m) for m in reader.feed(b"")] == [b"2"]


def test_the_beginning_of_a_message_can_be_taken_out() -> None:
    reader = FrameReader()
    reader.feed(frame(b"hello")[:-1])
    assert reader.take_rest() == frame(b"hello")[:-1]
    assert reader.pending == 0
    assert [bytes(m) for m in reader.feed(frame(b"next"))] == [b"next"]

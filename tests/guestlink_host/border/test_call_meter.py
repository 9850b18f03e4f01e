"""What the gate counts in HTTP/2's frames, in pieces of any length."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestlink_host.border.call_meter import CallMeter
from support.http2_attacker import CONTINUATION, DATA, END_STREAM, HEADERS, PING, RST_STREAM, frame


def received(meter: CallMeter, *frames: bytes, now: float = 0.0) -> None:
    meter.received(memoryview(b"".join(frames)), now)


def sent(meter: CallMeter, *frames: bytes) -> None:
    meter.sent(memoryview(b"".join(frames)))


def test_a_call_holds_its_bytes_until_the_server_ends_it() -> None:
    meter = CallMeter()
    received(meter, frame(HEADERS, 0, 1, b"h" * 10), frame(CONTINUATION, 4, 1, b"h" * 5), now=7.0)
    received(meter, frame(DATA, 0, 1, b"d" * 100), now=8.0)
    assert (len(meter), meter.unfinished, meter.unanswered, meter.unfinished_since) == (1, 1, 115, 7.0)
    received(meter, frame(DATA, END_STREAM, 1, b"d"))
    assert (len(meter), meter.unfinished, meter.unanswered, meter.unfinished_since) == (1, 0, 116, None)
    sent(meter, frame(HEADERS, 4, 1), frame(DATA, 0, 1, b"answer"))
    assert meter.unanswered == 116
    sent(meter, frame(HEADERS, 4 | END_STREAM, 1))
    assert (len(meter), meter.unanswered) == (0, 0)


@pytest.mark.parametrize("side", [received, sent])
def test_a_reset_by_either_side_ends_a_call(side: object) -> None:
    meter = CallMeter()
    received(meter, frame(HEADERS, 4, 5, b"h"), frame(HEADERS, 4, 7, b"h"))
    side(meter, frame(RST_STREAM, 0, 5, b"\0\0\0\x08"))  # type: ignore[operator]
    assert (len(meter), meter.unfinished, meter.unanswered) == (1, 1, 1)


def test_frames_of_other_kinds_and_of_ended_calls_hold_nothing() -> None:
    meter = CallMeter()
    received(meter, frame(PING, 0, 0, b"12345678"), frame(DATA, 0, 9, b"late"), frame(0xFE, 255, 3, b"x" * 99))
    assert (len(meter), meter.unanswered, meter.frames, meter.calls) == (0, 0, 3, 0)


def test_a_call_that_resets_at_once_again_and_again_is_counted_each_time() -> None:
    meter = CallMeter()
    for stream in range(1, 201, 2):
        received(meter, frame(HEADERS, 5, stream, b"h"), frame(RST_STREAM, 0, stream, b"\0\0\0\x08"))
    assert (len(meter), meter.calls, meter.frames) == (0, 100, 200)


@given(st.integers(0, 2**32))
def test_pieces_of_any_length_count_the_same(seed: int) -> None:
    random_ = random.Random(seed)
    frames = [
        frame(random_.choice((DATA, HEADERS, RST_STREAM, PING, CONTINUATION)), random_.choice((0, 1, 4, 5)),
              random_.choice((0, 1, 3, 5, 2**31 + 1)), bytes(random_.choice((0, 1, 4, 700))))
        for _ in range(30)
    ]  # fmt: skip
    whole, pieces = CallMeter(), CallMeter()
    received(whole, *frames)
    content = memoryview(b"".join(frames))
    while content:
        size = random_.choice((1, 2, 5, 9, 300))
        pieces.received(content[:size], 0.0)
        content = content[size:]
    fields = ("unanswered", "frames", "calls", "unfinished")
    assert [getattr(whole, name) for name in fields] == [getattr(pieces, name) for name in fields]
    assert len(whole) == len(pieces)


@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_no_bytes_make_a_meter_fail_or_count_below_nothing(one: bytes, other: bytes) -> None:
    meter = CallMeter()
    meter.received(memoryview(one), 0.0)
    meter.sent(memoryview(other))
    assert meter.unanswered >= 0
    assert 0 <= meter.unfinished <= len(meter)

"""Floods of full frames: receiving in place gives the same events as feeding."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guestlink.vsh import (
    ClientProtocol,
    Data,
    IncomingBlock,
    ProtocolError,
    ServerProtocol,
    Setup,
    SetupAnswer,
    Status,
    StatusChange,
    encode_data,
    encode_resize,
    encode_setup,
    encode_setup_answer,
    encode_signal,
    encode_status,
)
from support.fuzzing import ROUND

FULL = 4000
STEP = FULL + 12
Protocol = ServerProtocol | ClientProtocol


def full(stream: int, count: int) -> bytes:
    """Full frames, each with different data."""
    return b"".join(
        encode_data(stream, (number + 1).to_bytes(4, "little") * (FULL // 4)) for number in range(count)
    )


SERVER = encode_setup(Setup("c", argv=(b"cat",)))
CLIENT = encode_setup_answer(SetupAnswer(Status.READY, "ready", 5))
OTHERS = [
    encode_data(1, b"x"),
    encode_data(1, b""),
    encode_data(2, bytes(FULL)),
    encode_data(1, bytes(3999)),
    encode_data(1, bytes(4088)),
    encode_resize(50, 132),
    encode_signal(2),
    encode_status(StatusChange(Status.EXITED, "exited", 3)),
    bytes(4),
    b"\xff\xff\xff\xff",
    b"\xa8\x0f\0\0" + b"\x07" * 4008,
]


def fed(protocol: Protocol, data: bytes) -> tuple[list[object], str]:
    """The events and error when the protocol gets all bytes at once."""
    try:
        return merged(protocol.feed(data)), ""
    except ProtocolError as error:
        return merged(error.events), str(error)


def received(protocol: Protocol, data: bytes, sizes: Sequence[int]) -> tuple[list[object], str, int]:
    """The events and error when bytes come in pieces, in place where the protocol offers it; and how often."""
    events: list[object] = []
    floods, at, turn = 0, 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        turn += 1
        try:
            spaces = protocol.spaces()
            if spaces is None:
                piece = data[at : at + size]
                at += len(piece)
                events += protocol.feed(piece)
                continue
            floods += 1
            count = 0
            for space in spaces:
                piece = data[at : min(at + len(space), at + size - count)]
                space[: len(piece)] = piece
                at, count = at + len(piece), count + len(piece)
            # The next piece overwrites the buffer, so data that the test keeps must be copied.
            for event in protocol.received(count):
                events.append(Data(event.stream, bytes(event.data)) if isinstance(event, Data) else event)
        except ProtocolError as error:
            events += error.events
            return merged(events), str(error), floods
    return merged(events), "", floods


def merged(events: Sequence[object]) -> list[object]:
    """Events with adjacent data of the same stream joined; the end of a stream remains an event."""
    result: list[object] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, Data) and event.data:
            if isinstance(last, Data) and last.data and last.stream == event.stream:
                result[-1] = Data(last.stream, bytes(last.data) + bytes(event.data))
                continue
            event = Data(event.stream, bytes(event.data))
        result.append(event)
    return result


@pytest.mark.parametrize(("make", "first", "stream"), [(ServerProtocol, SERVER, 1), (ClientProtocol, CLIENT, 2)])
@pytest.mark.parametrize("size", [65536, STEP * 64, STEP * 64 - 1, STEP * 20 + 5, STEP * 20 + 12, 256 * 1024])
def test_a_flood_is_received_into_place(make: Callable[[], Protocol], first: bytes, stream: int, size: int) -> None:
    data = first + full(stream, 300) + encode_data(stream, b"tail") + encode_data(stream, b"")
    expected = fed(make(), data)
    *said, floods = received(make(), data, [size])
    assert tuple(said) == expected
    assert floods > 200 * STEP // size // 2


@ROUND
@given(
    st.lists(st.one_of(st.integers(1, 80), st.sampled_from(OTHERS)), max_size=8),
    st.lists(st.one_of(st.integers(1, 300_000), st.integers(1, 40)), min_size=1, max_size=8),
)
@example([30, OTHERS[1]], [70_000])
@example([30, OTHERS[2], 30], [70_000, 11, 4001])
@example([80, OTHERS[9]], [300_000, 1])
def test_a_flood_and_what_comes_with_it_say_the_same(parts: list[int | bytes], sizes: list[int]) -> None:
    data = SERVER + b"".join(full(1, part) if isinstance(part, int) else part for part in parts)
    *said, _ = received(ServerProtocol(), data, sizes)
    assert tuple(said) == fed(ServerProtocol(), data)


def test_nothing_else_than_a_flood_is_received_into_place() -> None:
    protocol = ServerProtocol()
    protocol.feed(SERVER + full(1, 10))
    assert protocol.spaces() is None
    protocol.feed(full(1, 20)[:-1])
    assert protocol.spaces() is not None
    protocol.feed(b"\0" + encode_resize(1, 2))
    assert protocol.spaces() is None


def test_a_block_gives_back_what_it_did_not_expect() -> None:
    block = IncomingBlock(1, 4)
    assert not block.begin(b"\x07")
    assert block.begin(b"\xa8\x0f")
    data = full(1, 1) + encode_data(1, b"other")
    left = data[2:]
    for space in block.spaces():
        space[: len(left)] = left[: len(space)]
        left = left[len(space) :]
    assert block.take(len(data) - 2) is None
    assert block.leave() == data


def test_the_buffers_can_be_had_again_if_nothing_was_received() -> None:
    block = IncomingBlock(1, 4)
    assert block.begin(b"")
    frames = full(1, 3)
    said = b""
    for part in (frames[: 2 * STEP + 100], frames[2 * STEP + 100 :]):
        block.spaces()
        left = part
        for space in block.spaces():
            space[: len(left)] = left[: len(space)]
            left = left[len(space) :]
        said += block.take(len(part)) or b""
    assert said == b"".join(frames[STEP * number + 12 : STEP * (number + 1)] for number in range(3))

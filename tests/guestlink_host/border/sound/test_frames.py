"""Frames of PulseAudio's native protocol."""

from __future__ import annotations

import pytest

from guestlink_host.border.sound.commands import NONE
from guestlink_host.border.sound.frames import (
    BLOCK_LIMIT,
    HEADER,
    BlockData,
    BlockStart,
    SoundFrameReader,
    SoundFrameWriter,
    packet_frame,
)
from guestlink_host.border.sound.tagstruct import MalformedPacket

STREAM = packet_frame(b"one") + HEADER.pack(5, 7, 0, 0, 1) + b"audio" + packet_frame(b"two") + packet_frame(b"3")


def _read(*parts: bytes) -> list[object]:
    """All events, with the parts of a block joined."""
    reader = SoundFrameReader(100)
    found: list[object] = []
    for part in parts:
        for event in reader.feed(part):
            if not isinstance(event, BlockData):
                found.append(event)
            elif isinstance(found[-1], bytes):
                found[-1] += bytes(event.data)
            else:
                found.append(bytes(event.data))
            if isinstance(event, BlockData) and event.ends:
                found.append("end")
    return found


def test_frames_are_the_same_wherever_the_stream_is_cut() -> None:
    whole = _read(STREAM)
    assert whole == [b"one", BlockStart(7, HEADER.pack(5, 7, 0, 0, 1)), b"audio", "end", b"two", b"3"]
    for cut in range(len(STREAM) + 1):
        assert _read(STREAM[:cut], STREAM[cut:]) == whole
    assert _read(*(bytes((byte,)) for byte in STREAM)) == whole


@pytest.mark.parametrize(
    "header",
    [
        (101, NONE, 0, 0, 0),
        (0, NONE, 0, 0, 0),
        (4, NONE, 0, 0, 1),
        (0, 3, 0, 0, 0),
        (BLOCK_LIMIT + 1, 3, 0, 0, 0),
        (4, 3, 0, 0, 4),
        (16, 3, 0, 0, 0x80000000),
        (16, 3, 0, 0, 0xA0000000),
        (0, 3, 0, 0, 0x40000000),
        (0, 3, 0, 0, 0xC0000000),
    ],
    ids=str,
)
def test_a_frame_that_is_too_long_or_uses_shared_memory_is_refused(header: tuple[int, ...]) -> None:
    with pytest.raises(MalformedPacket):
        list(SoundFrameReader(100).feed(HEADER.pack(*header)))


def test_a_packet_never_lands_in_the_middle_of_a_block() -> None:
    writer = SoundFrameWriter()
    header = HEADER.pack(5, 7, 0, 0, 0)
    writer.block(header)
    writer.packet(b"one")
    writer.data(BlockData(memoryview(b"aud"), ends=False))
    writer.packet(b"two")
    assert b"".join(writer.take()) == header + b"aud"
    writer.data(BlockData(memoryview(b"io"), ends=True))
    writer.packet(b"three")
    assert b"".join(writer.take()) == b"io" + packet_frame(b"one") + packet_frame(b"two") + packet_frame(b"three")
    assert writer.take() == []

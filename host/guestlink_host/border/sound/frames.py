"""Frames of PulseAudio's native protocol (pulsecore/pstream.c): packets, and blocks of audio data. No I/O.

A frame has a header of five numbers: length, channel, the two halves of an offset, and flags. The channel of a
packet is -1; a block's is its stream's. Flags are a block's seek mode, or announce shared memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple, TypeAlias

from guestlink_host.border.sound.commands import NONE
from guestlink_host.border.sound.tagstruct import MalformedPacket

HEADER = Struct(">5I")
BLOCK_LIMIT = 16 << 20
"""Bytes of a block (FRAME_SIZE_MAX_ALLOW). Blocks are passed on in parts, not kept."""
_SEEK_MODES = 4


class BlockStart(NamedTuple):
    """The header of a block; its data follow as :class:`BlockData`."""

    channel: int
    header: bytes


class BlockData(NamedTuple):
    """A part of the block that has begun.

    :ivar ends: whether it is the last part.
    """

    data: memoryview
    ends: bool


FrameEvent: TypeAlias = "bytes | BlockStart | BlockData"
"""``bytes`` are the payload of a packet."""


class SoundFrameReader:
    """Cuts a stream of bytes into packets and parts of blocks.

    :param packet_limit: bytes of the longest packet.
    """

    __slots__ = ("_buffer", "_needed", "_packet_limit", "_remaining")

    def __init__(self, packet_limit: int) -> None:
        self._packet_limit = packet_limit
        self._buffer = bytearray()
        self._needed = HEADER.size
        self._remaining = 0

    def feed(self, data: bytes) -> Iterator[FrameEvent]:
        """Append received bytes; yields what they complete.

        :raises MalformedPacket: the bytes are no frames, or a frame is too long or uses shared memory.
        """
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        view = memoryview(data)
        at, end = 0, len(data)
        while at < end:
            if self._remaining:
                part = view[at : at + self._remaining]
                at += len(part)
                self._remaining -= len(part)
                yield BlockData(part, not self._remaining)
                continue
            start = at + HEADER.size
            if start > end:
                self._needed = HEADER.size
                break
            length, channel, _, _, flags = HEADER.unpack_from(data, at)
            if channel != NONE:
                self._check_block(length, flags)
                self._remaining = length
                yield BlockStart(channel, data[at:start])
                at = start
                continue
            if flags or not 0 < length <= self._packet_limit:
                raise MalformedPacket(f"a packet of {length} bytes with flags {flags:#x}")
            if start + length > end:
                self._needed = HEADER.size + length
                break
            at = start + length
            yield data[start:at]
        self._buffer += view[at:]

    @property
    def is_between_frames(self) -> bool:
        """Whether no frame has begun."""
        return not (self._remaining or self._buffer)

    @staticmethod
    def _check_block(length: int, flags: int) -> None:
        if flags >= _SEEK_MODES:
            raise MalformedPacket(f"a block with flags {flags:#x}, although shared memory is switched off")
        if not 0 < length <= BLOCK_LIMIT:
            raise MalformedPacket(f"a block of {length} bytes")


def channel_of_block(data: bytes) -> int | None:
    """The channel if these bytes are exactly one block, and a correct one; else ``None``."""
    if len(data) <= HEADER.size:
        return None
    length, channel, _, _, flags = HEADER.unpack_from(data)
    if channel == NONE or flags >= _SEEK_MODES or length > BLOCK_LIMIT or length != len(data) - HEADER.size:
        return None
    return int(channel)


def packet_frame(payload: bytes | bytearray) -> bytes:
    """The frame of a packet."""
    return HEADER.pack(len(payload), NONE, 0, 0, 0) + payload


class SoundFrameWriter:
    """Collects frames for one side; a packet waits until the block before it is complete.

    :ivar pieces: what is to be sent, in order.
    """

    __slots__ = ("_in_block", "_later", "pieces")

    def __init__(self) -> None:
        self.pieces: list[bytes | memoryview] = []
        self._later: list[bytes] = []
        self._in_block = False

    @property
    def waiting(self) -> int:
        """Packets that wait for the end of a block."""
        return len(self._later)

    def packet(self, payload: bytes | bytearray) -> None:
        """Append a packet."""
        (self._later if self._in_block else self.pieces).append(packet_frame(payload))

    def block(self, header: bytes) -> None:
        """Begin a block."""
        self.pieces.append(header)
        self._in_block = True

    def data(self, part: BlockData) -> None:
        """Append a part of the block."""
        self.pieces.append(part.data)
        if part.ends:
            self._in_block = False
            self.pieces += self._later
            self._later.clear()

    def take(self) -> list[bytes | memoryview]:
        """The pieces to send, which are then removed from here."""
        taken, self.pieces = self.pieces, []
        return taken

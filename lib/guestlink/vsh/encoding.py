"""Encodes messages as frames; the bytes equal protobuf's (chromeos-vsh.md §3.1, §3.2)."""

from __future__ import annotations

from functools import lru_cache

from guestlink.vsh.framing import LENGTH, MESSAGE_LIMIT, FrameTooLong, frame
from guestlink.vsh.messages import REQUIRES_CWD, Bytes, Setup, SetupAnswer, StatusChange, Stream
from guestlink.vsh.protobuf_wire import bytes_field, int_field, message_field, varint

DATA_LIMIT = 4000
"""Bytes of data that we put in one frame, as the originals do; up to 4088 are accepted (chromeos-vsh.md §3.1)."""


class SetupTooLarge(ValueError):
    """Arguments and variables do not fit into one message, and no other can hold them (chromeos-vsh.md §3.3)."""


def encode_setup(setup: Setup) -> bytes:
    """The client's first frame.

    :raises SetupTooLarge: the setup does not fit into one message.
    """
    parts = [bytes_field(1, setup.target.encode()), bytes_field(2, setup.user)]
    for key, value in setup.env.items():
        parts.append(message_field(3, bytes_field(1, key) + bytes_field(2, value)))
    parts.append(bytes_field(4, REQUIRES_CWD if setup.requires_cwd else b""))
    parts.extend(message_field(5, word) for word in setup.argv)
    parts += [
        int_field(6, setup.rows),
        int_field(7, setup.cols),
        int_field(8, int(setup.nopty)),
        bytes_field(9, setup.cwd),
        int_field(10, setup.cwd_pid),
    ]
    message = b"".join(parts)
    if len(message) > MESSAGE_LIMIT:
        raise SetupTooLarge(f"arguments and variables take {len(message)} bytes, and only {MESSAGE_LIMIT} fit")
    return frame(message)


def encode_setup_answer(answer: SetupAnswer) -> bytes:
    """The server's first frame. A long description is cut."""
    description = _cut(answer.description)
    return frame(int_field(1, answer.status) + bytes_field(2, description) + int_field(3, answer.pid))


def encode_data(stream: int, data: Bytes) -> bytes:
    """One frame of data; empty data ends the stream.

    :raises FrameTooLong: there are more than 4088 bytes.
    """
    return data_header(stream, len(data)) + bytes(data)


def encode_much_data(stream: int, data: Bytes) -> list[Bytes]:
    """Frames for any amount of data, as buffers to send in order; the data is not copied."""
    view = memoryview(data)
    buffers: list[Bytes] = []
    for at in range(0, len(view), DATA_LIMIT):
        piece = view[at : at + DATA_LIMIT]
        buffers += (data_header(stream, len(piece)), piece)
    return buffers


@lru_cache(256)
def data_header(stream: int, size: int) -> bytes:
    """The part of a frame before ``size`` bytes of data: length, field, and length again; 10 to 12 bytes.

    :raises FrameTooLong: there are more than 4088 bytes.
    """
    inner = int_field(1, stream) + (b"\x12" + varint(size) if size else b"")
    outer = b"\x0a" + varint(len(inner) + size) + inner
    if len(outer) + size > MESSAGE_LIMIT:
        raise FrameTooLong(f"{size} bytes of data do not fit into a frame")
    return LENGTH.pack(len(outer) + size) + outer


def encode_status(change: StatusChange) -> bytes:
    """A status of either side. The code is zig-zag encoded."""
    inner = int_field(1, change.status) + bytes_field(2, _cut(change.description))
    if change.code:
        inner += b"\x18" + varint(((change.code << 1) ^ (change.code >> 31)) & 0xFFFFFFFF)
    return frame(message_field(2, inner))


def encode_resize(rows: int, cols: int) -> bytes:
    """The new size of the client's window."""
    return frame(message_field(3, int_field(1, rows) + int_field(2, cols)))


def encode_signal(number: int) -> bytes:
    """The client's request to send a signal to the target."""
    return frame(b"\x20" + varint(number & 0xFFFFFFFFFFFFFFFF))


def _cut(description: str) -> bytes:
    return description.encode(errors="replace")[:2048].decode(errors="ignore").encode()


SMALL_STDIN_HEADERS: dict[int, bytes] = {size: data_header(Stream.STDIN, size) for size in range(1, 124)}
"""Headers of input frames with a few keystrokes, by the size of the data. Up to 123 bytes of data both lengths in a
header take one byte, so that every header has 10 bytes."""

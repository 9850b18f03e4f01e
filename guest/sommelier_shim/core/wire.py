"""The Wayland wire format: messages to bytes and back, without I/O (chromeos-sommelier.md §6.1).

A message is a header of two words in the machine's byte order (object id; size and opcode) and arguments that
are padded to four bytes. Descriptors arrive as ancillary data, in the order of the messages that use them.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import Any, TypeAlias

HEADER_SIZE = 8
MESSAGE_LIMIT = 4096
"""Maximum size in bytes that every libwayland accepts; the proxy never creates a longer message
(chromeos-sommelier.md §6.1)."""
SIZE_LIMIT = 0xFFFC
"""Maximum size in bytes that the header can hold; newer libwaylands can be configured to send such messages."""
DESCRIPTORS_PER_SEND = 28
"""libwayland loses descriptors beyond this number in one sendmsg (performance.md §8.1)."""
DESCRIPTORS_RECEIVED = 253
"""Maximum number of descriptors that one recvmsg returns (SCM_MAX_FD)."""

DISPLAY = 1
"""The id of wl_display, which exists from the start."""
FIRST_SERVER_ID = 0xFF000000
"""The server allocates ids from this one on (chromeos-sommelier.md §6.2)."""

INVALID_OBJECT, INVALID_METHOD, NO_MEMORY, IMPLEMENTATION = range(4)
"""wl_display.error codes (chromeos-sommelier.md §6.4)."""

HEADER = Struct("=II")
UINT = Struct("=I")
INT = Struct("=i")

Buffer: TypeAlias = bytes | bytearray | memoryview
Value: TypeAlias = int | float | str | bytes | None


class WireError(Exception):
    """A peer broke the protocol. The session sends ``wl_display.error`` and closes the connection.

    :param text: what was wrong, for the peer's developer.
    :param code: an error code of wl_display, or of the object's interface.
    :param object_id: the object of the error, as the sender's id.
    """

    def __init__(self, text: str, code: int = INVALID_METHOD, object_id: int = DISPLAY) -> None:
        super().__init__(text)
        self.code = code
        self.object_id = object_id


def encode(object_id: int, opcode: int, signature: str = "", *values: Value) -> bytes:
    """The bytes of one message.

    :param signature: a letter for each value: ``i u f s o n a`` as in libwayland; ``h`` has no value.
    :param values: ``f`` is a float, ``s`` a str or bytes without NUL or None, ``a`` bytes.
    :raises ValueError: the message would be longer than ``SIZE_LIMIT``.
    """
    parts = [b""]
    for letter, value in zip(signature.replace("h", ""), values, strict=True):
        if letter == "i":
            parts.append(INT.pack(value))
        elif letter == "f":
            parts.append(INT.pack(to_fixed(float(value or 0))))
        elif letter == "s":
            parts.append(_string(value))
        elif letter == "a":
            data = bytes(value) if isinstance(value, bytes) else b""
            parts.append(UINT.pack(len(data)) + data + bytes(-len(data) % 4))
        else:
            parts.append(UINT.pack(value))
    body = b"".join(parts)
    size = HEADER_SIZE + len(body)
    if size > SIZE_LIMIT:
        raise ValueError(f"a message of {size} bytes")
    return HEADER.pack(object_id, size << 16 | opcode) + body


def _string(value: Value) -> bytes:
    if value is None:
        return UINT.pack(0)
    data = bytes(value) if isinstance(value, bytes) else str(value).encode()
    return UINT.pack(len(data) + 1) + data + bytes(4 - len(data) % 4)


def decode(signature: str, message: Buffer) -> list[Any]:
    """The arguments of one complete message.

    :param signature: letters without ``?``; ``h`` yields None.
    :returns: ints, floats for ``f``, bytes for ``s`` (without NUL) and ``a``, None for a null string.
    :raises WireError: the bytes do not fit the signature.
    """
    values: list[Any] = []
    at, end = HEADER_SIZE, len(message)
    try:
        for letter in signature:
            if letter == "h":
                values.append(None)
                continue
            if letter in "sa":
                value, at = _read_block(letter, message, at, end)
                values.append(value)
                continue
            word: int = (INT if letter in "if" else UINT).unpack_from(message, at)[0]
            values.append(word / 256 if letter == "f" else word)
            at += 4
    except struct_error:
        raise WireError("the message is shorter than its arguments") from None
    if at != end:
        raise WireError("the message is longer than its arguments")
    return values


def _read_block(letter: str, message: Buffer, at: int, end: int) -> tuple[bytes | None, int]:
    length = UINT.unpack_from(message, at)[0]
    at += 4
    stop = at + length
    if stop + (-length % 4) > end:
        raise WireError("a string or array is longer than its message")
    if letter == "a":
        return bytes(message[at:stop]), stop + (-length % 4)
    if length == 0:
        return None, at
    if message[stop - 1] != 0:
        raise WireError("a string does not end")
    return bytes(message[at : stop - 1]), stop + (-length % 4)


def skip(signature: str, message: Buffer, at: int, stop: int) -> int:
    """The offset of the end of the arguments that start at ``at``.

    :raises WireError: the arguments end after ``stop``.
    """
    for letter in signature:
        if letter in "sa":
            if at + 4 > stop:
                raise WireError("the message is shorter than its arguments")
            length = UINT.unpack_from(message, at)[0]
            at += 4 + length + (-length % 4)
        elif letter != "h":
            at += 4
    if at > stop:
        raise WireError("the message is shorter than its arguments")
    return at


def to_fixed(value: float) -> int:
    """A number as 24.8 fixed point, clamped to its range."""
    return max(-0x80000000, min(0x7FFFFFFF, round(value * 256)))


def error_event(code: int, text: str, object_id: int = DISPLAY) -> bytes:
    """``wl_display.error``; the text is cut to 1024 bytes, which every client can receive."""
    data = text.encode(errors="replace")[:1024].decode(errors="ignore")
    return encode(DISPLAY, 0, "ous", object_id, code, data.replace("\0", ""))


def delete_id_event(object_id: int) -> bytes:
    """``wl_display.delete_id``."""
    return encode(DISPLAY, 1, "u", object_id)

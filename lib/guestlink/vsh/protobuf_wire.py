"""Protobuf's fields by hand, for programs that must start faster than protobuf can be imported. No I/O.

Our messages have only varints and byte strings; fields of other wire types are skipped (protobuf.dev, "Encoding").
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)
_GROUP_DEPTH = 32
"""Maximum nesting depth of unknown groups."""


class Malformed(ValueError):
    """The bytes are not a protobuf message."""


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers and values of a message's varints and byte strings; other wire types are skipped.

    :raises Malformed: the bytes are not a protobuf message.
    """
    at, end = 0, len(message)
    while at < end:
        number, kind, at = _read_key(message, at)
        if not number:
            raise Malformed("a field with the number 0")
        if kind == _VARINT:
            value, at = _read_varint(message, at)
            yield number, value
        elif kind == _BYTES:
            size, at = _read_varint(message, at)
            if size > end - at:
                raise Malformed("a field that is longer than its message")
            yield number, message[at : at + size]
            at += size
        else:
            at = _skip(message, at, number, kind, _GROUP_DEPTH)


def _skip(message: memoryview, at: int, number: int, kind: int, depth: int) -> int:
    """The offset after a value that is skipped."""
    if kind == _VARINT:
        return _read_varint(message, at)[1]
    if kind == _BYTES:
        size, at = _read_varint(message, at)
        stop = at + size
    elif kind in (_FIXED64, _FIXED32):
        stop = at + (8 if kind == _FIXED64 else 4)
    elif kind == _GROUP and depth:
        while True:
            inner, kind, at = _read_key(message, at)
            if kind == _GROUP_END and inner == number:
                return at
            if not inner:
                raise Malformed("a field with the number 0")
            at = _skip(message, at, inner, kind, depth - 1)
    else:
        raise Malformed(f"a field of the kind {kind}")
    if stop > len(message):
        raise Malformed("a field that is longer than its message")
    return stop


def _read_key(message: memoryview, at: int) -> tuple[int, int, int]:
    """A field's number and wire type, and the offset after them.

    :raises Malformed: the key has more than five bytes or 32 bits, as upb says; C++ drops the upper bits.
    """
    key, stop = _read_varint(message, at)
    if key > 0xFFFFFFFF or stop - at > 5:
        raise Malformed("a key of more than 32 bits")
    return key >> 3, key & 7, stop


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    try:
        while shift < 70:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, at
            shift += 7
    except IndexError:
        raise Malformed("a number that ends too early") from None
    raise Malformed("a number of more than ten bytes")


def int32(value: int) -> int:
    """A varint's value as a signed 32-bit number."""
    low = value & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


def varint(value: int) -> bytes:
    """Encode a number that is not negative."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def int_field(number: int, value: int) -> bytes:
    """Encode a number field; no bytes for 0."""
    return bytes([number << 3]) + varint(value & 0xFFFFFFFFFFFFFFFF) if value else b""


def bytes_field(number: int, value: bytes) -> bytes:
    """Encode a bytes or string field; no bytes for an empty value."""
    return message_field(number, value) if value else b""


def message_field(number: int, value: bytes) -> bytes:
    """Encode a field that is present even if empty: a message, or an element of a repeated field."""
    return bytes([number << 3 | _BYTES]) + varint(len(value)) + value

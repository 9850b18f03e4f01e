"""The outermost fields of a packed protobuf message, without the memory of what is in them. Pure.

A decoded message can take 80 times as many bytes as the packed one, if it has many small messages in it. Who reads
the outermost fields alone can count them first.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED_64, _LENGTH, _FIXED_32 = 0, 1, 2, 5
"""Wire types (protobuf's encoding guide); the others belong to groups, which proto3 has not."""
_FIXED = {_FIXED_32: 4, _FIXED_64: 8}
_VARINT_BYTES = 10


def packed_fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The number and the content of each field that has a length: texts, bytes and messages.

    Fields of other kinds are passed over.

    :raises ValueError: the bytes are no message.
    """
    position, end = 0, len(content)
    while position < end:
        key, position = _varint(content, position)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            _, position = _varint(content, position)
            length = 0
        elif kind == _LENGTH:
            length, position = _varint(content, position)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise ValueError("there is no such kind of field")
        if not number or position + length > end:
            raise ValueError("the message is cut off")
        if kind == _LENGTH:
            yield number, content[position : position + length]
        position += length


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """A number and the position after it."""
    number = 0
    for index, byte in enumerate(content[position : position + _VARINT_BYTES]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, position + index + 1
    raise ValueError("a number is cut off")

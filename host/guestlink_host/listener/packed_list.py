"""An application list as the container has packed it. Pure.

A request of 4 MiB can hold two million empty applications, which take 300 MiB and a second once they are decoded.
So only the outermost fields are read at first: the token, and where each application is. The applications are
decoded one at a time, where the host makes its own values of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError

from guestlink.pb import container_host_pb2 as pb
from guestlink_host.launchers.applications import LIST_LIMIT

ENTRY_LIMIT = 256 * 1024
"""Bytes of one application; LibreOffice's have 20 KiB with all their translations."""

_FIELDS = pb.UpdateApplicationListRequest.DESCRIPTOR.fields_by_name
_TOKEN, _APPLICATION = _FIELDS["token"].number, _FIELDS["application"].number
_VARINT, _FIXED_64, _LENGTH, _FIXED_32 = 0, 1, 2, 5
"""Wire types (protobuf's encoding guide); the others belong to groups, which proto3 has not."""
_VARINT_BYTES = 10


class PackedList:
    """A list whose applications are decoded while it is iterated.

    An application that cannot be decoded is an empty message, which no check lets pass.

    :param token: the container's token.
    :param entries: the packed applications.
    """

    def __init__(self, token: str, entries: list[bytes]) -> None:
        self.token = token
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Any]:
        for entry in self._entries:
            try:
                yield pb.Application.FromString(entry if len(entry) <= ENTRY_LIMIT else b"")
            except (DecodeError, ValueError, RecursionError):
                yield pb.Application()


def read_packed_list(content: bytes) -> PackedList:
    """Read the outermost fields, up to one application more than the host shows.

    :raises ValueError: the bytes are no such request.
    """
    token = b""
    entries: list[bytes] = []
    position, end = 0, len(content)
    while position < end and len(entries) <= LIST_LIMIT:
        key, position = _varint(content, position)
        kind = key & 7
        if kind == _LENGTH:
            length, position = _varint(content, position)
            field = content[position : position + length]
            position += length
            if key >> 3 == _APPLICATION:
                entries.append(field)
            elif key >> 3 == _TOKEN:
                token = field
        elif kind == _VARINT:
            _, position = _varint(content, position)
        elif kind in (_FIXED_32, _FIXED_64):
            position += 4 if kind == _FIXED_32 else 8
        else:
            raise ValueError("there is no such kind of field")
        if key >> 3 == 0 or position > end:
            raise ValueError("the request is cut off")
    return PackedList(token.decode(), entries)


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """A number and the position after it."""
    number = 0
    for index, byte in enumerate(content[position : position + _VARINT_BYTES]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, position + index + 1
    raise ValueError("a number is cut off")

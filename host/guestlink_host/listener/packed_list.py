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
from guestlink_host.border.packed_fields import packed_fields
from guestlink_host.launchers.applications import LIST_LIMIT

ENTRY_LIMIT = 256 * 1024
"""Bytes of one application; LibreOffice's have 20 KiB with all their translations."""

_FIELDS = pb.UpdateApplicationListRequest.DESCRIPTOR.fields_by_name
_TOKEN, _APPLICATION = _FIELDS["token"].number, _FIELDS["application"].number


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
    for number, field in packed_fields(content):
        if number == _TOKEN:
            token = field
        elif number == _APPLICATION:
            entries.append(field)
            if len(entries) > LIST_LIMIT:
                break
    return PackedList(token.decode(), entries)

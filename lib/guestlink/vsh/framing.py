"""vsh frames: a little-endian length, then that many bytes of one message (chromeos-vsh.md §3.1). No I/O."""

from __future__ import annotations

from struct import Struct

MESSAGE_LIMIT = 4096
"""Bytes of the largest message; a longer one is fatal for the connection."""
LENGTH = Struct("<I")
"""The length in front of a message."""


class FrameTooLong(ValueError):
    """A length is above the limit."""


class FrameReader:
    """Cuts a stream of bytes into messages."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    @property
    def pending(self) -> int:
        """How many bytes of an incomplete message are buffered."""
        return len(self._rest)

    def take_rest(self) -> bytes:
        """Return the buffered bytes of an incomplete message, and clear the buffer."""
        rest, self._rest = self._rest, b""
        return rest

    def feed(self, data: bytes, most: int | None = None) -> list[memoryview]:
        """Append received bytes and return the messages that they complete, in order.

        Each message is a view of the received bytes, not a copy.

        :param most: the largest number of messages to return; the rest stays buffered for the next call.
        :raises FrameTooLong: a length is above the limit; the messages before it were returned by an earlier call.
        """
        if self._rest:
            data = self._rest + data
        view = memoryview(data)
        end = len(data)
        messages: list[memoryview] = []
        at = 0
        while end - at >= 4 and most != len(messages):
            (length,) = LENGTH.unpack_from(data, at)
            if length > MESSAGE_LIMIT:
                if messages:
                    break
                raise FrameTooLong(f"a message of {length} bytes, where {MESSAGE_LIMIT} are allowed")
            stop = at + 4 + length
            if stop > end:
                break
            messages.append(view[at + 4 : stop])
            at = stop
        self._rest = data[at:] if at else data
        return messages


def frame(message: bytes) -> bytes:
    """Prefix a message with its length.

    :raises FrameTooLong: the message is above the limit.
    """
    if len(message) > MESSAGE_LIMIT:
        raise FrameTooLong(f"a message of {len(message)} bytes, where {MESSAGE_LIMIT} are allowed")
    return LENGTH.pack(len(message)) + message

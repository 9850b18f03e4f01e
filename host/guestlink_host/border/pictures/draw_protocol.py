"""The protocol between the daemon and a container's renderer: requests and answers over two pipes. Pure.

The renderer sends one answer when it is ready, and then one to each request.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from guestlink_host.border.pictures.png import CHANNELS, BadPicture, Square, lines_length

TEXT_LIMIT = 400
"""Bytes of an answer that is a reason."""

_REQUEST = struct.Struct(">BBI")
_ANSWER = struct.Struct(">BI")
ANSWER_HEADER = _ANSWER.size


class ReceivedPicture(NamedTuple):
    """A picture as a container sent it.

    :ivar is_svg: whether the container calls it an SVG; otherwise it must be a PNG.
    """

    is_svg: bool
    content: bytes


class DrawRequest(NamedTuple):
    """Draw a picture in squares.

    :ivar sides: the squares' sides in pixels.
    """

    picture: ReceivedPicture
    sides: tuple[int, ...]

    def pack(self) -> bytes:
        """The request's bytes."""
        head = _REQUEST.pack(self.picture.is_svg, len(self.sides), len(self.picture.content))
        return head + struct.pack(f">{len(self.sides)}H", *self.sides) + self.picture.content

    @property
    def answer_limit(self) -> int:
        """Bytes of an answer with squares, at most."""
        return sum(1 + max(lines_length(side, color) for color in CHANNELS) for side in self.sides)


def pack_squares(squares: Iterable[Square]) -> bytes:
    """The content of an answer: each square's color type and lines."""
    return b"".join(bytes((square.color,)) + square.lines for square in squares)


def split_squares(content: bytes, sides: Sequence[int]) -> list[Square]:
    """The squares of an answer.

    :param sides: the sides that the request named.
    :raises BadPicture: the content is not these squares.
    """
    squares = []
    rest = memoryview(content)
    for side in sides:
        color = rest[0] if rest else 0
        if color not in CHANNELS:
            raise BadPicture("its renderer sent no squares")
        end = 1 + lines_length(side, color)
        squares.append(Square(side, color, bytes(rest[1:end])))
        rest = rest[end:]
    if rest:
        raise BadPicture("its renderer sent more than its squares")
    return squares


class Verdict(enum.IntEnum):
    """The kind of an answer.

    ``DONE``: all squares, in the request's order; before the first request: the renderer is ready.
    ``REFUSED``: this picture cannot be drawn. ``UNAVAILABLE``: no picture can be drawn on this machine.
    """

    DONE = 0
    REFUSED = 1
    UNAVAILABLE = 2


class DrawAnswer(NamedTuple):
    """An answer.

    :ivar content: squares, or a reason as UTF-8.
    """

    verdict: Verdict
    content: bytes = b""

    def pack(self) -> bytes:
        """The answer's bytes."""
        return _ANSWER.pack(self.verdict, len(self.content)) + self.content

    @property
    def reason(self) -> str:
        """The reason as text."""
        return self.content.decode(errors="replace")


def refusal(reason: str, verdict: Verdict = Verdict.REFUSED) -> DrawAnswer:
    """An answer with a reason."""
    return DrawAnswer(verdict, reason.encode(errors="replace")[:TEXT_LIMIT])


def read_answer_header(header: bytes, limit: int) -> tuple[Verdict, int]:
    """The verdict of an answer, and the length of its content.

    :param limit: bytes of an answer with squares.
    :raises ValueError: no renderer sends such an answer.
    """
    verdict, length = _ANSWER.unpack(header)
    if length > (limit if verdict == Verdict.DONE else TEXT_LIMIT):
        raise ValueError(f"an answer of {length} bytes")
    return Verdict(verdict), length


def read_request(read: Callable[[int], bytes]) -> DrawRequest | None:
    """Read the next request; ``None`` at the end of the stream.

    :param read: reads as many bytes as asked, or fewer at the end of the stream.
    """
    head = read(_REQUEST.size)
    if len(head) < _REQUEST.size:
        return None
    is_svg, count, length = _REQUEST.unpack(head)
    sides = struct.unpack(f">{count}H", read(2 * count))
    return DrawRequest(ReceivedPicture(bool(is_svg), read(length)), sides)

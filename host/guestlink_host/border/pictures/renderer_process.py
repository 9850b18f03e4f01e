"""The renderer: a confined process that draws the pictures of one container.

It loads the libraries, confines itself, says that it is ready, and then starts a process for each picture, which
has a narrower filter and one descriptor. So a picture that crashes or uses up its limits costs itself only.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Protocol

from guestlink_host.border.pictures.confinement import (
    CannotConfine,
    SystemCallFilter,
    confine,
    end_with_parent,
    limit_picture,
)
from guestlink_host.border.pictures.draw_protocol import (
    TEXT_LIMIT,
    DrawAnswer,
    DrawRequest,
    Verdict,
    pack_squares,
    read_request,
    refusal,
)
from guestlink_host.border.pictures.drawing import READABLE, Drawing, LibrariesMissing
from guestlink_host.border.pictures.png import BadPicture, Square

_REQUESTS, _ANSWERS = 0, 1
"""Descriptors: standard input and output."""
_REFUSED = 3
"""Exit status of a process that has sent a reason instead of lines."""


class Draw(Protocol):
    """Draws; tests have other ones, which attack."""

    def draw(self, request: DrawRequest) -> list[Square]:
        """Draw a picture; returns all its squares.

        :raises BadPicture: the picture cannot be drawn.
        """


def main(load: Callable[[], Draw] = Drawing) -> None:
    """Serve requests until the daemon closes the pipe.

    :param load: loads what draws.
    """
    try:
        drawing = load()
        narrow = confine(READABLE)
        end_with_parent()  # After a change of credentials, which may lift it.
    except (LibrariesMissing, CannotConfine) as error:
        _send(refusal(str(error), Verdict.UNAVAILABLE))
        return
    _send(DrawAnswer(Verdict.DONE))
    while (request := read_request(lambda length: _read(_REQUESTS, length))) is not None:
        _send(_answer(request, drawing, narrow))


def _answer(request: DrawRequest, drawing: Draw, narrow: SystemCallFilter) -> DrawAnswer:
    """Draw in a process of its own, and wait for its end."""
    ours, theirs = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(ours)
        _draw_and_exit(request, drawing, narrow, theirs)
    os.close(theirs)
    content = _read(ours, max(request.answer_limit, TEXT_LIMIT) + 1)
    os.close(ours)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status == 0 and len(content) <= request.answer_limit:
        return DrawAnswer(Verdict.DONE, content)
    if status == _REFUSED:
        return DrawAnswer(Verdict.REFUSED, content[:TEXT_LIMIT])
    if status == -signal.SIGKILL:
        return refusal("it takes too much processor time or memory")
    return refusal(f"drawing it ended with status {status}")


def _draw_and_exit(request: DrawRequest, drawing: Draw, narrow: SystemCallFilter, output: int) -> None:
    status = 1
    try:
        end_with_parent()
        limit_picture()
        for descriptor in (_REQUESTS, _ANSWERS):
            os.close(descriptor)
        narrow.load()
        _write(output, pack_squares(drawing.draw(request)))
        status = 0
    except (BadPicture, MemoryError) as error:
        _write(output, (str(error) or "it takes too much memory").encode()[:TEXT_LIMIT])
        status = _REFUSED
    finally:
        os._exit(status)


def _send(answer: DrawAnswer) -> None:
    _write(_ANSWERS, answer.pack())


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _read(descriptor: int, length: int) -> bytes:
    """Read so many bytes, or fewer at the end of the stream."""
    found = bytearray()
    while len(found) < length and (data := os.read(descriptor, length - len(found))):
        found += data
    return bytes(found)

"""The daemon's side of a container's renderer: starts it, sends it pictures, bounds it, ends it when it is idle."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from guestlink import xdg
from guestlink.errors import GuestlinkError, reason
from guestlink_host.border.pictures.draw_protocol import (
    ANSWER_HEADER,
    DrawAnswer,
    DrawRequest,
    ReceivedPicture,
    Verdict,
    read_answer_header,
    split_squares,
)
from guestlink_host.border.pictures.png import BadPicture, Square
from guestlink_host.names import visible_line

CONTENT_LIMIT = 1024 * 1024
"""Bytes of one picture (chromeos-garcon.md §4)."""
DRAWINGS_LIMIT = 8
"""Pictures that are drawn at the same time, each of another container: together they have 2 GiB of memory."""
TIME_LIMIT = 30.0
"""Seconds for a picture; long, because the renderer's own limit counts processor time."""
START_LIMIT = 60.0
"""Seconds for a renderer's start, which takes 0.1 on an idle machine."""
IDLE_LIMIT = 5.0
"""Seconds after which a renderer without work ends."""
_REASON_LIMIT = 200

_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    # An arena for each thread takes 64 MiB of the limited address space.
    "MALLOC_ARENA_MAX": "1",
    "RAYON_NUM_THREADS": "1",
}
_PROGRAM = (
    sys.executable,
    "-I",  # isolated: no variables, no directories of the user
    "-S",
    "-c",
    "import sys; sys.path.insert(0, sys.argv[1])\n"
    "from guestlink_host.border.pictures.renderer_process import main; main()",
    str(Path(__file__).resolve().parents[3]),
)


class NoRenderer(GuestlinkError):
    """No picture can be drawn on this machine, because something is missing."""


class RendererFailed(GuestlinkError):
    """The renderer could not be started this time."""


class Renderer:
    """Draws the pictures of one container, one after the other.

    :param container: its name, for messages.
    :param slots: shared by all renderers, :data:`DRAWINGS_LIMIT`. A renderer takes one for each picture, so that
        containers that wait take turns.
    :param program: the command of the renderer.
    :ivar spent: seconds that it has worked, without waiting for a slot.
    :ivar problem: a sentence that says why no picture can be drawn; ``""`` if pictures can be drawn.
    """

    def __init__(self, container: str, slots: asyncio.Semaphore, program: Sequence[str] = _PROGRAM) -> None:
        self.problem = ""
        self.spent = 0.0
        self._container = container
        self._slots = slots
        self._program = program
        self._process: asyncio.subprocess.Process | None = None
        self._drawing = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def draw(self, picture: ReceivedPicture, sides: Sequence[int]) -> list[Square]:
        """Draw a picture in squares.

        :param sides: the squares' sides in pixels.
        :raises BadPicture: this picture cannot be drawn within the limits.
        :raises NoRenderer: no picture can be drawn.
        :raises RendererFailed: the renderer could not be started this time.
        """
        if len(picture.content) > CONTENT_LIMIT:
            raise BadPicture(f"it has more than {CONTENT_LIMIT} bytes")
        request = DrawRequest(picture, tuple(sides))
        async with self._drawing, self._slots:
            self._stay()
            began = time.monotonic()
            try:
                answer = await self._ask(request)
                squares = split_squares(answer.content, sides) if answer.verdict == Verdict.DONE else None
            except BaseException:
                # It may still be busy with this picture, or does not keep to the protocol.
                await self._kill()
                raise
            finally:
                self.spent += time.monotonic() - began
            self._leave_soon()
        if squares is None:
            raise BadPicture(visible_line(answer.reason, _REASON_LIMIT))
        return squares

    async def close(self) -> None:
        """End the renderer at once; a picture that it draws fails, and so do later ones."""
        self._is_closed = True
        self._stay()
        await self._kill()

    async def _ask(self, request: DrawRequest) -> DrawAnswer:
        if self._process is not None:
            try:
                return await self._exchange(self._process, request)
            except EOFError:
                await self._kill()  # It ended while it was idle.
        process = await self._start()
        try:
            return await self._exchange(process, request)
        except EOFError as error:
            raise BadPicture("its renderer ended") from error

    async def _exchange(self, process: asyncio.subprocess.Process, request: DrawRequest) -> DrawAnswer:
        """Send a request and read its answer.

        :raises EOFError: the renderer has ended.
        """
        assert process.stdin is not None
        try:
            async with asyncio.timeout(TIME_LIMIT):
                process.stdin.write(request.pack())
                with contextlib.suppress(ConnectionError):
                    await process.stdin.drain()
                return await _read_answer(process, request.answer_limit)
        except TimeoutError as error:
            raise BadPicture(f"it takes more than {TIME_LIMIT:g} seconds") from error
        except ValueError as error:
            raise BadPicture("its renderer sent no answer") from error

    async def _start(self) -> asyncio.subprocess.Process:
        if self._is_closed:
            raise self._failed("guestlink-host stops or forgets the container")
        try:
            process = await asyncio.create_subprocess_exec(
                *self._program,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                cwd="/",
                # fontconfig's cache is in the user's directory if the system has none. The renderer reads it before
                # it confines itself.
                env=_ENVIRONMENT | {"XDG_CACHE_HOME": xdg.cache_home()},
                start_new_session=True,
            )
        except OSError as error:
            raise self._failed(reason(error)) from error
        self._process = process
        if self._is_closed:
            raise self._failed("guestlink-host stops or forgets the container")
        try:
            async with asyncio.timeout(START_LIMIT):
                answer = await _read_answer(process, 0)
        except (TimeoutError, ValueError, EOFError) as error:
            raise self._failed("the renderer does not start") from error
        if answer.verdict != Verdict.DONE:
            self.problem = f"icons cannot be drawn: {visible_line(answer.reason, _REASON_LIMIT)}"
            hint = "install librsvg (Debian: librsvg2-2) and libseccomp (libseccomp2), and restart guestlink-host"
            raise NoRenderer(self.problem, hint=hint)
        self.problem = ""
        return process

    def _failed(self, why: str) -> RendererFailed:
        message = f"the icons of {self._container} cannot be drawn now: {why}"
        return RendererFailed(message, hint="guestlink-host tries again by itself")

    # -- the end ---------------------------------------------------------------------------------------------------

    def _stay(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _leave_soon(self) -> None:
        self._idle = asyncio.get_running_loop().call_later(IDLE_LIMIT, self._leave)

    def _leave(self) -> None:
        process, self._process, self._idle = self._process, None, None
        if process is not None and process.stdin is not None:
            process.stdin.close()  # The renderer ends with its input, and asyncio reaps it.

    async def _kill(self) -> None:
        """Kill the renderer and the process of its picture: both are in the renderer's process group."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        # After a kill the pipes' transports stay open until they read an end of file; close them here.
        getattr(process, "_transport").close()  # noqa: B009
        await process.wait()
        if process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                await process.stdin.wait_closed()  # Else asyncio logs what it could not write.


async def _read_answer(process: asyncio.subprocess.Process, limit: int) -> DrawAnswer:
    """Read one answer.

    :param limit: bytes of an answer with squares.
    :raises EOFError: the renderer has ended.
    :raises ValueError: no renderer sends such an answer.
    """
    assert process.stdout is not None
    header = await process.stdout.readexactly(ANSWER_HEADER)
    verdict, length = read_answer_header(header, limit)
    return DrawAnswer(verdict, await process.stdout.readexactly(length))

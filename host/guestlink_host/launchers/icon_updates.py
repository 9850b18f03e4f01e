"""Draws the icons of a container's applications and writes them, unless they are already there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from guestlink.errors import GuestlinkError
from guestlink_host.border.allowance import Allowance
from guestlink_host.border.container_log import ContainerLog
from guestlink_host.border.pictures.draw_protocol import ReceivedPicture
from guestlink_host.border.pictures.png import BadPicture, Square
from guestlink_host.border.pictures.renderer import NoRenderer, Renderer, RendererFailed
from guestlink_host.launchers.applications import LIST_LIMIT
from guestlink_host.launchers.icons import fingerprint, icon_files, sides
from guestlink_host.launchers.launcher_files import LauncherFiles

_T = TypeVar("_T")

DRAWING_RESERVE, DRAWING_SHARE = 60.0, 0.1
"""A container's pictures may take 60 seconds at once, and then a tenth of the time. An SVG takes 0.03."""


class DrawingTimeUsedUp(GuestlinkError):
    """The container's pictures have taken too much time.

    :ivar delay: seconds until the next one may be drawn.
    """

    def __init__(self, container: str, delay: float) -> None:
        super().__init__(f"the pictures of {container} take too much time; the next ones wait")
        self.delay = delay


class InThread(Protocol):
    """Does work in a thread, and counts its processor time."""

    async def __call__(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Return the work's result."""


class IconUpdates:
    """The icons of one container.

    :param container: its name.
    :param files: its files.
    :param renderer: draws its pictures.
    :param in_thread: does the work that the daemon itself has with an icon.
    :param log: gets a line for each picture that is not used.
    """

    def __init__(
        self, container: str, files: LauncherFiles, renderer: Renderer, in_thread: InThread, log: ContainerLog
    ) -> None:
        self._container = container
        self._files = files
        self._renderer = renderer
        self._in_thread = in_thread
        self._log = log
        self._time = Allowance(DRAWING_RESERVE, DRAWING_SHARE)
        self._incomplete: dict[str, str] = {}
        """Fingerprints by stem of icons that were not drawn or not stored; their pictures are not tried again."""

    async def update(self, stem: str, pictures: Sequence[ReceivedPicture]) -> bool:
        """Make the files of an icon agree with the pictures that a container sent for it.

        :param pictures: the answers to :data:`guestlink_host.launchers.icons.REQUESTS`; none removes the icon.
        :returns: whether files have changed.
        :raises DrawingTimeUsedUp: the icon stays as it is.
        :raises NoRenderer: no picture can be drawn.
        :raises RendererFailed: the renderer could not be started this time.
        :raises DiskProblem: a file could not be written.
        """
        source, is_current = await self._in_thread(self._compare, stem, pictures)
        if is_current:
            return False
        squares = [square for picture in dict.fromkeys(pictures) for square in await self._draw(stem, picture)]
        return await self._in_thread(self._write, stem, squares, source)

    async def replace_old(self) -> bool:
        """Draw the icons that an earlier version stored as the container had encoded them.

        :returns: whether files have changed.
        :raises DiskProblem: a file could not be written.
        """
        old = await self._in_thread(self._files.old_icons)
        for stem, pictures in old.items():
            try:
                await self.update(stem, pictures)
            except (DrawingTimeUsedUp, NoRenderer, RendererFailed):
                await self._in_thread(self._files.write_icon, stem, ())
        return bool(old)

    def _compare(self, stem: str, pictures: Sequence[ReceivedPicture]) -> tuple[str, bool]:
        """The pictures' fingerprint, and whether there is nothing to do for them."""
        source = fingerprint(pictures)
        was_tried = bool(pictures) and self._incomplete.get(stem) == source
        return source, was_tried or self._files.has_icon(stem, source)

    async def _draw(self, stem: str, picture: ReceivedPicture) -> list[Square]:
        if delay := self._time.spend(0, time.monotonic()):
            raise DrawingTimeUsedUp(self._container, delay)
        before = self._renderer.spent
        try:
            return await self._renderer.draw(picture, sides(picture))
        except BadPicture as error:
            self._report(stem, error)
            return []
        finally:
            self._time.spend(self._renderer.spent - before, time.monotonic())

    def _write(self, stem: str, squares: Sequence[Square], source: str) -> bool:
        try:
            files = icon_files(squares, self._container, source)
        except BadPicture as error:
            self._report(stem, error)
            files = []
        changed = self._files.write_icon(stem, files)
        if not self._files.has_icon(stem, source):
            if len(self._incomplete) >= LIST_LIMIT:
                self._incomplete.clear()
            self._incomplete[stem] = source
        return changed > 0

    def _report(self, stem: str, error: BadPicture) -> None:
        self._log.info("the icon %s is not used: %s", stem, error)

"""Private copies of the documents that the host opens for containers.

A container can exchange a file that it shares at any time, but it reaches no copy. The copies cannot be written, so
that an editor tells the user at once, and no edit is lost in a copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from guestlink.errors import GuestlinkError, reason
from guestlink.paths import private_directory
from guestlink.tasks import TaskOwner
from guestlink_host.border.folder_threads import PATIENCE, FolderThreads
from guestlink_host.border.shared_file import SharedFile, open_shared, read_shared
from guestlink_host.border.url_policy import UrlRefused
from guestlink_host.containers.registry import Container

SIZE_LIMIT = 256 * 1024 * 1024
"""Bytes of one container's copies together: they lie in memory."""
COPIES_LIMIT = 100
"""Copies of one container: each of them uses some memory, even an empty one."""
KEPT = 4 * 3600.0
"""Seconds that a copy stays."""
_CHUNK = 1024 * 1024
_OPEN_THE_FOLDER = "open its folder; the host's user can open the file there"


class _Request:
    """A request for a file.

    :ivar is_over: whether nobody waits for the file any more; only the loop reads and writes it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.is_over = False


class OpenedCopies:
    """Makes the copies, each in a directory of its own below its container's.

    :param directory: nobody else may reach it; a part of the daemon that starts removes everything in it.
    :param threads: touch the shared folders and a container's copies, one after the other.
    """

    def __init__(self, directory: Path, threads: FolderThreads) -> None:
        self._directory = directory
        self._threads = threads
        self._tasks = TaskOwner("opened copies")

    async def start(self) -> None:
        """Remove what an earlier daemon left.

        :raises GuestlinkError: the directory is none, or not readable.
        """
        try:
            left = list(private_directory(self._directory).iterdir())
        except OSError as error:
            message = f"{self._directory} cannot be emptied: {reason(error)}"
            raise GuestlinkError(message, hint="remove it") from error
        for container in left:
            with contextlib.suppress(OSError):  # What is not ours stays.
                for copy in container.iterdir():
                    _remove(copy)
                container.rmdir()

    async def close(self) -> None:
        """Stop waiting; the copies stay, because programs may still read them."""
        await self._tasks.close()

    async def path_to_open(self, path: str, container: Container) -> str:
        """What the opener gets for a shared file: a folder's own path, or the path of a copy.

        The copy disappears after :data:`KEPT` seconds, or earlier if newer copies of its container need the room.

        :param path: a path of the host.
        :param container: shares the file.
        :raises UrlRefused: as :func:`~guestlink_host.border.shared_file.open_shared`, or the file is too large, or
            cannot be read, or its folder does not answer.
        """
        request = _Request(asyncio.get_running_loop())
        try:
            found = await self._threads.run(
                container.name, lambda: self._open(path, container, request), patience=PATIENCE
            )
        finally:
            # Also if nobody opens the copy, because its request has run out of patience or was cancelled.
            request.is_over = True
        return found

    async def _remove_later(self, container: str, directory: Path, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._threads.run(container, lambda: _remove(directory))

    def _open(self, path: str, container: Container, request: _Request) -> str:
        with open_shared(path, container.shares) as file:
            if file.is_folder:
                return file.path
            copy = self._copy(file, container.name)

        def made() -> None:
            """Remove the copy after its time, or now if nobody waits for it any more."""
            seconds = 0.0 if request.is_over else KEPT
            self._tasks.start(self._remove_later(container.name, copy.parent, seconds), name="remove a copy")

        with contextlib.suppress(RuntimeError):  # The daemon has ended; the next one removes the copy.
            request.loop.call_soon_threadsafe(made)
        return str(copy)

    def _copy(self, file: SharedFile, container: str) -> Path:
        if file.size > SIZE_LIMIT:
            raise UrlRefused(
                f"the file is larger than {SIZE_LIMIT >> 20} MiB, which the host copies at most",
                hint=_OPEN_THE_FOLDER,
            )
        directory: Path | None = None
        try:
            copies = private_directory(private_directory(self._directory) / container)
            _make_room(copies, file.size)
            directory = Path(tempfile.mkdtemp(dir=copies))
            path = directory / os.path.basename(file.path)
            with open(read_shared(file), "rb", buffering=0) as source, open(path, "xb") as target:
                left = file.size  # The file may grow meanwhile.
                while left and (chunk := source.read(min(left, _CHUNK))):
                    target.write(chunk)
                    left -= len(chunk)
                os.fchmod(target.fileno(), 0o400)
            directory.chmod(0o500)
        except (OSError, UrlRefused) as error:
            if directory is not None:
                _remove(directory)
            if isinstance(error, UrlRefused):
                raise
            raise UrlRefused(f"the host cannot copy the file: {reason(error)}", hint=_OPEN_THE_FOLDER) from error
        return path


def _make_room(directory: Path, size: int) -> None:
    """Remove a container's oldest copies until one more of this size fits.

    :raises UrlRefused: the copy would fill more than half of the file system's room.
    """
    copies = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime)
    sizes = [sum(entry.stat().st_size for entry in path.iterdir()) for path in copies]
    total = sum(sizes) + size
    for left, path, freed in zip(range(len(copies), 0, -1), copies, sizes, strict=True):
        if total > SIZE_LIMIT or left >= COPIES_LIMIT:
            _remove(path)
            total -= freed
    if size > shutil.disk_usage(directory).free // 2:
        raise UrlRefused(
            f"a copy of the file would leave too little room in {directory.parent}", hint=_OPEN_THE_FOLDER
        )


def _remove(directory: Path) -> None:
    """Remove one copy, as far as it is still there."""
    with contextlib.suppress(FileNotFoundError):
        directory.chmod(0o700)
        for path in directory.iterdir():
            path.unlink(missing_ok=True)
        directory.rmdir()

"""The directories that are mounted in containers, one for each container, and all of them the host's alone.

Earlier builds let the container write in its directory, so the content of such a directory may be hostile: a tree
of any depth, links, directories that this user may not enter. guestlink-host does not look into it. It renames the
directory, makes a new one, and lets a program remove the old one.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import stat
from pathlib import Path

from guestlink import acl
from guestlink.errors import GuestlinkError, reason
from guestlink.paths import atomic_write, private_directory
from guestlink.process import run
from guestlink.program import CommandFailed
from guestlink.regular_file import read_regular
from guestlink.tasks import TaskOwner
from guestlink_host.containers.access_lists import directories

_log = logging.getLogger(__name__)

_REMOVAL_LIMIT = 60.0
"""Seconds for the removal of all discarded directories; a container that still writes in one could prolong it."""


class DiscardedDirectories:
    """Directories that nobody uses any more, until a program has removed them.

    What that program cannot remove, another user's directories above all, stays until the session ends.

    :param path: their parent, in the same file system.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._tasks = TaskOwner("discarded directories")

    async def start(self) -> None:
        """Begin to remove, first what an earlier daemon has left."""
        self._wake.set()
        self._tasks.start(self._run(), name="remove")

    async def close(self) -> None:
        """Stop; the next daemon removes what is left."""
        await self._tasks.close()

    def add(self, path: Path) -> None:
        """Discard a directory, whatever is in it; nothing is discarded if the path does not exist.

        :raises OSError: it cannot be renamed.
        """
        try:
            status = path.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode):
            with contextlib.suppress(GuestlinkError):
                acl.grant(path, (), 0)  # A container in which it is still mounted may not enter it any more.
        parent = private_directory(self._path)
        while True:
            target = parent / f"{next(self._numbers)}"
            if not os.path.lexists(target):
                break
        path.rename(target)
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                names = sorted(os.listdir(self._path)) if self._path.is_dir() else []
                for name in names:
                    await self._remove(self._path / name)
            except OSError as error:
                _log.warning("%s cannot be emptied: %s", self._path, reason(error))

    async def _remove(self, path: Path) -> None:
        # rm follows no link and has no limit of depth. Its messages could be as many as the files.
        argv = ["sh", "-c", 'exec rm -rf -- "$1" 2> /dev/null', "rm", str(path)]
        try:
            status = (await run(argv, timeout=_REMOVAL_LIMIT)).status
        except CommandFailed as error:
            _log.warning("%s cannot be removed: %s", path, error)
            return
        if status != 0:
            _log.warning(
                "%s cannot be removed completely: a container has put directories in it that this user may not "
                "enter; they disappear when the session ends",
                path,
            )


class MountedDirectories:
    """Makes and forgets the containers' directories.

    :param runtime: guestlink-host's own runtime directory.
    :param discarded: removes directories.
    :ivar parent: the parent of the containers' directories.
    """

    def __init__(self, runtime: Path, discarded: DiscardedDirectories) -> None:
        self.parent = directories(runtime)
        self._made = runtime / "made"
        self._discarded = discarded

    def prepare(self, name: str) -> bool:
        """Make a container's directory.

        :returns: whether the directory is new: a running container cannot see a new one.
        :raises GuestlinkError: the directory cannot be made.
        """
        path = self.parent / name
        is_new = not self._is_ours(name)
        try:
            if is_new:
                self._discarded.add(path)
                private_directory(path)
                atomic_write(private_directory(self._made) / name, _identity(path).encode(), 0o600)
        except OSError as error:
            raise GuestlinkError(
                f"the directory {path} cannot be made: {reason(error)}",
                hint="make room there, or remove what is in its place",
            ) from error
        return is_new

    def remove(self, name: str) -> None:
        """Discard a container's directory.

        :raises OSError: it cannot be renamed.
        """
        self._discarded.add(self.parent / name)
        (self._made / name).unlink(missing_ok=True)

    def _is_ours(self, name: str) -> bool:
        """Whether :meth:`prepare` has made the directory. No container can write the file that tells."""
        try:
            return read_regular(str(self._made / name), 200) == _identity(self.parent / name).encode()
        except OSError:
            return False


def _identity(path: Path) -> str:
    """A text that tells a directory from another one that has its path later.

    :raises OSError: the path does not exist.
    """
    status = path.lstat()
    return f"{status.st_dev} {status.st_ino} {stat.S_IFMT(status.st_mode)}\n"

"""Writes launchers and icons in the user's directories; changes no other files. Blocks; call it in a thread.

There is no list of our files that could disagree with the disk. Every file has the mark of its container
(:data:`guestlink_host.launchers.launcher_plan.OWNER_KEY`, :func:`guestlink_host.launchers.icons.owner_of`), and
only files with our name *and* our mark are replaced or removed. So a killed daemon, a lost state directory and a
user's own file with one of our names need no special cases.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from guestlink.errors import GuestlinkError, reason
from guestlink_host.border.allowance import Allowance
from guestlink_host.border.pictures.draw_protocol import ReceivedPicture
from guestlink_host.launchers.icons import SUFFIX, IconFile, are_from, is_drawn, owner_of
from guestlink_host.launchers.launcher_plan import OWNER_KEY, diff

_log = logging.getLogger(__name__)

ICON_QUOTA = 64 * 1024 * 1024
"""Bytes of icons that one container may put on the user's disk."""
WRITE_BURST, WRITE_RATE = 64 * 1024 * 1024, 64 * 1024
"""Bytes that one container may make the host write at once, and in a second after that."""
FILE_COST = 4096
"""Bytes that a file counts beside its content, also when it is removed: it has blocks and a directory entry."""
_BLOCK = 4096
"""Bytes that the smallest file takes on the disk."""
_READ_LIMIT = 2 * 1024 * 1024
"""Bytes of the largest file that can be ours: a picture and its mark."""
_TEMPORARY = ".new"


class DiskProblem(GuestlinkError):
    """A file could not be written. The previous file is still there, complete."""


class Stopped(Exception):
    """The daemon is stopping; its next run does the rest of the work."""


class LauncherFiles:
    """The files of one container.

    :param container: its checked name.
    :param data_home: ``$XDG_DATA_HOME`` of the user.
    """

    def __init__(self, container: str, data_home: Path) -> None:
        self._container = container
        self._prefix = f"guestlink-{container}-"
        self._data_home = data_home
        self._applications = data_home / "applications"
        self._theme = data_home / "icons" / "hicolor"
        self._icons: dict[str, dict[Path, int]] = {}
        self._icon_bytes = 0
        self._old_icons: set[Path] = set()
        self._foreign: set[Path] = set()
        self._over_quota = False
        self._writes = Allowance(WRITE_BURST, WRITE_RATE)
        self._is_stopped = False
        self._changing = threading.Lock()

    def stop(self) -> None:
        """Stop the work in other threads; it raises :class:`Stopped`. No file changes after the return."""
        with self._changing:
            self._is_stopped = True

    def pause(self) -> float:
        """Seconds until the container may make the host write more; 0 if it may now."""
        return self._writes.spend(0, time.monotonic())

    def count(self, size: int) -> None:
        """Count a file of this size that is written or removed for the container."""
        self._writes.spend(size + FILE_COST, time.monotonic())

    def scan(self) -> None:
        """Read which icons there are, and remove files that a killed daemon left half-written."""
        self._icons = {}
        self._icon_bytes = 0
        self._old_icons.clear()
        for directory in self._icon_directories():
            for path, content in self._ours(directory, _owner_of_icon).items():
                self._count(path, len(content))
                if not is_drawn(content):
                    self._old_icons.add(path)
        self._ours(self._applications, _owner_of_launcher)

    def icon_stems(self) -> Collection[str]:
        """The file name stems (:func:`guestlink_host.names.file_stem`) that have an icon."""
        return self._icons.keys()

    def write_launchers(self, wanted: Mapping[str, bytes]) -> tuple[int, int]:
        """Write and remove launchers until they are ``wanted``, and remove icons without a launcher.

        :param wanted: the content of all launchers by file name
            (:func:`guestlink_host.launchers.launcher_plan.plan`).
        :returns: the numbers of launchers written and removed. If :meth:`pause` is not 0 afterwards, the rest
            waits: the next call goes on where this one stopped.
        :raises DiskProblem: a file could not be written; the next call goes on likewise.
        """
        present = {p.name: content for p, content in self._ours(self._applications, _owner_of_launcher).items()}
        change = diff(present, wanted)
        written = removed = 0
        with self._disk_problems("the launchers", self._applications):
            # Removing first makes room on a full disk.
            for name in change.remove:
                if self.pause():
                    return written, removed
                self._remove(self._applications / name)
                removed += 1
            stems = {name.removesuffix(".desktop") for name in wanted}
            for stem in [stem for stem in self._icons if stem not in stems]:
                for path in list(self._icons[stem]):
                    self._remove_icon(path)
            for name in change.write:
                if self.pause():
                    break
                written += self._write(self._applications / name, wanted[name], _owner_of_launcher)
        return written, removed

    def old_icons(self) -> dict[str, list[ReceivedPicture]]:
        """The icons by stem that :meth:`scan` found as the container had encoded them, in an earlier version."""
        return {
            stem: [ReceivedPicture(path.suffix != SUFFIX, self._read(path) or b"") for path in sorted(old)]
            for stem, paths in self._icons.items()
            if (old := self._old_icons & paths.keys())
        }

    def has_icon(self, stem: str, source: str) -> bool:
        """Whether the files of an icon are on the disk, all of them and as we have written them.

        :param source: the icon's fingerprint (:func:`guestlink_host.launchers.icons.fingerprint`).
        """
        return are_from([self._read(path) or b"" for path in self._icons.get(stem, ())], source)

    def write_icon(self, stem: str, wanted: Sequence[IconFile]) -> int:
        """Replace the icon of one application.

        :param wanted: its files; an empty list removes the icon.
        :returns: the number of files changed.
        :raises DiskProblem: a file could not be written.
        """
        changed = 0
        with self._disk_problems("the icons", self._theme):
            contents = {self._theme / file.directory / f"{stem}{SUFFIX}": file.content for file in wanted}
            for path in [path for path in self._icons.get(stem, ()) if path not in contents]:
                self._remove_icon(path)
                changed += 1
            for path, content in contents.items():
                if not self._fits(path, len(content)):
                    continue
                if self._read(path) != content:
                    changed += self._write(path, content, _owner_of_icon)
                if path not in self._foreign:
                    self._count(path, len(content))
        return changed

    def remove_all(self) -> None:
        """Remove every file of this container.

        :raises DiskProblem: a file could not be removed.
        """
        with self._disk_problems("the files", self._data_home):
            for directory in self._icon_directories():
                self._remove_ours(directory, _owner_of_icon)
            self._remove_ours(self._applications, _owner_of_launcher)

    # -- the disk ----------------------------------------------------------------------------------------------

    def _ours(self, directory: Path, owner: Callable[[bytes], str | None]) -> dict[Path, bytes]:
        """The contents of our files in a directory, by path; half-written files are removed."""
        found: dict[Path, bytes] = {}
        with contextlib.suppress(OSError):  # What cannot be written is reported then.
            for entry in os.scandir(directory):
                if entry.name.startswith(f".{self._prefix}") and entry.name.endswith(_TEMPORARY):
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path)
                elif entry.name.startswith(self._prefix):
                    content = self._read(Path(entry))
                    # A power cut can leave one of our files empty.
                    if content is not None and (not content or owner(content) == self._container):
                        found[Path(entry)] = content
        return found

    def _remove_ours(self, directory: Path, owner: Callable[[bytes], str | None]) -> None:
        """Remove our files in a directory, one after the other: together they may have 200 MiB."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for entry in list(os.scandir(directory)):
                is_temporary = entry.name.startswith(f".{self._prefix}") and entry.name.endswith(_TEMPORARY)
                if is_temporary or (entry.name.startswith(self._prefix) and self._is_ours(entry.path, owner)):
                    with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                        os.unlink(entry.path)

    def _is_ours(self, path: str, owner: Callable[[bytes], str | None]) -> bool:
        # A power cut can leave one of our files empty.
        content = self._read(path)
        return content is not None and (not content or owner(content) == self._container)

    def _icon_directories(self) -> Iterator[Path]:
        with contextlib.suppress(OSError):  # What cannot be written is reported then.
            yield from (Path(entry, "apps") for entry in os.scandir(self._theme) if entry.is_dir())

    def _read(self, path: Path | str) -> bytes | None:
        """A regular file's content; ``None`` if the file cannot be ours."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _READ_LIMIT:
                return None
            return os.read(descriptor, status.st_size)
        finally:
            os.close(descriptor)

    def _write(self, path: Path, content: bytes, owner: Callable[[bytes], str | None]) -> bool:
        with self._change():
            return self._replace(path, content, owner)

    def _replace(self, path: Path, content: bytes, owner: Callable[[bytes], str | None]) -> bool:
        old = self._read(path)
        is_ours = old is not None and (not old or owner(old) == self._container)
        if os.path.lexists(path) and not is_ours:
            if path not in self._foreign:
                _log.warning("%s is not ours and stays as it is", path)
            self._foreign.add(path)
            return False
        self._foreign.discard(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # No fsync: 10,000 launchers would take minutes, and every file can be written again.
        self.count(len(content))
        temporary = path.with_name(f".{path.name}{_TEMPORARY}")
        temporary.unlink(missing_ok=True)  # A link in its place is not followed.
        try:
            with open(temporary, "xb") as stream:
                stream.write(content)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        return True

    def _remove(self, path: Path) -> None:
        self.count(0)
        with self._change():
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        with self._changing:
            if self._is_stopped:
                raise Stopped
            yield

    def _remove_icon(self, path: Path) -> None:
        self._remove(path)
        sizes = self._icons[path.stem]
        self._icon_bytes -= sizes.pop(path)
        if not sizes:
            del self._icons[path.stem]

    def _count(self, path: Path, length: int) -> None:
        size = _size_on_disk(length)
        sizes = self._icons.setdefault(path.stem, {})
        self._icon_bytes += size - sizes.get(path, 0)
        sizes[path] = size

    def _fits(self, path: Path, length: int) -> bool:
        old = self._icons.get(path.stem, {}).get(path, 0)
        fits = self._icon_bytes - old + _size_on_disk(length) <= ICON_QUOTA
        if not fits and not self._over_quota:
            _log.warning(
                "%s has more than %d MiB of icons; the rest is not stored", self._container, ICON_QUOTA >> 20
            )
            self._over_quota = True
        return fits

    @contextlib.contextmanager
    def _disk_problems(self, what: str, directory: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise DiskProblem(
                f"{what} of {self._container} cannot be written: {reason(error)}",
                hint=f"make room in {directory}; guestlink-host tries again by itself"
                if full
                else f"make {error.filename or directory} writable; guestlink-host tries again by itself",
            ) from error


def _size_on_disk(length: int) -> int:
    return -(-length // _BLOCK) * _BLOCK


def _owner_of_icon(content: bytes) -> str | None:
    return owner_of(content)


def _owner_of_launcher(content: bytes) -> str | None:
    for line in content.decode(errors="replace").split("\n"):
        if line.startswith(f"{OWNER_KEY}="):
            return line.partition("=")[2]
    return None

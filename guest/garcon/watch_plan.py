"""What has to be watched so that no change of a path's meaning or content goes unnoticed.

inotify follows a directory, not a path. So beside the directory or file that a path means now, every name that
decides this is watched in its parent: each part of the path, each link on the way and each part of the link's
target, up to the first name that is missing. The same holds for the links inside a watched directory: that is how
Nix, home-manager and stow bring applications, and how they switch to the next generation.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from garcon.inotify import ATTRIB, CONTENTS, ENTRIES, IGNORED, ISDIR, ONLYDIR, OVERFLOW, UNMOUNT, Change, Inotify

WATCH_LIMIT = 4096
"""Directories and files of one plan: a user has some ten thousand watches for all programs."""
FOLLOW_LIMIT = 10_000
"""Links inside watched directories that one plan follows."""
_PATH_LINK_LIMIT = 40
"""Links on one path, as the kernel allows."""


def every_name(name: str) -> bool:
    """Every entry of a directory counts."""
    return True


@dataclass(frozen=True)
class Watched:
    """A path and who wants to know of its changes.

    :ivar path: absolute; a directory or a file, there or not.
    :ivar changed: is called after every change, often several times for one.
    :ivar depth: how many levels of directories below count, links to directories among them.
    :ivar matters: whether an entry of a directory counts, by its name; directories always do.
    """

    path: str
    changed: Callable[[], None]
    depth: int = 0
    matters: Callable[[str], bool] = every_name


@dataclass
class Plan:
    """What is watched, by the numbers of the watches.

    :ivar contents: those for whom the directory's entries, or the file, count.
    :ivar names: those whose path has another meaning when this entry of a directory is another one.
    :ivar links: entries of ``contents`` that are links.
    :ivar directories: their real paths.
    :ivar present: those whose path is there.
    :ivar problem: why a part of it cannot be watched, ``""`` where all is.
    """

    contents: dict[int, set[Watched]] = field(default_factory=lambda: defaultdict(set))
    names: dict[tuple[int, str], set[Watched]] = field(default_factory=lambda: defaultdict(set))
    links: set[tuple[int, str]] = field(default_factory=set)
    directories: dict[int, str] = field(default_factory=dict)
    present: set[Watched] = field(default_factory=set)
    problem: str = ""

    def affected(self, change: Change) -> tuple[set[Watched], bool]:
        """Those whom a change concerns, and whether another plan is needed after it."""
        if change.mask & (OVERFLOW | UNMOUNT):
            return set(self.present).union(*self.names.values()), True
        if change.mask & IGNORED:
            return set(), False
        key = (change.watch, change.name)
        deciding = self.names.get(key, set()) if change.mask & ENTRIES else set()
        is_directory = bool(change.mask & ISDIR) or not change.name
        inside = {
            watched
            for watched in self.contents.get(change.watch, ())
            if is_directory or watched.matters(change.name)
        }
        if deciding or not inside:
            return deciding | inside, bool(deciding)
        if not change.name:
            return inside, bool(change.mask & ATTRIB)
        return inside, is_directory or (bool(change.mask & ENTRIES) and self._is_link(key))

    def _is_link(self, key: tuple[int, str]) -> bool:
        number, name = key
        return key in self.links or os.path.islink(os.path.join(self.directories.get(number, "/"), name))


def make_plan(inotify: Inotify, watches: Iterable[Watched]) -> Plan:
    """Watch everything that a list of paths means now. May take a moment: for a thread.

    Watches that an earlier plan has and this one has not stay in place.
    """
    maker = _Maker(inotify)
    for watched in watches:
        if maker.enter(watched, "/", watched.path, 0):
            maker.plan.present.add(watched)
    maker.walk()
    return maker.plan


class _Maker:
    """Makes one plan. Each directory is watched before it is read, so that nothing happens in between."""

    def __init__(self, inotify: Inotify) -> None:
        self.plan = Plan()
        self._inotify = inotify
        self._numbers: dict[tuple[str, int], int | None] = {}
        self._walked: set[tuple[Watched, int]] = set()
        self._directories: deque[tuple[Watched, str, int]] = deque()
        self._links: deque[tuple[Watched, str, str, int]] = deque()
        self._followed = 0

    def walk(self) -> None:
        """Go through the directories that were entered, and only then through the links in them."""
        while self._directories or self._links:
            if self._directories:
                self._read(*self._directories.popleft())
            elif self._followed < FOLLOW_LIMIT:
                self._followed += 1
                self.enter(*self._links.popleft())
            else:
                self.plan.problem = f"there are more than {FOLLOW_LIMIT} links"
                return

    def enter(self, watched: Watched, base: str, path: str, depth: int) -> bool:
        """Follow a path from a directory and watch what it means.

        :returns: whether there is anything.
        """
        end = self._resolve(watched, base, path)
        if end is None:
            return False
        if os.path.isdir(end):
            if depth <= watched.depth:
                self._directories.append((watched, end, depth))
        elif (number := self._number(end, CONTENTS)) is not None:
            self.plan.contents[number].add(watched)
        return True

    def _read(self, watched: Watched, directory: str, depth: int) -> None:
        number = self._number(directory, ENTRIES | CONTENTS | ONLYDIR)
        if number is None or (watched, number) in self._walked:
            return
        self._walked.add((watched, number))
        self.plan.contents[number].add(watched)
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        self._note_link(watched, number, directory, entry, depth)
                    elif depth < watched.depth and entry.is_dir(follow_symlinks=False):
                        self._directories.append((watched, entry.path, depth + 1))
        except OSError:
            pass  # It has gone, which its parent tells, or may not be read, which nobody else may either.

    def _note_link(
        self, watched: Watched, number: int, directory: str, entry: os.DirEntry[str], depth: int
    ) -> None:
        if watched.matters(entry.name):
            self.plan.links.add((number, entry.name))
            try:
                self._links.append((watched, directory, os.readlink(entry.path), depth + 1))
            except OSError:
                pass  # It has just gone.

    def _resolve(self, watched: Watched, base: str, path: str) -> str | None:
        """The real path, noting every name that another file could take."""
        current = "/" if path.startswith("/") else base
        pending = path.split("/")[::-1]
        links = 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                current = os.path.dirname(current)
                continue
            if (number := self._number(current, ENTRIES | ONLYDIR)) is not None:
                self.plan.names[number, part].add(watched)
            entry = os.path.join(current, part)
            try:
                target = os.readlink(entry) if stat.S_ISLNK(os.lstat(entry).st_mode) else None
            except (OSError, ValueError):
                return None
            if target is None:
                current = entry
                continue
            links += 1
            if links > _PATH_LINK_LIMIT:
                return None
            if target.startswith("/"):
                current = "/"
            pending += target.split("/")[::-1]
        return current

    def _number(self, path: str, mask: int) -> int | None:
        """Watch a real path.

        :returns: its number; ``None`` where it cannot be watched.
        """
        key = (path, mask)
        if key not in self._numbers:
            self._numbers[key] = self._watch(path, mask)
        return self._numbers[key]

    def _watch(self, path: str, mask: int) -> int | None:
        if len(self.plan.directories) >= WATCH_LIMIT:
            self.plan.problem = f"there are more than {WATCH_LIMIT} directories and files to watch"
            return None
        try:
            number = self._inotify.watch(path, mask)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None
        except OSError as error:
            limit = "; sysctl fs.inotify shows the limits" if error.errno == errno.ENOSPC else ""
            self.plan.problem = (error.strerror or str(error)).lower() + limit
            return None
        self.plan.directories[number] = path
        return number

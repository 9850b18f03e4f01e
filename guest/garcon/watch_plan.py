"""Plans inotify watches that miss no change of a path's target or content.

inotify watches a directory, not a path. So a plan watches the directory or file that a path leads to now and, in
each parent directory, the names that decide this: each part of the path, each link on the way and each part of the
link's target, up to the first missing name. The plan does the same for links inside a watched directory, because
Nix, home-manager and stow install applications as links, and replace the links to switch to the next generation.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from garcon.inotify import ATTRIB, CONTENTS, ENTRIES, IGNORED, ISDIR, ONLYDIR, OVERFLOW, UNMOUNT, Change, Inotify
from guestlink.errors import reason

WATCH_LIMIT = 4096
"""Directories and files of one plan: the kernel allows a user some ten thousand watches for all programs."""
FOLLOW_LIMIT = 10_000
"""Links inside watched directories that one plan follows."""
_PATH_LINK_LIMIT = 40
"""Links on one path, the same limit as the kernel's."""


def every_name(name: str) -> bool:
    """The filter that accepts every entry of a directory."""
    return True


@dataclass(frozen=True)
class Watched:
    """A path to watch, and the callback for its changes.

    :ivar path: absolute; a directory or a file, which need not exist.
    :ivar changed: called after every change, often several times for one change.
    :ivar depth: levels of subdirectories to watch, links to directories included.
    :ivar matters: filter for names of directory entries; directories always pass.
    """

    path: str
    changed: Callable[[], None]
    depth: int = 0
    matters: Callable[[str], bool] = every_name


@dataclass
class Plan:
    """The watches in place, by their watch descriptors.

    :ivar contents: the paths that depend on the entries of this directory, or on this file.
    :ivar names: the paths that may lead elsewhere after a change of this directory's entry.
    :ivar links: directory entries of ``contents`` that are links.
    :ivar directories: the watches' real paths.
    :ivar present: the paths that exist.
    :ivar problem: why some paths cannot be watched; ``""`` if all are.
    """

    contents: dict[int, set[Watched]] = field(default_factory=lambda: defaultdict(set))
    names: dict[tuple[int, str], set[Watched]] = field(default_factory=lambda: defaultdict(set))
    links: set[tuple[int, str]] = field(default_factory=set)
    directories: dict[int, str] = field(default_factory=dict)
    present: set[Watched] = field(default_factory=set)
    problem: str = ""

    def affected(self, change: Change) -> tuple[set[Watched], bool]:
        """The paths that a change affects, and whether it requires a new plan."""
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
    """Place the watches for a list of paths. This may take a moment, so call it in a thread.

    Watches that only an earlier plan has stay in place; the caller removes them.
    """
    maker = _Maker(inotify)
    for watched in watches:
        if maker.enter(watched, "/", watched.path, 0):
            maker.plan.present.add(watched)
    maker.walk()
    return maker.plan


class _Maker:
    """Makes one plan. It watches each directory before it reads it, so that it misses no change in between."""

    def __init__(self, inotify: Inotify) -> None:
        self.plan = Plan()
        self._inotify = inotify
        self._numbers: dict[tuple[str, int], int | None] = {}
        self._walked: set[tuple[Watched, int]] = set()
        self._directories: deque[tuple[Watched, str, int]] = deque()
        self._links: deque[tuple[Watched, str, str, int]] = deque()
        self._followed = 0

    def walk(self) -> None:
        """Read the queued directories first, and then follow the links in them."""
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
        """Resolve a path from a directory, and watch the path's target.

        :returns: whether the target exists.
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
            pass  # Removed, which the parent's watch reports, or not readable, so that no scan reads it either.

    def _note_link(
        self, watched: Watched, number: int, directory: str, entry: os.DirEntry[str], depth: int
    ) -> None:
        if watched.matters(entry.name):
            self.plan.links.add((number, entry.name))
            try:
                self._links.append((watched, directory, os.readlink(entry.path), depth + 1))
            except OSError:
                pass  # The link has just been removed.

    def _resolve(self, watched: Watched, base: str, path: str) -> str | None:
        """The real path, or ``None`` if a name is missing. Each name on the way is added to the plan."""
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

        :returns: the watch descriptor; ``None`` if the path cannot be watched.
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
            self.plan.problem = reason(error) + limit
            return None
        self.plan.directories[number] = path
        return number

"""inotify(7): the kernel's events about changes in directories and of files, read without a thread.

The system calls and constants come from watchdog. We do not use its observers, because they follow no links and
need an inotify instance and two threads for each directory.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Any, NamedTuple

from watchdog.observers.inotify_c import InotifyConstants as _Bits
from watchdog.observers.inotify_c import inotify_add_watch, inotify_init, inotify_rm_watch

_remove: Any = inotify_rm_watch  # Versions of watchdog differ in its argument types.

MOVED_FROM, MOVED_TO, CREATE, DELETE = _Bits.IN_MOVED_FROM, _Bits.IN_MOVED_TO, _Bits.IN_CREATE, _Bits.IN_DELETE
UNMOUNT, OVERFLOW, IGNORED, ISDIR = _Bits.IN_UNMOUNT, _Bits.IN_Q_OVERFLOW, _Bits.IN_IGNORED, _Bits.IN_ISDIR
ONLYDIR, ATTRIB = _Bits.IN_ONLYDIR, _Bits.IN_ATTRIB
ENTRIES = MOVED_FROM | MOVED_TO | CREATE | DELETE
"""A directory got, lost or replaced an entry."""
CONTENTS = _Bits.IN_CLOSE_WRITE | ATTRIB
"""A file was written, or its attributes, such as permissions, changed."""

_HEADER = struct.Struct("iIII")
_READ_SIZE = 64 * 1024


class Change(NamedTuple):
    """One event.

    :ivar watch: the watch descriptor that :meth:`Inotify.watch` returned; -1 if the kernel dropped events.
    :ivar mask: event bits.
    :ivar name: the directory's entry; ``""`` for the watched directory or file itself.
    """

    watch: int
    mask: int
    name: str


class Inotify:
    """One inotify instance.

    :raises OSError: the user has too many inotify instances.
    """

    def __init__(self) -> None:
        self._descriptor = _checked(inotify_init())
        os.set_inheritable(self._descriptor, False)
        os.set_blocking(self._descriptor, False)

    def fileno(self) -> int:
        """The file descriptor, which is readable when there are changes."""
        return self._descriptor

    def watch(self, path: str, mask: int) -> int:
        """Watch a directory or a file.

        :returns: the watch descriptor, which is the same for every path of one directory or file.
        :raises OSError: the path does not exist, or the kernel refuses; ENOSPC if the user has no watches left.
        """
        return _checked(inotify_add_watch(self._descriptor, os.fsencode(path), mask | _Bits.IN_MASK_ADD))

    def unwatch(self, watch: int) -> None:
        """Remove a watch; no error if the kernel has removed it with its directory."""
        _remove(self._descriptor, watch)

    def read(self) -> list[Change]:
        """The changes since the last call, at most one buffer full."""
        try:
            content = os.read(self._descriptor, _READ_SIZE)
        except BlockingIOError:
            return []
        changes = []
        position = 0
        while position < len(content):
            watch, mask, _, length = _HEADER.unpack_from(content, position)
            position += _HEADER.size + length
            changes.append(Change(watch, mask, os.fsdecode(content[position - length : position].rstrip(b"\0"))))
        return changes

    def close(self) -> None:
        """Stop watching everything."""
        os.close(self._descriptor)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result

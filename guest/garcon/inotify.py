"""inotify(7): the kernel's word about changes in directories and of files, read without a thread.

The system calls and the bits are watchdog's. Its observers are not used: they follow no links, and take an inotify
instance and two threads for each directory.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Any, NamedTuple

from watchdog.observers.inotify_c import InotifyConstants as _Bits
from watchdog.observers.inotify_c import inotify_add_watch, inotify_init, inotify_rm_watch

_remove: Any = inotify_rm_watch  # Versions differ in the numbers' types.

MOVED_FROM, MOVED_TO, CREATE, DELETE = _Bits.IN_MOVED_FROM, _Bits.IN_MOVED_TO, _Bits.IN_CREATE, _Bits.IN_DELETE
UNMOUNT, OVERFLOW, IGNORED, ISDIR = _Bits.IN_UNMOUNT, _Bits.IN_Q_OVERFLOW, _Bits.IN_IGNORED, _Bits.IN_ISDIR
ONLYDIR, ATTRIB = _Bits.IN_ONLYDIR, _Bits.IN_ATTRIB
ENTRIES = MOVED_FROM | MOVED_TO | CREATE | DELETE
"""A directory got, lost or replaced an entry."""
CONTENTS = _Bits.IN_CLOSE_WRITE | ATTRIB
"""A file was written, or what may be done with it changed."""

_HEADER = struct.Struct("iIII")
_READ_SIZE = 64 * 1024


class Change(NamedTuple):
    """One event.

    :ivar watch: the number that :meth:`Inotify.watch` returned; -1 where the kernel has lost events.
    :ivar mask: bits of what happened.
    :ivar name: the entry, ``""`` for what is watched itself.
    """

    watch: int
    mask: int
    name: str


class Inotify:
    """One inotify instance.

    :raises OSError: the user has too many of them.
    """

    def __init__(self) -> None:
        self._descriptor = _checked(inotify_init())
        os.set_inheritable(self._descriptor, False)
        os.set_blocking(self._descriptor, False)

    def fileno(self) -> int:
        """The descriptor that is readable when there are changes."""
        return self._descriptor

    def watch(self, path: str, mask: int) -> int:
        """Watch a directory or a file.

        :returns: its number, which is the same for every path of one directory or file.
        :raises OSError: it is not there, or the kernel refuses; ENOSPC where the user's watches are used up.
        """
        return _checked(inotify_add_watch(self._descriptor, os.fsencode(path), mask | _Bits.IN_MASK_ADD))

    def unwatch(self, watch: int) -> None:
        """Stop watching; a number that has gone with its directory is fine."""
        _remove(self._descriptor, watch)

    def read(self) -> list[Change]:
        """The changes since the last call, at most a buffer of them."""
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

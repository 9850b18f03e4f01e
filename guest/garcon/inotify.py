"""inotify(7): the kernel's word about changes in directories and of files, read without a thread."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

ATTRIB, CLOSE_WRITE = 0x4, 0x8
MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x40, 0x80, 0x100, 0x200
UNMOUNT, OVERFLOW, IGNORED = 0x2000, 0x4000, 0x8000
ONLYDIR, MASK_ADD, ISDIR = 0x01000000, 0x20000000, 0x40000000
ENTRIES = MOVED_FROM | MOVED_TO | CREATE | DELETE
"""A directory got, lost or replaced an entry."""
CONTENTS = CLOSE_WRITE | ATTRIB
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
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        """The descriptor that is readable when there are changes."""
        return self._descriptor

    def watch(self, path: str, mask: int) -> int:
        """Watch a directory or a file.

        :returns: its number, which is the same for every path of one directory or file.
        :raises OSError: it is not there, or the kernel refuses; ENOSPC where the user's watches are used up.
        """
        name = ctypes.c_char_p(os.fsencode(path))
        return self._checked(self._libc.inotify_add_watch(self._descriptor, name, ctypes.c_uint32(mask | MASK_ADD)))

    def unwatch(self, watch: int) -> None:
        """Stop watching; a number that has gone with its directory is fine."""
        self._libc.inotify_rm_watch(self._descriptor, watch)

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

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

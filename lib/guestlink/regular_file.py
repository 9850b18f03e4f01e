"""Reads a file of unknown type: a FIFO or a device must not block a daemon."""

from __future__ import annotations

import errno
import os
import stat

_CHUNK = 1 << 20


def read_regular(path: str, limit: int) -> bytes:
    """Read a regular file.

    :param limit: bytes to read at most; to detect a longer file, pass one more than allowed.
    :raises OSError: the file cannot be read, or is not a regular file (EINVAL).
    :raises ValueError: the path contains a NUL byte.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        parts = []
        while limit > 0:
            parts.append(part := os.read(descriptor, min(limit, _CHUNK)))
            limit -= len(part)
            if len(part) < _CHUNK:
                break  # A short read of a regular file means its end.
        return b"".join(parts)
    finally:
        os.close(descriptor)

"""Reading a file that may be anything: a FIFO or a device must not make a daemon wait."""

from __future__ import annotations

import errno
import os
import stat

_CHUNK = 1 << 20


def read_regular(path: str, limit: int) -> bytes:
    """Read a regular file.

    :param limit: bytes to read at most; a caller that must tell a longer file apart asks for one more.
    :raises OSError: it cannot be read, or is not a regular file (EINVAL).
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
                break  # A regular file gives less only at its end.
        return b"".join(parts)
    finally:
        os.close(descriptor)

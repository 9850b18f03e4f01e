"""Sockets that a container serves in its directory: we hold their inode, because the container can change the path.

The container may put anything there, also a link to a socket of the host that it must not reach.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct

from guestlink.address import UnixAddress


def pin_socket(path: str) -> int:
    """Open a socket's inode.

    :returns: a descriptor for :func:`pinned_address`; the caller closes it.
    :raises OSError: the path does not exist, or is not a socket.
    """
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.ENOTSOCK, "it is not a socket", path)
    return descriptor


def pinned_address(descriptor: int) -> UnixAddress:
    """The address at which this process can connect to a pinned socket."""
    return UnixAddress(f"/proc/self/fd/{descriptor}")


def server_uid(descriptor: int) -> int | None:
    """The uid of the process that serves a pinned socket; ``None`` if no process does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.connect(pinned_address(descriptor).path)
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        except OSError:
            return None
    return int(struct.unpack("3i", credentials)[1])

"""The container's display without a proxy of its own: a link to the socket that the host has mounted.

The link has the display's usual name, because programs and scripts look for ``$XDG_RUNTIME_DIR/$WAYLAND_DISPLAY``.
libwayland takes a display's name by locking ``NAME.lock``, which it opens for writing (wayland-server.c,
wl_socket_lock): with a lock file that cannot be written, no nested compositor takes the link's place.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from guestlink.errors import GuestlinkError, reason

_RESERVED = 0o400
"""Mode of the lock file beside a link."""


def link_display(path: str, target: str) -> None:
    """Let a display's path lead to another socket, which need not exist yet.

    :raises GuestlinkError: another proxy or compositor serves the path, or the link cannot be created.
    """
    try:
        _reserve(f"{path}.lock")
        temporary = f"{path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(target, temporary)
        os.replace(temporary, path)
    except BlockingIOError as error:
        raise GuestlinkError(f"another proxy or compositor serves {path}", hint="stop it") from error
    except OSError as error:
        raise GuestlinkError(f"cannot make the link {path}: {reason(error)}") from error


def unlink_display(path: str) -> None:
    """Remove a link of :func:`link_display`, so that a proxy can serve the path."""
    if os.path.islink(path):
        for file in (path, f"{path}.lock"):
            with contextlib.suppress(OSError):
                os.unlink(file)


def _reserve(lock: str) -> None:
    """Make a lock file that nobody can open for writing.

    :raises BlockingIOError: somebody holds the lock.
    """
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except PermissionError:
        if os.stat(lock).st_mode & 0o777 == _RESERVED:
            return  # by an earlier call
        raise
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(descriptor, _RESERVED)
    finally:
        os.close(descriptor)

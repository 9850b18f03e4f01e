"""The directory of a session's guestlink-host, also as root's commands see another user's."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from guestlink import xdg
from guestlink.errors import GuestlinkError, reason
from guestlink_host.settings import PROGRAM, host_runtime_directory


class SessionDirectory(NamedTuple):
    """Where the daemon of a session has its sockets and its containers' directories.

    :ivar owner: the user id of the session's user; the daemon runs as this user.
    """

    path: Path
    owner: int

    @property
    def control_socket(self) -> Path:
        """The socket on which the daemon serves the commands."""
        return self.path / "control.sock"


def session_directory() -> SessionDirectory:
    """The session of ``$XDG_RUNTIME_DIR``.

    Root may name another user's (``sudo XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR guestlink-host attach NAME``). The
    owner of that directory is the session's user. Root creates nothing there and follows no link to it.

    :raises GuestlinkError: the directory is none of a session, or cannot be made.
    """
    base = xdg.runtime_directory()
    if os.getuid() == 0 and base:
        base = os.path.normpath(base)
        owner = _owner(base)
        if owner:
            path = os.path.join(base, PROGRAM)
            _check(path, owner)
            return SessionDirectory(Path(path), owner)
    return SessionDirectory(host_runtime_directory(), os.getuid())


def _owner(base: str) -> int:
    """The owner of a directory; 0 if it is root's own or missing, and the usual checks follow.

    :raises GuestlinkError: a link leads to another user's directory, or its path has invisible characters.
    """
    try:
        if os.stat(base).st_uid == 0:
            return 0
        directory = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in base.strip("/").split("/"):
                flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                inner = os.open(part, flags, dir_fd=directory)
                os.close(directory)
                directory = inner
            owner = os.fstat(directory).st_uid
        finally:
            os.close(directory)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise GuestlinkError(
            f"root does not follow links to the directory {base}: {reason(error)}",
            hint="set XDG_RUNTIME_DIR to its path without links",
        ) from error
    if not base.isprintable():
        raise GuestlinkError(
            f"the directory {base!r} has invisible characters in its name",
            hint="set XDG_RUNTIME_DIR to another one",
        )
    return owner


def _check(path: str, owner: int) -> None:
    """Check that a directory is missing or the session's user's own.

    :raises GuestlinkError: it is a link or a file, or belongs to somebody else.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return  # The daemon does not run, which the connection will tell.
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner:
        raise GuestlinkError(
            f"{path} is not a directory of the user {owner}, whose session it is in",
            hint="remove it, and restart guestlink-host",
        )

"""Directories that only this user may enter. Without pathlib, which would take 0.8 MB in the Wayland proxy."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from guestlink import acl, xdg
from guestlink.errors import GuestlinkError, reason


def make_private_directory(path: str, *, variable: str = "") -> None:
    """Make a directory that only this user may enter, or check that it is one; an access control list is kept.

    :param variable: the environment variable that decides where it is, for messages.

    :raises GuestlinkError: the path is a link or a file, belongs to another user, or cannot be made.
    """
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise GuestlinkError(f"{path} is not a directory of this user", hint=_advice("remove it", variable))
        if status.st_mode & 0o077 and not acl.is_listed(path):
            os.chmod(path, 0o700)
    except OSError as error:
        raise GuestlinkError(
            f"cannot make the directory {path}: {reason(error)}",
            hint=_advice("make its parent writable", variable),
        ) from error


def _advice(remedy: str, variable: str) -> str:
    return f"{remedy}, or set {variable} to a directory of this user" if variable else remedy


def make_runtime_directory(name: str = "guestlink", environ: Mapping[str, str] = os.environ) -> str:
    """Make and return our private directory below ``$XDG_RUNTIME_DIR``, mode 0700.

    Without ``XDG_RUNTIME_DIR`` (no login session) ``/run/user/UID`` is used where it exists, else a directory
    in the temporary directory that only this user may enter.

    :raises GuestlinkError: the directory belongs to another user or cannot be made.
    """
    if base := xdg.existing_runtime_directory(environ):
        path = os.path.join(base, name)
    else:
        path = os.path.join(environ.get("TMPDIR") or "/tmp", f"{name}-{os.getuid()}")
    make_private_directory(path, variable="XDG_RUNTIME_DIR")
    return path


def make_temporary_directory(parent: str, prefix: str) -> str:
    """Make a directory of a new name that only this user can enter. The modules of :func:`tempfile.mkdtemp` would
    take 0.5 MB of a daemon's memory.

    :returns: its path.
    :raises OSError: the parent is missing, read-only or full.
    """
    while True:
        path = f"{parent}/{prefix}{os.urandom(4).hex()}"
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            continue
        return path

"""Where the suite keeps its files, by the XDG base directory specification."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from guestlink import acl
from guestlink.errors import GuestlinkError


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's home directory."""
    return Path(environ.get("HOME") or os.path.expanduser("~"))


def data_home(environ: Mapping[str, str] = os.environ) -> Path:
    """``$XDG_DATA_HOME``."""
    return _base("XDG_DATA_HOME", ".local/share", environ)


def config_home(environ: Mapping[str, str] = os.environ) -> Path:
    """``$XDG_CONFIG_HOME``."""
    return _base("XDG_CONFIG_HOME", ".config", environ)


def state_home(environ: Mapping[str, str] = os.environ) -> Path:
    """``$XDG_STATE_HOME``."""
    return _base("XDG_STATE_HOME", ".local/state", environ)


def runtime_dir(name: str = "guestlink", environ: Mapping[str, str] = os.environ) -> Path:
    """Make and return our private directory below ``$XDG_RUNTIME_DIR``, mode 0700.

    Without ``XDG_RUNTIME_DIR`` (no login session) ``/run/user/UID`` is used where it exists, else a directory
    in the temporary directory that only this user may enter.

    :raises GuestlinkError: the directory belongs to somebody else or cannot be made.
    """
    base = environ.get("XDG_RUNTIME_DIR", "")
    if base.startswith("/"):
        path = Path(base, name)
    elif os.path.isdir(f"/run/user/{os.getuid()}"):
        path = Path(f"/run/user/{os.getuid()}", name)
    else:
        path = Path(environ.get("TMPDIR") or "/tmp", f"{name}-{os.getuid()}")
    return private_directory(path)


def private_directory(path: Path) -> Path:
    """Make a directory that only this user may enter, or check that it is one; an access control list is kept.

    :raises GuestlinkError: it is a link or a file, belongs to somebody else, or cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise GuestlinkError(
                f"{path} is not a directory of this user", hint="remove it, or set XDG_RUNTIME_DIR"
            )
        if status.st_mode & 0o077 and not acl.is_listed(path):
            path.chmod(0o700)
    except OSError as error:
        raise GuestlinkError(
            f"cannot make the directory {path}: {(error.strerror or str(error)).lower()}",
            hint="make its parent writable, or set XDG_RUNTIME_DIR to a directory of this user",
        ) from error
    return path


def atomic_write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the old content or the new one, never half of either.

    A file has one writer at a time. The half-written file has a fixed name, so that what a killed writer left is
    gone with the next write.

    :raises OSError: the file system refuses; the old content is still there and nothing else is left behind.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _base(variable: str, default: str, environ: Mapping[str, str]) -> Path:
    value = environ.get(variable, "")
    # The specification tells to ignore relative paths.
    return Path(value) if value.startswith("/") else home(environ) / default

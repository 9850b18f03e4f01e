"""Files and directories that we write, with pathlib."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from guestlink.private_directory import make_private_directory, make_runtime_directory


def runtime_dir(name: str = "guestlink", environ: Mapping[str, str] = os.environ) -> Path:
    """See :func:`~guestlink.private_directory.make_runtime_directory`."""
    return Path(make_runtime_directory(name, environ))


def private_directory(path: Path) -> Path:
    """See :func:`~guestlink.private_directory.make_private_directory`."""
    make_private_directory(str(path))
    return path


def atomic_write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the old content or the new one, never half of either.

    A file has one writer at a time. The temporary file has a fixed name, so the next write removes what a killed
    writer left.

    :raises OSError: the file system refuses; the old content is unchanged and the temporary file is removed.
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

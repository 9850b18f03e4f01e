"""One daemon per user: a file lock that the kernel releases when the process exits."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from guestlink.errors import GuestlinkError, reason
from guestlink.service import STOP_TIMEOUT


@contextlib.contextmanager
def only_daemon(path: Path, *, replace: bool) -> Iterator[None]:
    """Hold the lock; the file contains the pid of the process that holds it.

    :param replace: stop the daemon that holds the lock.
    :raises GuestlinkError: another daemon holds the lock, or its file is none that this user can write.
    """
    with _opened(path) as lock:
        if not _locked(lock):
            lock.seek(0)
            owner = lock.read(20)
            if not replace or not owner.isdigit():
                raise GuestlinkError(
                    f"guestlink-host is running already in {path.parent}",
                    hint="`guestlink-host status` shows it; `guestlink-host serve --replace` takes its place",
                )
            _end(int(owner), lock)
        lock.truncate(0)
        lock.write(b"%d" % os.getpid())
        yield


def _opened(path: Path) -> IO[bytes]:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o644)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file")
    except OSError as error:
        raise GuestlinkError(f"{path} cannot be the daemon's lock: {reason(error)}", hint="remove it") from error
    return open(descriptor, "a+b", buffering=0)


def _locked(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end(owner: int, lock: IO[bytes]) -> None:
    """Stop the daemon that holds the lock, and take the lock."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(owner, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT + 2
    while not _locked(lock):
        if time.monotonic() > deadline:
            raise GuestlinkError(
                f"the guestlink-host that runs already (process {owner}) does not exit", hint=f"kill -9 {owner}"
            )
        time.sleep(0.05)

"""One daemon of a user at a time: a lock that ends with the process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from guestlink.errors import GuestlinkError
from guestlink.service import STOP_TIMEOUT


@contextlib.contextmanager
def only_daemon(path: Path, *, replace: bool) -> Iterator[None]:
    """Hold a lock that ends with the process; the file has the number of the process that holds it.

    :param replace: end the daemon that has it.
    :raises GuestlinkError: another daemon has it.
    """
    with open(path, "a+b", buffering=0) as lock:
        if not _locked(lock):
            lock.seek(0)
            owner = lock.read(20)
            if not replace or not owner.isdigit():
                raise GuestlinkError(
                    f"guestlink-host is running already in {path.parent}",
                    hint="`guestlink-host status` asks it; `guestlink-host serve --replace` takes its place",
                )
            _end(int(owner), lock)
        lock.truncate(0)
        lock.write(b"%d" % os.getpid())
        yield


def _locked(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end(owner: int, lock: IO[bytes]) -> None:
    """End the daemon that holds a lock, and take it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(owner, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT + 2
    while not _locked(lock):
        if time.monotonic() > deadline:
            raise GuestlinkError(
                f"the guestlink-host that runs already (process {owner}) does not end", hint=f"kill -9 {owner}"
            )
        time.sleep(0.05)

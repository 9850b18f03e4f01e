"""Ends a user's processes before the user is removed, because userdel refuses a user who has processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from guestlink.errors import GuestlinkError

_SECONDS = 30.0
"""Seconds for the processes to exit."""
_AGAIN = "guestlink adopt --undo"


def refuse_own_user(name: str, uid: int) -> None:
    """Check that the user who is to be removed does not run this command.

    :raises GuestlinkError: an ancestor of this process is a process of the user.
    """
    pid = os.getpid()
    while pid > 1:
        status = _status(pid)
        if uid in _uids(status):
            raise GuestlinkError(
                f"you are logged in as {name}, who cannot be removed meanwhile",
                hint="open a shell of root from the host (lxc exec, incus exec, lxc-attach), and run there: "
                f"{_AGAIN}",
            )
        pid = int(status.get("PPid", "0"))


def end_processes(name: str, uid: int, call: Callable[[Sequence[str]], object]) -> None:
    """Stop the user's manager and sessions, and wait until the user has no processes.

    :param call: runs a program of the container; raises GuestlinkError if it fails.
    :raises GuestlinkError: the user still has processes.
    """
    if os.path.isdir("/run/systemd/system"):
        for words in (
            ["loginctl", "disable-linger", name],
            ["loginctl", "terminate-user", name],
            ["systemctl", "stop", f"user@{uid}.service", f"user-{uid}.slice"],
        ):
            try:
                call(words)
            except GuestlinkError:
                pass  # There is nothing to stop, or no logind; only the remaining processes matter.
    deadline = time.monotonic() + _SECONDS
    while running := _processes(uid):
        if time.monotonic() > deadline:
            raise GuestlinkError(
                f"{name} is in use by {', '.join(running)}", hint=f"end these programs, then run {_AGAIN}"
            )
        time.sleep(0.05)


def _processes(uid: int) -> list[str]:
    """Name and pid of each process of a user."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        status = _status(int(path.name))
        if uid in _uids(status):
            found.append(f"{status.get('Name', 'a process')} ({path.name})")
    return found


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path("/proc", str(pid), "status").read_text(errors="replace").splitlines()
    except OSError:
        return {}  # It has exited, or there is no /proc.
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _uids(status: dict[str, str]) -> set[int]:
    return {int(word) for word in status.get("Uid", "").split()}

"""Runs a function inside a root file system that may be hostile, such as an image or a stopped container.

The kernel resolves every path inside the tree (pivot_root(2)). The tree's programs run in mount, pid, network, IPC
and UTS namespaces of their own, with the capabilities of account tools only, without set-user-id programs and
without devices. If the root directory has another owner than root, as in an unprivileged container, they run in a
user namespace that maps uid 0 to that owner. No module is imported from the tree.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import sys
from collections.abc import Callable
from importlib.machinery import BuiltinImporter, FrozenImporter
from pathlib import Path

from guestlink.errors import GuestlinkError, reason, run_command

# The kernel's numbers: mount(2), unshare(2), umount2(2), prctl(2), capabilities(7).
_MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 32, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_NEW_MOUNTS, _NEW_UTS, _NEW_IPC, _NEW_USERS, _NEW_PIDS, _NEW_NETWORK = (
    0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_KEPT_CAPABILITIES = {0, 1, 3, 4, 6, 7}
"""CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID and SETUID."""
_LAST_CAPABILITY = Path("/proc/sys/kernel/cap_last_cap")
_MAPPED_IDS = 65536
"""The ids of an unprivileged container, from the owner of its root directory on (subuid(5))."""
_MEMORY = 1 << 30
_FILE_SIZE = 64 << 20
"""Bytes of memory for each process inside, and of the largest file that it can write."""
_API_MOUNTS = ("dev", "proc", "sys", "run", "tmp")
"""What may be mounted below the tree: nothing there is read or changed."""

_libc = ctypes.CDLL(None, use_errno=True)


def run_inside(tree: str, work: Callable[[int], int]) -> int:
    """Run a function in a child process whose root directory is the tree, and wait for it.

    :param work: gets a descriptor of an empty input for programs; returns an exit status.
    :returns: the status; the child has reported errors to standard error.
    :raises GuestlinkError: something is mounted in the tree.
    """
    path = os.path.realpath(tree)
    _refuse_mounts(path)
    owner = os.stat(path)
    sys.stdout.flush()
    ready, is_mapped = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready[0])
        os.close(is_mapped[1])
        os._exit(run_command("guestlink", lambda _: _enter(path, owner, (ready[1], is_mapped[0]), work), []))
    for descriptor in (ready[1], is_mapped[0]):
        os.close(descriptor)
    try:
        if os.read(ready[0], 1):
            for kind, start in (("uid", owner.st_uid), ("gid", owner.st_gid)):
                Path(f"/proc/{pid}/{kind}_map").write_text(f"0 {start} {_MAPPED_IDS}\n")
            os.write(is_mapped[1], b"1")
    finally:
        for descriptor in (ready[0], is_mapped[1]):
            os.close(descriptor)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status if status >= 0 else 128 - status


def _refuse_mounts(tree: str) -> None:
    prefix = tree.rstrip("/") + "/"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), line.split()[4])
        if place.startswith(prefix) and place.removeprefix(prefix).split("/")[0] not in _API_MOUNTS:
            raise GuestlinkError(
                f"{place} is mounted in {tree}", hint=f"umount {place}, or adopt inside the container"
            )


def _enter(tree: str, owner: os.stat_result, pipes: tuple[int, int], work: Callable[[int], int]) -> int:
    """Make the tree the root directory and fork the process that works there, pid 1 of its pid namespace."""
    empty = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    last = int(_LAST_CAPABILITY.read_text())
    try:
        _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)
        _call("unshare", _NEW_MOUNTS)
        _call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
        _call("mount", os.fsencode(tree), os.fsencode(tree), None, _MS_BIND, None)
        _call("mount", None, os.fsencode(tree), None, _MS_REMOUNT | _MS_BIND | _MS_NOSUID | _MS_NODEV, None)
        os.chdir(tree)
        _call("pivot_root", b".", b".")
        _call("umount2", b".", _MNT_DETACH)
        os.chdir("/")
        is_shifted = owner.st_uid != 0
        _call(
            "unshare",
            _NEW_PIDS | _NEW_NETWORK | _NEW_IPC | _NEW_UTS | (_NEW_USERS if is_shifted else 0),
        )
        if is_shifted:
            os.write(pipes[0], b"1")
            if not os.read(pipes[1], 1):
                raise GuestlinkError(
                    f"the user ids of {tree} cannot be mapped", hint="run guestlink adopt inside the container"
                )
            os.setgroups([])
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        for number in set(range(last + 1)) - _KEPT_CAPABILITIES:
            _call("prctl", _PR_CAPBSET_DROP, number, 0, 0, 0)
        _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    except OSError as error:
        raise GuestlinkError(
            f"cannot enter {tree}: {reason(error)}",
            hint="run guestlink adopt inside the container, or where root can make namespaces",
        ) from error
    for descriptor in pipes:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_SIZE, _FILE_SIZE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _import_nothing()
    pid = os.fork()
    if pid == 0:
        os._exit(run_command("guestlink", lambda _: _bounded(work, empty), []))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status if status >= 0 else 128 - status


def _bounded(work: Callable[[int], int], empty: int) -> int:
    try:
        return work(empty)
    except MemoryError:
        raise GuestlinkError(
            "adopt needs more than 1 GiB of memory for this root file system",
            hint="run guestlink adopt inside the container",
        ) from None


def _import_nothing() -> None:
    """Import no module from now on but those of the interpreter itself: sys.path leads into the tree."""
    sys.path.clear()
    sys.path_importer_cache.clear()
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter]


def _call(name: str, *arguments: object) -> None:
    """Call the C library.

    :raises OSError: the kernel refuses.
    """
    words = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    if getattr(_libc, name)(*words) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

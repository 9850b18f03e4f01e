"""A renderer that has been taken over: instead of drawing, it attacks with what a picture's process may still do.

A request's content names the attack; the refusal that comes back says how it ended.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable

from guestlink_host.border.pictures import confinement, renderer_process
from guestlink_host.border.pictures.draw_protocol import DrawRequest
from guestlink_host.border.pictures.drawing import Drawing
from guestlink_host.border.pictures.png import BadPicture, Square

_libc = ctypes.CDLL(None, use_errno=True)
_seccomp = ctypes.CDLL("libseccomp.so.2")

FORBIDDEN = (
    "accept", "acct", "add_key", "bind", "bpf", "capset", "chdir", "chmod", "chown", "chroot", "clone3", "connect",
    "creat", "delete_module", "dup2", "execve", "execveat", "fallocate", "fchdir", "fchmod", "fork", "fsopen",
    "ftruncate", "init_module", "inotify_init1", "io_submit", "io_uring_setup", "ioctl", "kexec_load", "keyctl",
    "kill", "landlock_create_ruleset", "link", "linkat", "listen", "memfd_create", "mkdir", "mkdirat", "mknod",
    "mount", "mq_open", "msgget", "name_to_handle_at", "open_by_handle_at", "open_tree", "openat2",
    "perf_event_open", "personality", "pidfd_getfd", "pidfd_open", "pidfd_send_signal", "pivot_root", "pkey_alloc",
    "prctl", "prlimit64", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace", "pwrite64",
    "quotactl", "reboot", "recvmsg", "rename", "renameat2", "request_key", "rmdir", "rt_sigqueueinfo",
    "sched_setaffinity", "seccomp", "semget", "sendmsg", "sendto", "setfsuid", "sethostname", "setitimer", "setns",
    "setpgid", "setpriority", "setresuid", "setsid", "settimeofday", "setuid", "setxattr", "shmget", "socket",
    "socketpair", "splice", "swapon", "symlink", "symlinkat", "syslog", "tgkill", "tkill", "truncate", "umount2",
    "unlink", "unlinkat", "unshare", "userfaultfd", "utimensat", "vfork", "vmsplice", "wait4",
)  # fmt: skip
"""System calls with which a process reaches beyond itself, or changes what it is."""


def _forbidden_calls() -> str:
    """Make each call with zeros; the kernel would answer a call that the filter lets through in another way."""
    found = []
    for name in FORBIDDEN:
        number = _seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0 and not (
            _libc.syscall(number, 0, 0, 0, 0, 0, 0) == -1 and ctypes.get_errno() == errno.ENOSYS
        ):
            found.append(name)
    return f"allowed: {found}"


def _code() -> str:
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    return f"executable memory of {len(memory)} bytes"


def _descriptors() -> str:
    found = []
    for number in range(1024):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return f"{len(found)} descriptors"


def _memory() -> str:
    return f"{len(bytearray(4 << 30))} bytes"


def _threads() -> str:
    started = 0
    try:
        for _ in range(5000):
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
            started += 1
    except RuntimeError:
        return "fewer than 1000 threads" if started < 1000 else f"{started} threads"
    return f"{started} threads"


def _flood() -> str:
    for _ in range(1024):
        os.write(_pipe(), b"x" * (1 << 20))
    return "1 GB"


def _pipe() -> int:
    """The descriptor of the answer."""
    for number in range(3, 64):
        try:
            fcntl.fcntl(number, fcntl.F_GETFL)
        except OSError:
            continue
        return number
    raise AssertionError("the answer has a descriptor")


def _forever() -> str:
    while True:
        pass


def _deaf() -> str:
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            continue
    while True:
        time.sleep(1000)


def _write_to(path: str) -> str:
    with open(path, "w", encoding="ascii") as stream:
        stream.write("taken over")
    return "written"


def _own_signal() -> str:
    fcntl.fcntl(_pipe(), fcntl.F_SETOWN, os.getppid())
    return "the parent gets the pipe's signals"


ATTACKS: dict[str, Callable[[str], str]] = {
    "read": lambda path: str(os.read(os.open(path, os.O_RDONLY), 100)),
    "list": lambda path: str(os.listdir(path)),
    "write": _write_to,
    "append": lambda path: str(os.open(path, os.O_WRONLY | os.O_APPEND)),
    "truncate": lambda path: str(os.open(path, os.O_RDONLY | os.O_TRUNC)),
    "temporary": lambda path: str(os.open(path, os.O_RDWR | os.O_TMPFILE)),
    "remove": lambda path: str(os.unlink(path)),
    "connect": lambda path: str(socket.socket(socket.AF_UNIX).connect(path)),
    "internet": lambda _: str(socket.create_connection(("127.0.0.1", 22))),
    "fork": lambda _: str(os.fork()),
    "program": lambda _: str(os.execv("/bin/true", ["true"])),
    "signal": lambda _: str(os.kill(os.getppid(), signal.SIGKILL)),
    "own signal": lambda _: _own_signal(),
    "system calls": lambda _: _forbidden_calls(),
    "code": lambda _: _code(),
    "descriptors": lambda _: _descriptors(),
    "memory": lambda _: _memory(),
    "threads": lambda _: _threads(),
    "flood": lambda _: _flood(),
    "forever": lambda _: _forever(),
    "deaf": lambda _: _deaf(),
}


class HostileDrawing:
    """Draws an SVG; for a PNG it attacks. ``squares`` returns other squares than were asked for."""

    def __init__(self) -> None:
        self._drawing = Drawing()

    def draw(self, request: DrawRequest) -> list[Square]:
        """Attack as the content says, or draw."""
        if request.picture.is_svg:
            return self._drawing.draw(request)
        name, _, argument = request.picture.content.decode().partition(":")
        if name == "squares":
            return [Square(side, *_WRONG[argument](side)) for side in request.sides]
        try:
            raise BadPicture(f"attack ended: {ATTACKS[name](argument)}")
        except OSError as error:
            raise BadPicture(f"attack failed: {errno.errorcode.get(error.errno or 0, '?')}") from error


_WRONG: dict[str, Callable[[int], tuple[int, bytes]]] = {
    "longer": lambda side: (6, b"\0" * (side + 1) * (4 * side + 5)),
    "shorter": lambda side: (6, b"\0" * side),
    "none": lambda side: (2, b""),
    "filter": lambda side: (6, b"\5" * side * (4 * side + 1)),
    "PNG": lambda side: (137, b"PNG\r\n\x1a\n" + struct.pack(">I", side)),
}


def main(cpu_limit: int = confinement.CPU_LIMIT, *, has_landlock: bool = True, has_filter: bool = True) -> None:
    """Serve as a renderer does.

    :param cpu_limit: seconds of processor time for a picture.
    :param has_landlock: whether the kernel has Landlock.
    :param has_filter: whether the machine has libseccomp.
    """
    confinement.CPU_LIMIT = cpu_limit
    if not has_landlock:
        confinement.landlock_version = lambda: -1
    if not has_filter:
        confinement.SystemCallFilter.__init__ = _no_filter  # type: ignore[method-assign]
    renderer_process.main(HostileDrawing)


def _no_filter(_self: object) -> None:
    raise confinement.CannotConfine("libseccomp is missing")

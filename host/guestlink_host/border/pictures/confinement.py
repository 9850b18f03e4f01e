"""Takes away from a process whatever it could harm its user with. Runs in the renderer.

Three layers: limits (setrlimit(2)); a system call filter by libseccomp, which must work and leaves no way to open a
socket, start a program, signal a process or write a file; and Landlock (landlock(7), Linux 5.13), which leaves only
some directories to read. Where Landlock is missing, the filter allows no file to be opened. Where the machine lets
us, namespaces of our own bound the number of threads and leave no network.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import resource
import signal
import struct
from collections.abc import Iterable, Sequence

MEMORY_LIMIT = 256 * 1024 * 1024
"""Bytes of address space for a picture, beyond the size of the libraries."""
CPU_LIMIT = 3
"""Seconds of processor time for a picture; a heavy icon in all sizes takes 0.2."""
DESCRIPTOR_LIMIT = 64
_TASK_LIMIT = 64
"""Threads and processes in our own user namespace."""
_NICENESS = 10

_libc = ctypes.CDLL(None, use_errno=True)


class CannotConfine(Exception):
    """This machine cannot confine a process; the message says what is missing."""


# -- limits --------------------------------------------------------------------------------------------------------


def limit_resources() -> None:
    """Set the limits that hold for the renderer and for each picture's process."""
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, DESCRIPTOR_LIMIT),
        (resource.RLIMIT_AS, _address_space() + MEMORY_LIMIT),
    ):
        resource.setrlimit(kind, (value, value))
    os.nice(_NICENESS)
    # If the machine's memory runs out, the kernel ends this process rather than another.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as stream:
        stream.write("1000")


def limit_picture() -> None:
    """Set the limits of one picture's process. The kernel kills it at the limit."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT, CPU_LIMIT))


def end_with_parent() -> None:
    """Let the kernel kill this process when its parent ends (PR_SET_PDEATHSIG in prctl(2))."""
    _libc.prctl(1, signal.SIGKILL, 0, 0, 0)


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[0]) * resource.getpagesize()


# -- namespaces ----------------------------------------------------------------------------------------------------

_CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x08000000, 0x10000000, 0x40000000
_CAPABILITY_VERSION = 0x20080522


def leave_namespaces() -> bool:
    """Move into user, network and IPC namespaces of our own, without capabilities there; False if we may not."""
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC) != 0:
        return False
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))
    if _counts_tasks_by_namespace(os.uname().release):
        resource.setrlimit(resource.RLIMIT_NPROC, (_TASK_LIMIT, _TASK_LIMIT))
    return True


def _counts_tasks_by_namespace(release: str) -> bool:
    """Whether the limit counts the tasks in our namespace; before Linux 5.14 it counts all tasks of the user."""
    version = re.match(r"(\d+)\.(\d+)", release)
    return version is not None and (int(version[1]), int(version[2])) >= (5, 14)


# -- files (linux/landlock.h) --------------------------------------------------------------------------------------

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""System call numbers, the same on all architectures."""
_VERSION_FLAG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""Number of file rights that each version knows."""
_LAST_FILE_RIGHTS = 16
_NET_RIGHTS, _SCOPES = 0b11, 0b11
"""TCP, from version 4 on; abstract sockets and signals, from version 6 on."""


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


def landlock_version() -> int:
    """The kernel's version of Landlock; below 1 without it."""
    return int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG)))


def restrict_files(version: int, readable: Iterable[str]) -> None:
    """Leave only some directories to read, and none to write.

    :param version: Landlock's.
    :param readable: directories; missing ones are passed over.
    :raises CannotConfine: the kernel refuses it.
    """
    attributes = _RulesetAttributes(
        files=(1 << _FILE_RIGHTS.get(version, _LAST_FILE_RIGHTS)) - 1,
        net=_NET_RIGHTS if version >= 4 else 0,
        scopes=_SCOPES if version >= 6 else 0,
    )
    length = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _libc.syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(length), ctypes.c_uint32(0))
    if ruleset < 0:
        raise CannotConfine(f"the kernel refuses Landlock ({os.strerror(ctypes.get_errno())})")
    for path in readable:
        _allow_reading(ruleset, path)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) != 0:
        raise CannotConfine(f"the kernel refuses Landlock ({os.strerror(ctypes.get_errno())})")
    os.close(ruleset)


def _allow_reading(ruleset: int, path: str) -> None:
    try:
        directory = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rule = struct.pack("=Qi", _READ_FILE | _READ_DIR, directory)  # struct landlock_path_beneath_attr
    _libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, ctypes.c_uint32(0))
    os.close(directory)


# -- system calls (seccomp_rule_add(3)) ----------------------------------------------------------------------------

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EQUAL, _MASKED_EQUAL = 4, 7
_CLONE_THREAD = 0x00010000
_CLONE_NAMESPACES = 0x7E020080
"""The flags of clone(2) that begin with CLONE_NEW."""
_CLONE_FLAGS = 1 if os.uname().machine.startswith("s390") else 0
"""The argument of clone(2) that has the flags."""
_PROT_EXEC = 4
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_TMPFILE & ~os.O_DIRECTORY
_FCNTL_COMMANDS = (1, 2, 3, 1030)
"""F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC; F_SETOWN would send signals to other processes."""

_MEMORY = ("brk", "madvise", "mremap", "munmap")
_THREADS = (
    "exit", "exit_group", "futex", "get_robust_list", "getpid", "gettid", "membarrier", "nanosleep",
    "clock_nanosleep", "restart_syscall", "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "sched_getaffinity", "sched_yield", "set_robust_list", "sigaltstack",
)  # fmt: skip
_DESCRIPTORS = (
    "close", "fstat", "fstat64", "fstatfs", "_llseek", "lseek", "poll", "ppoll", "pread64", "read", "readv",
    "write", "writev",
)  # fmt: skip
_ENVIRONMENT = (
    "clock_getres", "clock_gettime", "getegid", "geteuid", "getgid", "getrandom", "getrusage", "gettimeofday",
    "getuid", "sysinfo", "time", "uname",
)  # fmt: skip
_FILES = (
    "access", "faccessat", "faccessat2", "fstatat64", "getcwd", "getdents64", "lstat", "newfstatat", "readlink",
    "readlinkat", "stat", "stat64", "statfs", "statx",
)  # fmt: skip
_SERVER = ("pipe2", "prctl", "prlimit64", "seccomp", "wait4")
"""What the renderer does for each picture's process: start it, limit it, wait for it."""


class _Condition(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class SystemCallFilter:
    """A list of system calls; :meth:`load` makes all others fail with ENOSYS, for ever.

    :raises CannotConfine: libseccomp is missing.
    """

    def __init__(self) -> None:
        try:
            self._library = library = ctypes.CDLL("libseccomp.so.2")
        except OSError as error:
            raise CannotConfine("libseccomp is missing") from error
        library.seccomp_init.restype = ctypes.c_void_p
        library.seccomp_init.argtypes = (ctypes.c_uint32,)
        library.seccomp_load.argtypes = (ctypes.c_void_p,)
        library.seccomp_rule_add_array.argtypes = (
            ctypes.c_void_p,
            ctypes.c_uint32,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.POINTER(_Condition),
        )
        # ENOSYS and no signal: libraries then use an older call, and a new library costs no icon.
        self._context = library.seccomp_init(_ERRNO | errno.ENOSYS)

    def allow(self, *names: str, condition: _Condition | None = None) -> None:
        """Allow calls; names that this architecture does not have are passed over."""
        for name in names:
            number = self._library.seccomp_syscall_resolve_name(name.encode())
            if number != -1:  # __NR_SCMP_ERROR
                given = (_Condition * 1)(condition) if condition is not None else None
                self._library.seccomp_rule_add_array(self._context, _ALLOW, number, int(given is not None), given)

    def load(self) -> None:
        """Apply the filter to this process.

        :raises CannotConfine: the kernel refuses it.
        """
        status = self._library.seccomp_load(self._context)
        if status != 0:
            raise CannotConfine(f"the kernel refuses a system call filter ({os.strerror(-status)})")


def _masked(argument: int, mask: int, value: int) -> _Condition:
    return _Condition(argument, _MASKED_EQUAL, mask, value)


def _common_filter(*, may_open: bool) -> SystemCallFilter:
    calls = SystemCallFilter()
    calls.allow(*_MEMORY, *_THREADS, *_DESCRIPTORS, *_ENVIRONMENT)
    calls.allow("mmap", "mmap2", "mprotect", condition=_masked(2, _PROT_EXEC, 0))
    for command in _FCNTL_COMMANDS:
        calls.allow("fcntl", "fcntl64", condition=_Condition(1, _EQUAL, command, 0))
    calls.allow("clone", condition=_masked(_CLONE_FLAGS, _CLONE_THREAD | _CLONE_NAMESPACES, _CLONE_THREAD))
    if may_open:
        calls.allow(*_FILES)
        calls.allow("open", condition=_masked(1, _WRITING, 0))
        calls.allow("openat", condition=_masked(2, _WRITING, 0))
    return calls


def confine(readable: Sequence[str]) -> SystemCallFilter:
    """Confine the renderer, which has loaded all libraries.

    :param readable: directories that stay readable where the kernel has Landlock.
    :returns: the narrower filter for the processes that draw pictures.
    :raises CannotConfine: this machine cannot confine a process.
    """
    version = landlock_version()
    narrow = _common_filter(may_open=version > 0)
    calls = _common_filter(may_open=version > 0)
    calls.allow(*_SERVER)
    calls.allow("clone", condition=_masked(_CLONE_FLAGS, _CLONE_THREAD | _CLONE_NAMESPACES, 0))
    limit_resources()
    leave_namespaces()
    if version > 0:
        restrict_files(version, readable)
    calls.load()
    return narrow

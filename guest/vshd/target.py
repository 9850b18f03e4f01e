"""The program that a session runs: on a terminal or on three pipes, as its user (chromeos-vsh.md §3.4, §3.7)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from guestlink.errors import reason
from guestlink.vsh import NO_CWD, Setup, Stream
from vshd.account import Account, Refused
from vshd.waiting_child import WaitingChild

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes of a target that could not be executed, the same as a shell's."""
_TERMINAL_IFLAG, _TERMINAL_LFLAG = 0, 3
_IUTF8 = 0o40000
"""termios(3); Python's module has no name for it before 3.13."""
_IGNORED = tuple(number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN)
"""Python ignores SIGPIPE, and our parent may have set others to ignored; a target must not inherit this
(chromeos-vsh.md §3.7). execve(2) itself resets signals that have a handler."""
_SIZES = range(1, 65536)
_TIOCSIG = 0x40045436
"""Send a signal to the foreground of the terminal (ioctl_tty(2)); Python's module has no name for it."""
_REFUSED = b"\0"
"""Prefix of a child's report: the child did not try to execute its program, and the session must be refused."""
_REPORT = 3
"""The descriptor on which a child reports that it could not execute its program; execve closes it."""
_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class DirectoryError(Exception):
    """The directory that a client requires cannot be entered; the text says why."""


class Program(NamedTuple):
    """The program to execute: a path, or a name to find in ``PATH``; and its arguments."""

    path: bytes
    argv: tuple[bytes, ...]


class Target:
    """A running program.

    :ivar pid: its process id; it leads its own session and process group.
    :ivar pidfd: readable when it has exited.
    :ivar report: readable when the execution has succeeded or failed: see :meth:`execution`. -1 after
        it has succeeded.
    :ivar stdin: where its input is written, or -1 when that is closed.
    :ivar outputs: the streams that it writes, by descriptor. A terminal is both its input and its output.
    :ivar terminal: the terminal's master, or -1.
    :raises OSError: there are no more descriptors; the program was killed.
    """

    def __init__(self, pid: int, report: int, stdin: int, outputs: dict[int, Stream], terminal: int) -> None:
        self.pid = pid
        self.pidfd = _pidfd(pid)
        self.report = report
        self.stdin = stdin
        self.outputs = outputs
        self.terminal = terminal
        self._reaped = False

    def execution(self) -> str:
        """The result of the execution, once ``report`` is readable: "" for success, else why it failed.

        :raises Refused: the client requires a directory that cannot be entered.
        """
        message = os.read(self.report, 4096)
        os.close(self.report)
        self.report = -1
        text = message.removeprefix(_REFUSED).decode(errors="replace")
        if message.startswith(_REFUSED):
            self.ended()
            raise Refused(text)
        return text

    def ended(self) -> tuple[int, bool]:
        """Reap the program, once ``pidfd`` is readable.

        :returns: the exit status or the number of the signal, and whether it was a signal.
        """
        result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        if result is None:  # only with WNOHANG
            raise ChildProcessError(errno.ECHILD, "the target has not exited")
        self._reaped = True
        return result.si_status, result.si_code != os.CLD_EXITED

    def resize(self, rows: int, cols: int) -> None:
        """Resize its terminal; sizes that no terminal has are ignored."""
        if self.terminal >= 0:
            _set_size(self.terminal, rows, cols)

    def echoes(self) -> bool:
        """Whether its terminal echoes input."""
        return bool(termios.tcgetattr(self.terminal)[_TERMINAL_LFLAG] & termios.ECHO)

    def send_signal(self, number: int) -> None:
        """Send a signal to the program. On a terminal SIGINT and SIGQUIT go to the foreground, as from their keys.

        Without a terminal the whole process group gets the signal (chromeos-vsh.md §3.10).
        """
        if self._reaped:
            return
        with contextlib.suppress(OSError):
            if self.terminal < 0:
                os.killpg(self.pid, number)
            elif number in (signal.SIGINT, signal.SIGQUIT):
                fcntl.ioctl(self.terminal, _TIOCSIG, number)
            else:
                signal.pidfd_send_signal(self.pidfd, number)

    def close_stdin(self) -> None:
        """Close its input. A terminal stays open, because it is the output as well."""
        if self.stdin >= 0 and self.stdin != self.terminal:
            os.close(self.stdin)
        self.stdin = -1

    def close_output(self, descriptor: int) -> None:
        """Stop reading one of its outputs, and close it unless it is the terminal."""
        del self.outputs[descriptor]
        if descriptor != self.terminal:
            os.close(descriptor)

    def end(self, patience: float) -> None:
        """Send SIGHUP as a terminal that hangs up does, and wait until the program has exited.

        Until then its output is read and dropped: a program that handles SIGHUP may print, and SIGPIPE from a
        closed pipe would kill it.

        :param patience: seconds after which the program gets SIGKILL.
        """
        if self._reaped:
            return
        for group in self._groups():
            with contextlib.suppress(OSError):  # it has exited, or runs as another user by now
                os.killpg(group, signal.SIGHUP)
                os.killpg(group, signal.SIGCONT)  # a stopped one handles no other signal
        self.close_stdin()
        if not self._discard_output(patience):
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
            self._discard_output(patience)

    def _groups(self) -> set[int]:
        """Its own process group, and the one in the foreground of its terminal."""
        groups = {self.pid}
        if self.terminal >= 0:
            with contextlib.suppress(OSError):
                groups.add(os.tcgetpgrp(self.terminal))
        return {group for group in groups if group > 1}

    def _discard_output(self, seconds: float) -> bool:
        """Read and drop its output; returns whether it has exited within ``seconds``."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        for descriptor in (self.pidfd, *self.outputs):
            poll.register(descriptor, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(left * 1000):
                if descriptor == self.pidfd:
                    return True
                try:
                    count = len(os.read(descriptor, 65536))
                except BlockingIOError:
                    continue
                except OSError:
                    count = 0  # no process has the terminal open
                if not count:
                    poll.unregister(descriptor)
        return False

    def close(self) -> None:
        """Close our side. A program that still runs gets SIGHUP, from the kernel if it has a terminal."""
        if self.terminal < 0 and not self._reaped:
            with contextlib.suppress(OSError):  # it has exited, or runs as another user by now
                os.killpg(self.pid, signal.SIGHUP)
        self.close_stdin()
        for descriptor in list(self.outputs):
            self.close_output(descriptor)
        for descriptor in (self.terminal, self.pidfd, self.report):
            if descriptor >= 0:
                os.close(descriptor)
        self.terminal = -1


def _pidfd(pid: int) -> int:
    """Open the pidfd of a program that has just started.

    :raises OSError: there are no more descriptors; the program was killed, because nobody else would end it.
    """
    try:
        return os.pidfd_open(pid)
    except OSError:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        raise


def waiting_target() -> WaitingChild:
    """A child for :func:`start_target`.

    :raises OSError: there are no more processes or descriptors.
    """
    return WaitingChild(_leave_session, _become)


def start_target(
    setup: Setup, account: Account, environ: Mapping[bytes, bytes], child: WaitingChild | None = None
) -> Target:
    """Start the program that a client asks for.

    The target's ``report`` shows whether it could be executed.

    :param child: from :func:`waiting_target`; ``None`` forks a new one if one is needed.
    :raises Refused: the client requires a directory that cannot be entered.
    :raises OSError: there are no more processes, descriptors or terminals.
    """
    order = _Order(choose_program(setup, account), setup, account, environ)
    opened: list[int] = []
    try:
        target = (_start_on_pipes if setup.nopty else _start_on_terminal)(order, child, opened)
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise
    for descriptor in {*opened} - {target.stdin, target.report, *target.outputs}:  # the program has them now
        os.close(descriptor)
    return target


class _Order(NamedTuple):
    """What a target needs to become its program."""

    program: Program
    setup: Setup
    account: Account
    environ: Mapping[bytes, bytes]


def _start_on_pipes(order: _Order, child: WaitingChild | None, opened: list[int]) -> Target:
    """Start a program on three pipes.

    :param opened: gets every descriptor that this function opens, both ends.
    """
    for _ in range(3):
        opened += os.pipe()
    theirs_in, stdin, stdout, theirs_out, stderr, theirs_err = opened
    for descriptor in (stdin, stdout, stderr):
        os.set_blocking(descriptor, False)
    pid, report = _start_child(order, child, (theirs_in, theirs_out, theirs_err), opened)
    return Target(pid, report, stdin, {stdout: Stream.STDOUT, stderr: Stream.STDERR}, -1)


def _start_on_terminal(order: _Order, child: WaitingChild | None, opened: list[int]) -> Target:
    """Start a program on a new terminal; the parameters are those of :func:`_start_on_pipes`."""
    terminal, slave = pty.openpty()
    opened += (terminal, slave)
    _prepare_terminal(terminal, slave, order.setup, order.account)
    os.set_blocking(terminal, False)
    pid, report = 0 if order.account.switches else _spawn(order, slave), -1
    if not pid:
        pid, report = _start_child(order, child, (slave, slave, slave), opened)
    return Target(pid, report, terminal, {terminal: Stream.STDOUT}, terminal)


def _start_child(
    order: _Order, child: WaitingChild | None, standard: tuple[int, int, int], opened: list[int]
) -> tuple[int, int]:
    """Let a forked child become the target; returns its process id and the descriptor of its report.

    :param standard: the program's descriptors 0 to 2.
    """
    report, reporter = os.pipe()
    opened += (report, reporter)
    values = (
        tuple(order.program), tuple(order.setup._replace(env={})), tuple(order.account), dict(order.environ)
    )  # fmt: skip
    descriptors = (*standard, reporter)
    if child is not None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it was killed while it waited
            child.start(values, descriptors)
            return child.pid, report
    child = waiting_target()
    child.start(values, descriptors)
    return child.pid, report


def choose_program(setup: Setup, account: Account) -> Program:
    """The program and arguments in a setup, or without them the account's shell as a login shell in either mode."""
    if setup.argv:
        return Program(setup.argv[0], setup.argv)
    shell = os.fsencode(account.shell)
    return Program(shell, (b"-" + os.path.basename(shell),))


def _spawn(order: _Order, slave: int) -> int:
    """Start a program on a terminal without a fork; returns its process id, or 0 if it must be started otherwise.

    posix_spawn(3) shares the memory of this process until the program is executed, where a forked child copies what
    it touches, and unmaps the rest: a shell's first byte comes 1 ms sooner. It cannot change the user.
    The working directory of this process serves as the program's.

    :raises Refused: the client requires a directory that cannot be entered.
    """
    program, setup, account, environ = order
    try:
        _enter_directory(setup, account)
        os.umask(0o022)
        # A leader of a session without a terminal gets the one that it opens first (tty_ioctl(4)).
        on_terminal = [(os.POSIX_SPAWN_OPEN, 0, os.ttyname(slave), os.O_RDWR, 0)]
        copies = [(os.POSIX_SPAWN_DUP2, 0, number) for number in (1, 2)]
        return os.posix_spawn(
            _find(program, environ), program.argv, environ, file_actions=[*on_terminal, *copies],
            setsid=True, setsigmask=(), setsigdef=(*_IGNORED, signal.SIGTERM),
        )  # fmt: skip
    except DirectoryError as error:
        raise Refused(str(error)) from error
    except (OSError, NotImplementedError):
        return 0  # The forked child reports why, or executes what posix_spawn does not: a script without a #! line.
    finally:
        os.chdir("/")


def _find(program: Program, environ: Mapping[bytes, bytes]) -> bytes:
    """The file to execute.

    :raises FileNotFoundError: there is none.
    """
    for candidate in _candidates(program, environ):
        if os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError


def _prepare_terminal(terminal: int, slave: int, setup: Setup, account: Account) -> None:
    _set_size(terminal, setup.rows, setup.cols)
    mode = termios.tcgetattr(slave)
    mode[_TERMINAL_IFLAG] |= _IUTF8  # erase removes whole characters
    termios.tcsetattr(slave, termios.TCSANOW, mode)
    if account.switches:
        with contextlib.suppress(OSError):
            os.fchown(slave, account.uid, -1)


def _set_size(terminal: int, rows: int, cols: int) -> None:
    if rows in _SIZES and cols in _SIZES:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, cols, 0, 0))


def _leave_session() -> None:
    """Prepare every target: its own session, and the default action for signals."""
    os.setsid()
    for number in (*_IGNORED, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _become(values: tuple[Any, ...], descriptors: tuple[int, ...]) -> NoReturn:
    """Turn this child into the target.

    :param values: as :func:`start_target` sends them.
    :param descriptors: the three standard ones, and the one to report on.
    """
    program, setup, account = Program(*values[0]), Setup(*values[1]), Account(*values[2])
    environ: dict[bytes, bytes] = values[3]
    status = NOT_EXECUTABLE
    text = ""
    try:
        # Move them above the standard ones first, so that dup2 overwrites none before it is used.
        parked = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10) for descriptor in descriptors]
        for standard_number, descriptor in enumerate(parked[:3]):
            os.dup2(descriptor, standard_number, inheritable=True)
        os.dup2(parked[3], _REPORT, inheritable=False)
        os.closerange(_REPORT + 1, 1 << 20)
        if not setup.nopty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.umask(0o022)
        if account.switches:
            os.initgroups(account.name, account.gid)
            os.setresgid(account.gid, account.gid, account.gid)
            os.setresuid(account.uid, account.uid, account.uid)
        if setup.nopty:
            _die_with_parent()  # a change of user resets it
        _enter_directory(setup, account)
        _execute(program, environ)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            status = NOT_FOUND
        text = f"{os.fsdecode(program.path)}: {reason(error)}"
    except DirectoryError as error:
        with contextlib.suppress(OSError):
            os.write(_REPORT, _REFUSED + str(error).encode(errors="replace")[:2000])
        os._exit(1)
    except BaseException as error:
        text = f"{os.fsdecode(program.path)}: {error}"
    message = text.encode(errors="replace")[:2000]
    with contextlib.suppress(OSError):
        os.write(_REPORT, message)
        os.write(2, b"vshd: " + message + b"\n")
    os._exit(status)


def _die_with_parent() -> None:
    """Ask the kernel to send us SIGHUP when our vshd is killed; a terminal does this without being asked."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGHUP), 0, 0, 0)


def _enter_directory(setup: Setup, account: Account) -> None:
    """Enter the home, then the requested directory, as the target's user; skip one that cannot be entered.

    :raises DirectoryError: the requested directory cannot be entered, and the client requires it.
    """
    for beginning in ("/", account.home):
        with contextlib.suppress(OSError):
            os.chdir(beginning)
    asked: dict[str, bytes | str] = {}
    if setup.cwd:
        asked[os.fsdecode(setup.cwd)] = setup.cwd
    if setup.cwd_pid:
        asked[f"the directory of process {setup.cwd_pid}"] = f"/proc/{setup.cwd_pid}/cwd"
    for name, place in asked.items():
        try:
            os.chdir(place)
        except OSError as error:
            if setup.requires_cwd:
                raise DirectoryError(f"{NO_CWD}{name}: {reason(error)}") from error


def _execute(program: Program, environ: Mapping[bytes, bytes]) -> NoReturn:
    """As execvp(3) does, with the target's own PATH."""
    denied: OSError | None = None
    for candidate in _candidates(program, environ):
        try:
            try:
                os.execve(candidate, program.argv, environ)
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise
                os.execve("/bin/sh", (b"sh", candidate, *program.argv[1:]), environ)  # a script without a #! line
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                denied = error
    if denied is not None:
        raise denied
    raise FileNotFoundError(errno.ENOENT, "no such program" if b"/" not in program.path else "no such file")


def _candidates(program: Program, environ: Mapping[bytes, bytes]) -> list[bytes]:
    """The files that may be meant, in the order of the target's own PATH."""
    if b"/" in program.path:
        return [program.path]
    path = environ.get(b"PATH") or os.fsencode(os.defpath)
    return [(folder or b".") + b"/" + program.path for folder in path.split(b":")] if program.path else []

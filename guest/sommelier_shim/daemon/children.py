"""Child processes of the proxy: the program of the command line, and helpers such as ``systemctl``."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Mapping, Sequence

from guestlink.errors import GuestlinkError, reason
from sommelier_shim.daemon.loop import READABLE, Loop

PATIENCE = 5.0
"""Seconds between SIGTERM and SIGKILL for a program when the proxy exits."""
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class RunningProgram:
    """A running program.

    :param ended: called with the exit status; 128+n after signal n.
    """

    def __init__(self, loop: Loop, pid: int, ended: Callable[[int], None]) -> None:
        self.pid = pid
        self._loop = loop
        self._ended = ended
        self._descriptor = os.pidfd_open(pid)
        loop.add(self._descriptor, READABLE, lambda _: self._gone())

    def tell(self, number: int) -> None:
        """Send a signal to the program, if it still runs."""
        if self._descriptor >= 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def close(self) -> None:
        """Send SIGTERM if the program still runs, and SIGKILL after ``PATIENCE`` seconds."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
            if not poll.poll(PATIENCE * 1000):
                os.kill(self.pid, signal.SIGKILL)
        self._forget()
        os.waitpid(self.pid, 0)

    def _gone(self) -> None:
        self._forget()
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._ended(status if status >= 0 else 128 - status)

    def _forget(self) -> None:
        self._loop.remove(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1


def start_program(
    loop: Loop,
    argv: Sequence[str],
    environ: Mapping[str, str],
    ended: Callable[[int], None],
    *,
    inherited: int = -1,
) -> RunningProgram:
    """Start a program with default signal handling.

    :param inherited: a descriptor that the program inherits under the same number.
    :raises GuestlinkError: the program cannot be started.
    """
    if inherited >= 0:
        os.set_inheritable(inherited, True)
    try:
        pid = os.posix_spawnp(argv[0], list(argv), environ, setsigdef=_IGNORED_BY_PYTHON, setsigmask=())
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise GuestlinkError(
            f"cannot run {argv[0]}: {reason(error)}",
            hint="install it, or check its name" if missing else "",
            exit_code=127 if missing else 126,
        ) from error
    return RunningProgram(loop, pid, ended)

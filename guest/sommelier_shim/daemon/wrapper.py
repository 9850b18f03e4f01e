"""``sommelier PROGRAM``: runs a program with a proxy of its own, which exits after the program."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from guestlink import __version__
from sommelier_shim.daemon.children import PATIENCE, RunningProgram, start_program
from sommelier_shim.daemon.display_socket import free_socket
from sommelier_shim.daemon.loop import READABLE, Loop, Timer
from sommelier_shim.daemon.proxy_server import ProxyServer

_OF_OTHER_DISPLAYS = ("DISPLAY", "WAYLAND_SOCKET")
_DIRECTORY_LIMIT = 90
"""Maximum length in characters of a directory for sockets: the kernel accepts socket paths of up to 107 bytes."""


class Wrapper:
    """A program, its connections, and the processes that it leaves behind.

    The program and all its children inherit the write end of a pipe, the trace. After the program has exited and
    the last client has left, processes that still hold the trace have
    :data:`~sommelier_shim.daemon.children.PATIENCE` seconds to connect.

    :param single: whether the program gets one connection, as ``WAYLAND_SOCKET``, instead of a socket's name.
    :param ended: called with the program's exit status when the proxy can exit.
    :raises GuestlinkError: the program cannot be started.
    """

    def __init__(
        self,
        loop: Loop,
        server: ProxyServer,
        argv: Sequence[str],
        environ: Mapping[str, str],
        ended: Callable[[int], None],
        *,
        single: bool,
    ) -> None:
        self._loop = loop
        self._server = server
        self._ended = ended
        self._status: int | None = None
        self._is_ending = False
        self._waiting: Timer | None = None
        self._trace = -1
        self._open = ExitStack()
        variables = {key: value for key, value in environ.items() if key not in _OF_OTHER_DISPLAYS}
        variables["SOMMELIER_VERSION"] = __version__
        server.when_empty = self._look
        try:
            start = self._with_connection if single else self._with_socket
            self.child = start(argv, variables)
        except BaseException:
            self.close()
            raise

    def signalled(self, number: int) -> None:
        """Forward a signal to the program. The proxy serves the program until it exits, and then exits itself."""
        if self._status is not None:
            self._ended(self._status)
        elif number == signal.SIGINT:
            if not _in_foreground():
                self.child.tell(number)  # in the foreground the terminal sends Ctrl-C to the program itself
        else:
            self._is_ending = True
            self.child.tell(number)
            self._loop.call_later(PATIENCE, partial(self.child.tell, signal.SIGKILL))

    def close(self) -> None:
        """End the program if it still runs, and remove the proxy's files."""
        self._server.when_empty = None
        self._open.close()

    def _with_socket(self, argv: Sequence[str], environ: dict[str, str]) -> RunningProgram:
        directory = environ.get("XDG_RUNTIME_DIR", "")
        is_usual = len(directory) < _DIRECTORY_LIMIT and os.access(directory, os.W_OK)
        if not is_usual:
            directory = tempfile.mkdtemp(prefix="sommelier-")
            self._open.callback(shutil.rmtree, directory, ignore_errors=True)
        own = free_socket(directory)
        self._open.callback(own.close)
        self._server.listen(own.listener)
        environ["WAYLAND_DISPLAY"] = os.path.basename(own.path) if is_usual else own.path
        self._trace, theirs = os.pipe2(os.O_CLOEXEC)
        self._open.callback(self._forget_trace)
        self._loop.add(self._trace, READABLE, lambda _: self._trace_ended())
        try:
            return self._run(argv, environ, theirs)
        finally:
            os.close(theirs)

    def _with_connection(self, argv: Sequence[str], environ: dict[str, str]) -> RunningProgram:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ExitStack() as unused, theirs:
            unused.push(ours)
            environ["WAYLAND_SOCKET"] = str(theirs.fileno())
            child = self._run(argv, environ, theirs.fileno())
            unused.pop_all()
        self._server.serve(ours, pid=child.pid)
        return child

    def _run(self, argv: Sequence[str], environ: Mapping[str, str], inherited: int) -> RunningProgram:
        child = start_program(self._loop, argv, environ, self._program_ended, inherited=inherited)
        self._open.callback(child.close)
        return child

    def _program_ended(self, status: int) -> None:
        self._status = status
        if self._is_ending:
            self._ended(status)
        else:
            self._look()

    def _trace_ended(self) -> None:
        self._forget_trace()
        self._look()

    def _forget_trace(self) -> None:
        if self._trace >= 0:
            self._loop.remove(self._trace)
            os.close(self._trace)
            self._trace = -1

    def _look(self) -> None:
        """Exit if the program has exited and no client is left. Children may live on, as wl-copy's do: wait for
        their connections for ``PATIENCE`` seconds."""
        if self._status is None or not self._server.is_empty:
            return
        if self._trace < 0:
            self._ended(self._status)
            return
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = self._loop.call_later(PATIENCE, self._give_up)

    def _give_up(self) -> None:
        if self._status is not None and self._server.is_empty:
            self._ended(self._status)


def _in_foreground() -> bool:
    """Whether there is a terminal that sends Ctrl-C to this process and its children."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)

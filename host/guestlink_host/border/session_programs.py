"""Starts programs of the user's session: openers, terminals, dialogs and container managers' commands.

A daemon that runs in the sandbox of its unit (``guestlink-host.service``) lets the user's systemd start them as
services of their own: child processes would inherit the sandbox, in which no setuid program works, and the daemon's
limits. A daemon without a sandbox starts child processes.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from guestlink import process, xdg
from guestlink.bus import SessionBus
from guestlink.child import Child
from guestlink.errors import GuestlinkError, reason
from guestlink.program import OUTPUT_LIMIT, CommandFailed, Completed, run_program
from guestlink.tasks import TaskOwner
from guestlink.user_manager import HOST_LAUNCHER, ManagerAbsent, StartFailed, UserManager

_log = logging.getLogger(__name__)

_START_TIME = 60.0
"""Seconds that the user's systemd may take to start a program, besides the program's own time limit."""

WaitForExit: TypeAlias = "Callable[[], Awaitable[int | None]]"
"""Waits for a program's exit; returns the exit status, negative for a signal, or ``None`` if it is not known."""


class CannotStart(GuestlinkError):
    """A program of the session could not be started."""


def is_sandboxed() -> bool:
    """Whether setuid programs have no effect for this process and its children (PR_SET_NO_NEW_PRIVS, prctl(2)).

    Every sandbox of a user's unit implies that (systemd.exec(5)).
    """
    with open("/proc/self/status") as status:
        return any(line.split() == ["NoNewPrivs:", "1"] for line in status)


class SessionPrograms:
    """Starts programs that are independent of the daemon's sandbox.

    :param bus: the session bus, for a daemon in a sandbox; ``None`` starts child processes.
    """

    def __init__(self, bus: SessionBus | None = None) -> None:
        self._bus = bus
        self._manager = None if bus is None else UserManager(bus, HOST_LAUNCHER)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks = TaskOwner("session programs")

    async def start(self) -> None:
        """Keep the loop for :meth:`run_from_thread`."""
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Leave the bus; the programs go on."""
        self._loop = None
        await self._tasks.close()
        if self._bus is not None:
            await self._bus.close()

    async def launch(self, argv: Sequence[str]) -> WaitForExit:
        """Start a program that outlives the daemon, without standard input.

        :raises CannotStart: there is no such program, or it cannot be executed.
        """
        if self._manager is not None and _fits_bus(argv):
            try:
                unit = await self._manager.start_service(*_service(argv))
                return functools.partial(self._manager.end_of, unit, None)
            except StartFailed as error:
                raise CannotStart(f"the host cannot start {argv[0]}: {error}") from error
            except ManagerAbsent as error:
                _warn_of_sandbox(argv, error)
        try:
            # Not asyncio's: closing its transport would kill the program when the daemon ends.
            started = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise CannotStart(f"the host cannot start {argv[0]}: {reason(error)}") from error
        return functools.partial(_wait, Child(started))

    async def run(self, argv: Sequence[str], *, timeout: float, stdin: int = subprocess.DEVNULL) -> Completed:
        """Run a program and wait for its exit; kill it and its child processes at the time limit.

        :param timeout: seconds.
        :param stdin: a descriptor to read from; by default the input is empty.
        :raises CommandFailed: the program could not be started or did not exit in time.
        """
        if self._manager is not None and _fits_bus(argv):
            try:
                return await self._run_as_service(self._manager, argv, timeout, stdin)
            except StartFailed as error:
                raise CommandFailed(f"cannot run {argv[0]}: {error}") from error
            except ManagerAbsent as error:
                _warn_of_sandbox(argv, error)
        return await process.run(argv, timeout=timeout, stdin=stdin)

    def run_from_thread(self, argv: Sequence[str], *, timeout: float, stdin: int = subprocess.DEVNULL) -> Completed:
        """:meth:`run` for a thread of the daemon, which may block.

        :raises CommandFailed: as there, or the daemon is about to exit.
        """
        if self._manager is None:
            return run_program(argv, timeout=timeout, stdin=stdin)
        if self._loop is None:
            raise CommandFailed(f"{argv[0]} is not started: guestlink-host is about to exit")
        running = asyncio.run_coroutine_threadsafe(self.run(argv, timeout=timeout, stdin=stdin), self._loop)
        try:
            return running.result(timeout + _START_TIME)
        except (TimeoutError, concurrent.futures.CancelledError) as error:
            running.cancel()
            raise CommandFailed(f"{argv[0]} did not end within {timeout:g} s") from error

    async def _run_as_service(
        self, manager: UserManager, argv: Sequence[str], timeout: float, stdin: int
    ) -> Completed:
        with contextlib.ExitStack() as pipes:
            out, err = _Output(pipes), _Output(pipes)
            if stdin == subprocess.DEVNULL:
                stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
                pipes.callback(os.close, stdin)
            starting = self._tasks.start(
                _start_service(manager, argv, (stdin, out.written, err.written)), name=f"start {argv[0]}"
            )
            try:
                unit = await asyncio.shield(starting)
            except asyncio.CancelledError:
                if isinstance(unit := await starting, str):
                    with contextlib.suppress(ManagerAbsent):
                        await manager.kill(unit)
                raise
            if not isinstance(unit, str):
                raise unit
            out.close_written()
            err.close_written()
            status = None
            try:
                async with asyncio.timeout(timeout):
                    stdout, stderr = await asyncio.gather(out.read(), err.read())
                    status = await manager.end_of(unit, None)
            except TimeoutError as error:
                raise CommandFailed(f"{argv[0]} did not end within {timeout:g} s") from error
            finally:
                if status is None:
                    with contextlib.suppress(ManagerAbsent):
                        await manager.kill(unit)
        return Completed(tuple(argv), status or 0, stdout, stderr)


class _Output:
    """A pipe for one output stream of a service.

    :param pipes: closes what is still open of the pipe at its end.
    :ivar written: the descriptor for the service.
    """

    def __init__(self, pipes: contextlib.ExitStack) -> None:
        read, self.written = os.pipe()
        self._read, self._write = os.fdopen(read, "rb", 0), os.fdopen(self.written, "wb", 0)
        pipes.callback(self._read.close)
        pipes.callback(self._write.close)

    def close_written(self) -> None:
        """Close our copy of the service's end: the stream ends with the service."""
        self._write.close()

    async def read(self) -> bytes:
        """Read to the end of the stream; at most :data:`~guestlink.program.OUTPUT_LIMIT` bytes are kept."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._read
        )
        try:
            return await process.read_bounded(reader, OUTPUT_LIMIT)
        finally:
            transport.close()


async def _start_service(
    manager: UserManager, argv: Sequence[str], streams: Sequence[int]
) -> str | StartFailed | ManagerAbsent:
    """Start a program as a service; returns its unit, or why it could not be started."""
    try:
        return await manager.start_service(*_service(argv), streams)
    except (StartFailed, ManagerAbsent) as error:
        return error


def _service(argv: Sequence[str]) -> tuple[str, Sequence[str], Mapping[str, str], str]:
    """The name, the command line, the additional variables and the directory of a program's service.

    :raises StartFailed: there is no such program.
    """
    program = shutil.which(argv[0])
    if program is None:
        raise StartFailed("there is no such program")
    return os.path.basename(program), [os.path.abspath(program), *argv[1:]], {}, xdg.home(os.environ)


def _fits_bus(argv: Sequence[str]) -> bool:
    """Whether a command line can go over D-Bus, which disconnects a client that sends any other string."""
    try:
        return b"\0" not in "".join(argv).encode()
    except UnicodeEncodeError:
        return False


def _warn_of_sandbox(argv: Sequence[str], error: ManagerAbsent) -> None:
    _log.warning(
        "%s starts in guestlink-host's own sandbox, because no user manager answers: %s", argv[0], str(error)
    )


async def _wait(child: Child) -> int | None:
    """Wait for a child process; stop watching it if the wait is cancelled."""
    try:
        return await child.wait()
    finally:
        child.abandon()

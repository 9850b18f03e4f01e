"""Reports launched applications that fail after the host has got its answer (linux_host.proto)."""

from __future__ import annotations

import logging
import signal
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from garcon.desktop.desktop_entry import DesktopEntry
from garcon.session.journal import last_lines
from garcon.session.launch_plan import CannotLaunch
from guestlink.errors import GuestlinkError
from guestlink.tasks import TaskOwner
from guestlink.user_manager import ManagerAbsent, UserManager

_log = logging.getLogger(__name__)

DETAIL_LIMIT = 1000
"""Characters of a detail; the host shows fewer."""
OUT_OF_MEMORY = "out of memory"
"""The detail of an application of which the kernel has killed a process because memory was used up."""
_CRASHES = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS, signal.SIGTRAP}
)
"""Signals by which a program fails; every other one is somebody's request to exit."""
_REQUESTS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGPIPE, signal.SIGTERM})
"""Signals that a shell reports as its own exit status, 128 and the number."""

End: TypeAlias = "Callable[[float | None], Awaitable[int | None]]"
"""Waits for a program's exit; returns the exit status, negative for a signal, or ``None`` if it is not known."""


class ApplicationFailure(NamedTuple):
    """How an application failed.

    :ivar exit_status: 1 to 255, or 0.
    :ivar signal: the number of the signal that killed it, or 0. If both are 0, the program did not run.
    :ivar detail: the last line that it printed, or why it did not run; may be empty.
    """

    desktop_file_id: str
    exit_status: int = 0
    signal: int = 0
    detail: str = ""


class FailureWatch:
    """Waits for the exit of launched applications.

    :param manager: the user's systemd.
    :param find: returns the path and the content of an id's desktop file, or raises CannotLaunch.
    :param report: sends a failure to the host, or raises GuestlinkError.
    """

    def __init__(
        self,
        manager: UserManager,
        find: Callable[[str], tuple[str, DesktopEntry]],
        report: Callable[[ApplicationFailure], Awaitable[None]],
    ) -> None:
        self._manager = manager
        self._find = find
        self._report = report
        self._tasks = TaskOwner("failures")

    def watch(self, desktop_file_id: str, end: End, unit: str, *, own_status: bool) -> None:
        """Report the application if it fails from now on.

        :param end: waits for its exit.
        :param unit: its unit, whose journal has its output; ``""`` if there is none.
        :param own_status: as for :func:`is_failure`.
        """
        self._tasks.start(self._wait(desktop_file_id, end, unit, own_status), name=desktop_file_id)

    def watch_service(self, desktop_file_id: str, bus_name: str, *, own_status: bool) -> None:
        """Report an application that the session bus has started, if systemd runs it as a unit of its own.

        dbus-broker starts such units. dbus-daemon starts child processes of its own unless the D-Bus service file
        names a unit, and only dbus-daemon knows how these exit.
        """
        self._tasks.start(self._wait_for_service(desktop_file_id, bus_name, own_status), name=bus_name)

    def not_started(self, desktop_file_id: str, reason: str) -> None:
        """Report an application that could not be started after all."""
        failure = ApplicationFailure(desktop_file_id, detail=reason[:DETAIL_LIMIT])
        self._tasks.start(self._send(failure), name=desktop_file_id)

    async def start(self) -> None:
        """Watch the applications that an earlier garcon has launched and that still run."""
        self._tasks.start(self._watch_running(), name="watch running applications")

    async def _watch_running(self) -> None:
        try:
            running = await self._manager.running_applications()
        except ManagerAbsent as error:
            _log.info("no running application is watched: %s", error)
            return
        watched = 0
        for unit, desktop_file_id in running.items():
            try:
                _path, entry = self._find(desktop_file_id)
            except CannotLaunch:  # vshd, for example, is no application.
                continue
            self.watch(desktop_file_id, _end_of(self._manager, unit), unit, own_status=has_own_status(entry))
            watched += 1
        _log.info("watching %d applications that run already", watched)

    async def close(self) -> None:
        """Stop waiting; the applications keep running."""
        await self._tasks.close()

    async def _wait_for_service(self, desktop_file_id: str, bus_name: str, own_status: bool) -> None:
        try:
            unit = await self._manager.unit_of_service(bus_name)
        except ManagerAbsent as error:
            _log.info("%s is not watched: %s", bus_name, error)
            return
        if unit:
            _log.info("watching %s", unit)
            await self._wait(desktop_file_id, _end_of(self._manager, unit), unit, own_status)

    async def _wait(self, desktop_file_id: str, end: End, unit: str, own_status: bool) -> None:
        status = await end(None)
        if status is None:
            return
        if unit and self._manager.ran_out_of_memory(unit):
            # systemd then stops the rest of the unit, whose main process may exit in its own way.
            await self._send(ApplicationFailure(desktop_file_id, 0, signal.SIGKILL, OUT_OF_MEMORY))
        elif is_failure(status, own_status=own_status):
            lines = await last_lines(unit)
            detail = lines[-1][:DETAIL_LIMIT] if lines else ""
            await self._send(ApplicationFailure(desktop_file_id, max(status, 0), max(-status, 0), detail))

    async def _send(self, failure: ApplicationFailure) -> None:
        _log.info("%s has failed after its launch", failure.desktop_file_id)
        try:
            await self._report(failure)
        except GuestlinkError as error:  # An older host, for example, does not know the call.
            _log.debug("the host does not learn of it: %s", error)


def _end_of(manager: UserManager, unit: str) -> End:
    return lambda limit: manager.end_of(unit, limit)


def is_failure(status: int, *, own_status: bool) -> bool:
    """Whether an exit is a failure, and not the user's wish.

    :param status: the exit status, negative for the signal that killed the program.
    :param own_status: whether an exit status is the program's own: a terminal exits with its command's.
    """
    if status < 0:
        return -status in _CRASHES
    return own_status and status > 0 and status - 128 not in _REQUESTS


def has_own_status(entry: DesktopEntry) -> bool:
    """Whether the exit status of an application is its own."""
    return not entry.launch_in_terminal and "TerminalEmulator" not in entry.categories

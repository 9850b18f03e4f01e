"""LaunchApplication: starts an application's programs for an id and files (chromeos-garcon.md §5)."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from garcon.desktop.desktop_entry import DesktopEntry
from garcon.session.failures import FailureWatch, has_own_status
from garcon.session.launch_plan import CannotLaunch, LaunchPlan, plan_launch
from garcon.session.programs import Programs, StartedProgram, find_program, interpreter_of
from garcon.session.terminal_command import in_directory, with_environ
from guestlink.bus import BusError, NoAnswer, SessionBus
from guestlink.tasks import TaskOwner
from guestlink.terminal_program import find_terminal, without_variables
from guestlink.user_manager import StartFailed

_log = logging.getLogger(__name__)

FILES_LIMIT = 4096
"""Files of one launch: a file manager's "open all" is smaller, and every file may become a process."""
_ARGUMENT_LIMIT = 128 * 1024 - 1
"""Bytes of one argument that Linux accepts (MAX_ARG_STRLEN)."""
_ACTIVATION_TIME = 1.5
"""Seconds to wait for an application's D-Bus reply before garcon answers the host with success."""
_ANSWER_TIME = 25.0
"""Seconds to wait for an application's D-Bus reply at all: the usual limit of D-Bus libraries."""
_PROCESS_LIMIT = 32
"""Processes of one launch for programs that take a single file each."""

_EXECUTION = "Failure in execution of application: "
"""The beginning of the reason if the program itself failed (chromeos-garcon.md §5.4)."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
"""The beginning of every URL and of no absolute path."""


class EntryFinder(Protocol):
    """Finds desktop files by id."""

    def find(self, desktop_file_id: str) -> tuple[str, DesktopEntry]:
        """The path and the content, read now.

        :raises CannotLaunch: there is no such file, or it is broken.
        """


class Launcher:
    """Starts applications.

    :param entries: finds desktop files.
    :param programs: starts processes.
    :param bus: the session bus, for applications that are activated over it.
    :param terminal: the user's terminal program and its switch; empty to look for one.
    :param startup_notify: whether programs get DESKTOP_STARTUP_ID.
    """

    def __init__(
        self,
        entries: EntryFinder,
        programs: Programs,
        bus: SessionBus,
        *,
        terminal: Sequence[str] = (),
        startup_notify: bool = True,
    ) -> None:
        self._entries = entries
        self._programs = programs
        self._bus = bus
        self._terminal = list(terminal)
        self._startup_notify = startup_notify
        self._tasks = TaskOwner("launcher")
        self._failures: FailureWatch | None = None
        self._outcome_time = 0.0

    def report_failures(self, failures: FailureWatch, outcome_time: float) -> None:
        """Report later failures from now on; without this call a program counts as started at once.

        :param failures: reports the failures to the host.
        :param outcome_time: seconds to wait for an early failure before a program counts as started.
        """
        self._failures, self._outcome_time = failures, outcome_time

    async def launch(
        self, desktop_file_id: str, files: Sequence[str], *, scaled: bool = False, features: Sequence[int] = ()
    ) -> str:
        """Start an application.

        :param desktop_file_id: as published.
        :param files: paths or URLs for it.
        :returns: why it could not be started; ``""`` when it runs.
        """
        try:
            _check_files(files)
            path, entry = self._entries.find(desktop_file_id)
            session = await self._programs.session_environ()
            plan = plan_launch(
                desktop_file_id,
                entry,
                path,
                files,
                scaled=scaled,
                features=features,
                session=session,
                startup_notify=self._startup_notify,
            )
        except CannotLaunch as error:
            _log.warning("cannot launch %s: %s", desktop_file_id, error)
            return str(error)
        own_status = has_own_status(entry)
        start = self._tasks.start(
            self._start(desktop_file_id, plan, files, session, own_status), name=desktop_file_id
        )
        # An application may answer late over D-Bus, and the host must not wait for that.
        await asyncio.wait({start}, timeout=None if plan.bus_name is None else _ACTIVATION_TIME)
        if start.done():
            return start.result()
        start.add_done_callback(functools.partial(self._ended_late, desktop_file_id))
        return ""

    @property
    def starting(self) -> int:
        """The number of launches whose application has not answered yet."""
        return len(self._tasks)

    async def close(self) -> None:
        """Stop waiting for applications; they keep running."""
        await self._tasks.close()

    def _ended_late(self, desktop_file_id: str, start: asyncio.Task[str]) -> None:
        if self._failures is not None and not start.cancelled() and start.exception() is None and start.result():
            self._failures.not_started(desktop_file_id, start.result().removeprefix(_EXECUTION))

    async def _start(
        self,
        desktop_file_id: str,
        plan: LaunchPlan,
        files: Sequence[str],
        session: Mapping[str, str],
        own_status: bool,
    ) -> str:
        """Activate or execute the application; the result is that of :meth:`launch`."""
        try:
            if plan.bus_name is None or not await self._activate(plan.bus_name, plan, files):
                await self._execute(desktop_file_id, plan, session, own_status)
            elif self._failures is not None:
                self._failures.watch_service(desktop_file_id, plan.bus_name, own_status=own_status)
        except CannotLaunch as error:
            reason = str(error)
        except StartFailed as error:
            reason = f"{_EXECUTION}{error}"
        else:
            _log.info("launched %s", desktop_file_id)
            return ""
        _log.warning("cannot launch %s: %s", desktop_file_id, reason)
        return reason

    async def _execute(
        self, desktop_file_id: str, plan: LaunchPlan, session: Mapping[str, str], own_status: bool
    ) -> None:
        """Start the plan's commands."""
        if len(plan.argvs) > _PROCESS_LIMIT:
            raise CannotLaunch(
                f"the application takes one file at a time, and {len(plan.argvs)} are more than {_PROCESS_LIMIT}"
            )
        started = []
        for argv in plan.argvs:
            if any(len(os.fsencode(word)) > _ARGUMENT_LIMIT for word in argv):
                raise CannotLaunch("a file name is too long")
            if plan.terminal:
                # Find the program first: a terminal that cannot find it opens a window that closes at once.
                program, directory = find_program(argv[0], plan.directory, session)
                argv = with_environ([*interpreter_of(program), program, *argv[1:]], plan.environ)
                argv = without_variables(in_directory(argv, directory) if plan.directory else argv)
                argv = [*self._find_terminal(session), *argv]
            started.append(await self._programs.start(desktop_file_id, argv, plan.environ, plan.directory))
        if self._outcome_time:
            await asyncio.gather(*(self._check(desktop_file_id, program, own_status) for program in started))

    async def _check(self, desktop_file_id: str, program: StartedProgram, own_status: bool) -> None:
        """Wait for an early failure of a program, and have later ones reported."""
        if await program.runs_on(self._outcome_time) and self._failures is not None:
            self._failures.watch(desktop_file_id, program.end, program.unit, own_status=own_status)

    async def _activate(self, bus_name: str, plan: LaunchPlan, files: Sequence[str]) -> bool:
        """Call the application's Activate or Open over D-Bus (Desktop Entry Specification, "D-Bus Activation").

        :returns: whether the application did as called, or may still do so; if not, execute its Exec line.
        :raises CannotLaunch: the application got the call and left the bus without an answer.
        """
        from dbus_fast import Variant

        path = "/" + bus_name.replace(".", "/").replace("-", "_")
        platform = {name: Variant("s", plan.environ["DESKTOP_STARTUP_ID"]) for name in _startup_keys(plan)}
        member, signature = "Activate", "a{sv}"
        body: list[Any] = [platform]
        if files:
            urls = [file if _URL.match(file) else _file_url(file) for file in files]
            member, signature, body = "Open", "asa{sv}", [urls, platform]
        try:
            await self._bus.call(
                bus_name, path, "org.freedesktop.Application", member, signature, body, timeout=_ANSWER_TIME
            )
        except NoAnswer as error:  # It has got the call: executing it would start it twice.
            _log.warning("%s was started over D-Bus and does not answer: %s", bus_name, error)
        except BusError as error:
            if error.took_the_call:
                raise CannotLaunch(
                    f"{bus_name} accepted the call over D-Bus and exited without an answer"
                ) from error
            _log.info("%s was not activated over D-Bus (%s), executing it", bus_name, error)
            return False
        return True

    def _find_terminal(self, session: Mapping[str, str]) -> Sequence[str]:
        if self._terminal:
            return self._terminal
        if found := find_terminal(session.get("PATH")):
            return found
        raise CannotLaunch("the application needs a terminal program and none is installed; install foot or xterm")


def _startup_keys(plan: LaunchPlan) -> Sequence[str]:
    return ("desktop-startup-id", "activation-token") if "DESKTOP_STARTUP_ID" in plan.environ else ()


def _file_url(path: str) -> str:
    from urllib.parse import quote_from_bytes

    return "file://" + quote_from_bytes(os.fsencode(os.path.abspath(path)))


def _check_files(files: Sequence[str]) -> None:
    if len(files) > FILES_LIMIT:
        raise CannotLaunch(f"{len(files)} files are more than the {FILES_LIMIT} that one launch may have")
    if any("\0" in file for file in files):
        raise CannotLaunch("a file name contains a NUL byte")

"""The user's systemd: its environment block, and transient services for programs.

A program in its own service survives a restart of the daemon that started it, has none of that daemon's sandbox and
limits, and its output goes to the journal.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from guestlink.bus import BusError, NoAnswer, SessionBus

if TYPE_CHECKING:
    from dbus_fast import Message

_SYSTEMD = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"
_JOB_REMOVED = f"type='signal',sender='{_SYSTEMD}',interface='{_MANAGER}',member='JobRemoved',path='{_PATH}'"

_UNIT, _SERVICE = f"{_SYSTEMD}.Unit", f"{_SYSTEMD}.Service"
_CHANGED = (
    f"type='signal',sender='{_SYSTEMD}',interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',"
)
_PROPERTIES = "org.freedesktop.DBus.Properties"
_BUS = "org.freedesktop.DBus"
_EXITED, _KILLED, _DUMPED = 1, 2, 3
"""``ExecMainCode``: how a main process exited (``CLD_EXITED`` and so on, sigaction(2))."""

_OWN_STATUSES = range(200, 256)
"""Exit statuses of systemd's child process if it fails before it executes the program (systemd.exec(5))."""
_END_NEWS_TIME = 1.0
"""Seconds to wait for the signal with the exit status after JobRemoved of a failed start."""
_RESULTS_LIMIT = 64
"""Results of jobs that are kept, because JobRemoved may arrive before the reply that contains the job's path."""
_EXITS_LIMIT = 64
"""Exits of our units that are kept, because a program may exit before anybody waits for its exit."""
GUEST_LAUNCHER, HOST_LAUNCHER = "guestlink", "guestlinkhost"
"""Who started a program, as the second part of its unit's name: garcon, or guestlink-host."""
_ID_LIMIT = 200
"""Bytes of an escaped id in a unit's name."""
_TIMEOUT = 25.0
"""Seconds for one reply of the manager on a busy machine; the host waits for a minute."""
_OUT_OF_MEMORY = "oom-kill"
"""``Result`` of a service of which the kernel or systemd-oomd has killed a process because memory was used up."""
_STREAMS = ("StandardInputFileDescriptor", "StandardOutputFileDescriptor", "StandardErrorFileDescriptor")
"""Properties of a transient service with its three standard streams, as systemd-run(1) sets them for ``--pipe``."""


class ManagerAbsent(Exception):
    """No user manager runs here."""


class StartFailed(Exception):
    """The manager could not start the program; the text says why."""


class UserManager:
    """systemd's user manager over the session bus.

    :param launcher: :data:`GUEST_LAUNCHER` or :data:`HOST_LAUNCHER`.
    """

    def __init__(self, bus: SessionBus, launcher: str = GUEST_LAUNCHER) -> None:
        self._bus = bus
        self._launcher = launcher
        self._own_path = _path_of(_prefix(launcher))
        self._job_results: OrderedDict[str, str] = OrderedDict()
        self._job_waiters: dict[str, asyncio.Future[str]] = {}
        self._exits: OrderedDict[str, int] = OrderedDict()
        self._exit_waiters: dict[str, asyncio.Future[int]] = {}
        self._out_of_memory: OrderedDict[str, None] = OrderedDict()
        self._stopping: set[str] = set()
        self._tickets = 0

    async def environment(self) -> dict[str, str]:
        """The environment block that services start with.

        :raises ManagerAbsent: no manager runs.
        """
        try:
            (value,) = await self._bus.call(
                _SYSTEMD, _PATH, _PROPERTIES, "Get", "ss", [_MANAGER, "Environment"], timeout=_TIMEOUT
            )
        except BusError as error:
            raise ManagerAbsent(str(error)) from error
        entries: list[str] = value.value
        return {name: text for name, equals, text in (entry.partition("=") for entry in entries) if equals}

    async def start_service(
        self,
        name: str,
        argv: Sequence[str],
        environ: Mapping[str, str],
        directory: str,
        streams: Sequence[int] = (),
        *,
        is_shared: bool = False,
    ) -> str:
        """Run a program as a transient service and wait until it has been executed.

        :param name: the application's id; becomes part of the unit's name.
        :param argv: the program's absolute path and its arguments.
        :param environ: variables on top of the manager's own.
        :param directory: working directory.
        :param streams: descriptors for standard input, output and error; by default no input and the journal.
        :param is_shared: whether the service has several independent programs: if memory runs out and the kernel
            kills one of them, systemd stops the others unless this is set.
        :returns: the unit's name.
        :raises ManagerAbsent: no manager runs.
        :raises StartFailed: the program could not be executed.
        """
        from dbus_fast import Variant

        await self._subscribe()
        self._tickets += 1
        unit = unit_name(name, f"{os.getpid():x}{self._tickets:04x}", self._launcher)
        properties = [
            ["Description", Variant("s", _one_line(name))],
            ["Type", Variant("s", "exec")],
            # systemd replaces $NAME, ${NAME} and $$ in every argument. ExecStartEx has a flag against that, but
            # systemd 252 writes it into the unit's file under a name that a daemon-reload does not know.
            ["ExecStart", Variant("a(sasb)", [[argv[0], [word.replace("$", "$$") for word in argv], False]])],
            ["Environment", Variant("as", [f"{key}={value}" for key, value in environ.items()])],
            ["WorkingDirectory", Variant("s", directory)],
            ["CollectMode", Variant("s", "inactive-or-failed")],
            ["Slice", Variant("s", "app.slice")],
            # Otherwise systemd kills what a program has left in the background: xdg-open its browser, for example.
            *([["OOMPolicy", Variant("s", "continue")]] if is_shared else [["ExitType", Variant("s", "cgroup")]]),
            *([name, Variant("h", index)] for index, name in enumerate(_STREAMS[: len(streams)])),
        ]
        try:
            (job,) = await self._bus.call(
                _SYSTEMD,
                _PATH,
                _MANAGER,
                "StartTransientUnit",
                "ssa(sv)a(sa(sv))",
                [unit, "fail", properties, []],
                timeout=_TIMEOUT,
                descriptors=streams,
            )
        except BusError as error:
            if error.nobody_there:
                raise ManagerAbsent(str(error)) from error
            if isinstance(error, NoAnswer):  # systemd may still start it: a second attempt could run it twice.
                raise StartFailed(f"cannot tell whether systemd starts it: {error}") from error
            raise StartFailed(f"systemd refuses to start it: {error}") from error
        result = await self._wait_for(job)
        if result != "done" and not await self._has_run(unit):
            log = f"journalctl --user-unit {shlex.quote(unit)}"
            raise StartFailed(f"{argv[0]} could not be executed; `{log}` says why")
        return unit

    async def kill(self, unit: str) -> None:
        """Kill every process of a unit; without effect if it has none any more.

        :raises ManagerAbsent: no manager runs.
        """
        try:
            await self._bus.call(
                _SYSTEMD, _PATH, _MANAGER, "KillUnit", "ssi", [unit, "all", signal.SIGKILL], timeout=_TIMEOUT
            )
        except BusError as error:
            if error.name != f"{_SYSTEMD}.NoSuchUnit" and error.nobody_there:
                raise ManagerAbsent(str(error)) from error

    def ran_out_of_memory(self, unit: str) -> bool:
        """Whether a unit ended because a process of it was killed for memory; known once :meth:`end_of` returns."""
        return _path_of(unit) in self._out_of_memory

    async def _has_run(self, unit: str) -> bool:
        """Whether the program of a failed start was executed, but exited before systemd noticed the execution."""
        ended = await self.end_of(unit, _END_NEWS_TIME)
        if ended is not None:
            self._exits[_path_of(unit)] = ended
        return ended is not None and ended not in _OWN_STATUSES

    async def running_applications(self) -> dict[str, str]:
        """The units of applications that run now, with their ids. Their exits are known from now on.

        :raises ManagerAbsent: no manager runs.
        """
        await self._subscribe()
        try:
            (units,) = await self._bus.call(
                _SYSTEMD,
                _PATH,
                _MANAGER,
                "ListUnitsByPatterns",
                "asas",
                [["active"], [f"{_prefix(self._launcher)}*.service"]],
                timeout=_TIMEOUT,
            )
        except BusError as error:
            raise ManagerAbsent(str(error)) from error
        return {unit[0]: application_of(unit[0], self._launcher) for unit in units}

    async def unit_of_service(self, bus_name: str) -> str | None:
        """The unit whose main process owns a name on the session bus; ``None`` if no unit has that main process.

        :raises ManagerAbsent: no manager runs, or the name has no owner.
        """
        await self._subscribe()
        try:
            (pid,) = await self._bus.call(
                _BUS, "/org/freedesktop/DBus", _BUS, "GetConnectionUnixProcessID", "s", [bus_name], timeout=_TIMEOUT
            )
            (path,) = await self._bus.call(_SYSTEMD, _PATH, _MANAGER, "GetUnitByPID", "u", [pid], timeout=_TIMEOUT)
            (unit,) = await self._bus.call(
                _SYSTEMD, path, _PROPERTIES, "Get", "ss", [_UNIT, "Id"], timeout=_TIMEOUT
            )
            (main,) = await self._bus.call(
                _SYSTEMD, path, _PROPERTIES, "Get", "ss", [_SERVICE, "MainPID"], timeout=_TIMEOUT
            )
        except BusError as error:
            raise ManagerAbsent(str(error)) from error
        name: str = unit.value
        return name if main.value == pid else None

    async def end_of(self, unit: str, limit: float | None) -> int | None:
        """Wait for the exit of the main process of a unit.

        :param limit: seconds to wait; ``None`` waits for ever.
        :returns: its exit status, negative for the signal that killed it, and 0 if systemd was asked to stop the
            unit; ``None`` while it runs, or if another call waits for the same unit.
        """
        path = _path_of(unit)
        if (ended := self._exits.pop(path, None)) is not None:
            return ended
        if path in self._exit_waiters:
            return None
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._exit_waiters[path] = waiter
        try:
            async with asyncio.timeout(limit):
                return await waiter
        except TimeoutError:
            return None
        finally:
            del self._exit_waiters[path]
            self._stopping.discard(path)

    async def _subscribe(self) -> None:
        try:
            await self._bus.listen(_JOB_REMOVED, self._job_removed)
            await self._bus.listen(f"{_CHANGED}arg0='{_SERVICE}'", self._service_changed)
            await self._bus.listen(f"{_CHANGED}arg0='{_UNIT}'", self._unit_changed)
            # Without a subscriber the manager sends no signals. On each call, because our connection may be new.
            await self._bus.call(_SYSTEMD, _PATH, _MANAGER, "Subscribe", timeout=_TIMEOUT)
        except BusError as error:
            if error.name != "org.freedesktop.systemd1.AlreadySubscribed":
                raise ManagerAbsent(str(error)) from error

    def _job_removed(self, message: Message) -> None:
        if message.member != "JobRemoved" or message.interface != _MANAGER or message.signature != "uoss":
            return
        _id, job, _unit, result = message.body
        self._job_results[job] = result
        while len(self._job_results) > _RESULTS_LIMIT:
            self._job_results.popitem(last=False)
        waiter = self._job_waiters.get(job)
        if waiter is not None and not waiter.done():
            waiter.set_result(result)

    def _service_changed(self, message: Message) -> None:
        if message.member != "PropertiesChanged" or message.signature != "sa{sv}as":
            return
        interface, changed, _ = message.body
        if interface != _SERVICE or "ExecMainCode" not in changed or "ExecMainStatus" not in changed:
            return
        code, status = changed["ExecMainCode"].value, changed["ExecMainStatus"].value
        if code not in (_EXITED, _KILLED, _DUMPED):
            return
        path, ended = str(message.path), status if code == _EXITED else -status
        if "Result" in changed and changed["Result"].value == _OUT_OF_MEMORY:
            self._out_of_memory[path] = None
            while len(self._out_of_memory) > _EXITS_LIMIT:
                self._out_of_memory.popitem(last=False)
        if path in self._stopping:
            self._stopping.remove(path)
            ended = 0
        if (waiter := self._exit_waiters.get(path)) is not None:
            if not waiter.done():
                waiter.set_result(ended)
        elif path.startswith(self._own_path):
            self._exits[path] = ended
            while len(self._exits) > _EXITS_LIMIT:
                self._exits.popitem(last=False)

    def _unit_changed(self, message: Message) -> None:
        """Note that a job stops a unit whose main process runs. systemd also deactivates units without a job: after
        the main process has exited, which it announces first, or if a service has left the bus."""
        if message.member != "PropertiesChanged" or message.signature != "sa{sv}as":
            return
        interface, changed, _ = message.body
        path = str(message.path)
        if interface != _UNIT or path not in self._exit_waiters or not {"ActiveState", "Job"} <= changed.keys():
            return
        job, _path = changed["Job"].value
        if changed["ActiveState"].value == "deactivating" and job and not self._exit_waiters[path].done():
            self._stopping.add(path)

    async def _wait_for(self, job: str) -> str:
        if (result := self._job_results.pop(job, None)) is not None:
            return result
        waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._job_waiters[job] = waiter
        try:
            async with asyncio.timeout(_TIMEOUT):
                return await waiter
        except TimeoutError as error:
            raise StartFailed("systemd did not start it in time") from error
        finally:
            del self._job_waiters[job]
            self._job_results.pop(job, None)


def _path_of(unit: str) -> str:
    """The D-Bus object path of a unit (org.freedesktop.systemd1(5)): letters and digits, the rest escaped."""
    escaped = "".join(char if char.isascii() and char.isalnum() else f"_{ord(char):02x}" for char in unit)
    return f"{_PATH}/unit/{escaped}"


def _prefix(launcher: str) -> str:
    """The beginning of the names of a launcher's units."""
    return f"app-{launcher}-"


def unit_name(application: str, unique: str, launcher: str = GUEST_LAUNCHER) -> str:
    """The unit of an application by the desktop environments' convention for systemd.

    ``app-<launcher>-<application>@<unique>.service``. Characters that systemd does not allow in a name are escaped
    as ``\\xNN`` (systemd.unit(5)), and so are hyphens, because they separate the parts. A long id is cut, because a
    name has 255 bytes at most.
    """
    escaped = ""
    for char in application:
        part = _escape(char)
        if len(escaped) + len(part) > _ID_LIMIT:
            break
        escaped += part
    return f"{_prefix(launcher)}{escaped}@{unique}.service"


def application_of(unit: str, launcher: str = GUEST_LAUNCHER) -> str:
    """The id of an application from its unit's name; the beginning of a long one."""
    escaped = unit.removeprefix(_prefix(launcher)).rpartition("@")[0]
    unescaped = re.sub(rb"\\x([0-9a-f]{2})", lambda code: bytes([int(code[1], 16)]), escaped.encode())
    return unescaped.decode(errors="replace")


def _escape(char: str) -> str:
    if char.isascii() and (char.isalnum() or char in ":_."):
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode(errors="replace"))


def _one_line(text: str) -> str:
    """A text without control characters, because systemd writes the description as one line of a file."""
    return "".join(char if char.isprintable() else "?" for char in text)

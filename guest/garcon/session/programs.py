"""Starts programs of the session: as services of the user manager, or detached if there is none."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from garcon.session.early_end import why_ended
from garcon.session.journal import last_lines
from guestlink.child import Child
from guestlink.errors import reason
from guestlink.user_manager import ManagerAbsent, StartFailed, UserManager

_log = logging.getLogger(__name__)

_DISPLAY_VARIABLES = (
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XCURSOR_SIZE",
    "DISPLAY_LOW_DENSITY",
    "WAYLAND_DISPLAY_LOW_DENSITY",
    "XCURSOR_SIZE_LOW_DENSITY",
    "XAUTHORITY",
)
"""Variables that the Wayland and X units set in the user manager, perhaps after garcon's start
(chromeos-garcon.md §5.4)."""

_HEAD = 256
"""Bytes of a program's file that show its format; text without ``#!`` is a shell script."""
_EARLY_END = 10.0
"""Seconds after its start within which a failed program gets a warning in the log."""


class StartedProgram(NamedTuple):
    """A program that has been executed.

    :ivar argv: the program's arguments.
    :ivar environ: its variables.
    :ivar end: waits up to the given seconds, or for ever, for its exit; returns the exit status, or ``None`` while
        it runs.
    :ivar unit: its unit; ``""`` without one.
    :ivar ran_out_of_memory: whether it exited because a process of it was killed for memory.
    """

    argv: Sequence[str]
    environ: Mapping[str, str]
    end: Callable[[float | None], Awaitable[int | None]]
    unit: str = ""
    ran_out_of_memory: Callable[[], bool] = lambda: False

    async def runs_on(self, limit: float) -> bool:
        """Wait for an early failure; returns whether the program still runs.

        :param limit: seconds.
        :raises StartFailed: the program exited with a failure.
        """
        status = await self.end(limit)
        if status is not None and self.ran_out_of_memory():
            raise StartFailed(f"{os.path.basename(self.argv[0])} ran out of memory right after its start")
        if status:
            said = await last_lines(self.unit)
            why = await asyncio.to_thread(why_ended, self.argv, status, self.environ, self.unit, said)
            raise StartFailed(why)
        return status is None


class Programs:
    """Starts programs so that they outlive garcon.

    :param manager: the user's systemd.
    :param environ: garcon's own environment, which its unit defines.
    """

    def __init__(self, manager: UserManager, environ: Mapping[str, str] = os.environ) -> None:
        self._manager = manager
        self._environ = environ
        self._children: set[Child] = set()

    async def session_environ(self) -> dict[str, str]:
        """The environment of a program that starts now.

        This is garcon's own environment, plus variables that only the user manager has. For displays the manager's
        values win.
        """
        return self._merged(await self._manager_environ() or {})

    async def start(
        self,
        name: str,
        argv: Sequence[str],
        environ: Mapping[str, str],
        directory: str | None,
        *,
        is_shared: bool = False,
    ) -> StartedProgram:
        """Start a program and return when it has been executed.

        :param name: the application's id, for the unit's name and the log.
        :param environ: variables on top of the session's.
        :param directory: working directory; a relative one starts at the home directory, ``None`` is that one.
        :param is_shared: as for :meth:`UserManager.start_service`.
        :raises StartFailed: there is no such program or directory, or the program cannot be executed.
        """
        block = await self._manager_environ()
        complete = self._merged(block or {}) | dict(environ)
        program, directory = find_program(argv[0], directory, complete)
        argv = [program, *argv[1:]]
        words = [*interpreter_of(program), *argv]
        if block is not None and all(map(_is_utf8, [*words, directory])):  # D-Bus allows only UTF-8.
            additions = {
                key: value
                for key, value in complete.items()
                if block.get(key) != value and _valid_assignment(key, value)
            }
            try:
                unit = await self._manager.start_service(name, words, additions, directory, is_shared=is_shared)
                end = functools.partial(self._manager.end_of, unit)
                out_of_memory = functools.partial(self._manager.ran_out_of_memory, unit)
                return StartedProgram(argv, complete, end, unit, out_of_memory)
            except ManagerAbsent as error:
                _log.info("no user manager (%s), starting %s by ourselves", error, name)
        child = self._start_detached(name, words, complete, directory)
        return StartedProgram(argv, complete, child.wait)

    @property
    def detached(self) -> int:
        """The number of running programs that are not services of a user manager."""
        return len(self._children)

    async def close(self) -> None:
        """Stop watching the programs that we started; they keep running."""
        for child in self._children:
            child.abandon()
        self._children.clear()

    async def _manager_environ(self) -> dict[str, str] | None:
        try:
            return await self._manager.environment()
        except ManagerAbsent:
            return None

    def _merged(self, block: Mapping[str, str]) -> dict[str, str]:
        newer = {name: block[name] for name in _DISPLAY_VARIABLES if name in block}
        return dict(block) | dict(self._environ) | newer

    def _start_detached(self, name: str, argv: Sequence[str], environ: Mapping[str, str], directory: str) -> Child:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environ,
                cwd=directory,
                start_new_session=True,
                umask=0o022,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise StartFailed(f"{argv[0]} cannot be executed: {reason(error)}") from error
        started = asyncio.get_running_loop().time()
        child = Child(process, functools.partial(self._ended, name, started))
        self._children.add(child)
        return child

    def _ended(self, name: str, started: float, child: Child) -> None:
        self._children.discard(child)
        if child.status != 0 and asyncio.get_running_loop().time() - started < _EARLY_END:
            _log.warning("%s ended with status %s soon after its start", name, child.status)


def find_program(program: str, directory: str | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """The file of a program and the directory that it runs in, both as absolute paths.

    :param program: searched in PATH, then in the directory, as in GLib and KDE.
    :param directory: a relative one starts at the home directory, ``None`` is the home directory.
    :param environ: PATH and HOME of the session.
    :raises StartFailed: there is no such program or directory.
    """
    directory = os.path.join("/", environ.get("HOME", ""), directory or "")
    if ".." in directory.split("/"):  # systemd refuses "..".
        directory = os.path.realpath(directory)
    if not os.path.isdir(directory):
        is_there = os.path.exists(directory)
        raise StartFailed(f"its directory {directory} {'is no directory' if is_there else 'does not exist'}")
    beside = os.path.join(directory, program)
    found = shutil.which(program, path=environ.get("PATH") or os.defpath) if "/" not in program else None
    found = found or shutil.which(beside)
    if found is None:
        what = "there is no right to execute" if os.path.exists(beside) else "there is no program"
        raise StartFailed(f"{what} {beside if '/' in program else program}")
    return os.path.abspath(found), directory


def interpreter_of(program: str) -> Sequence[str]:
    """The shell that runs a program, if its file has no format, as with execvp(3); empty for other programs.

    :raises StartFailed: the program is a script whose interpreter is not there.
    """
    try:
        with open(program, "rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return ()
    if head.startswith(b"#!") and b"\n" in head:
        words = head[2:].partition(b"\n")[0].strip(b" \t").replace(b"\t", b" ").split(b" ")
        interpreter = os.fsdecode(words[0])
        if interpreter.startswith("/") and not os.path.exists(interpreter):
            raise StartFailed(f"{program} cannot be executed: there is no interpreter {interpreter!r}")
        return ()
    return () if head.startswith((b"\x7fELF", b"#!")) or b"\0" in head else ("/bin/sh",)


def _valid_assignment(key: str, value: str) -> bool:
    # systemd refuses a whole unit for one variable that it cannot represent.
    return (
        key.isidentifier()
        and key.isascii()
        and _is_utf8(value)
        and not any(ord(char) < 32 and char not in "\t\n" for char in value)
    )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

"""Opens URLs and terminals on the user's desktop and asks the user, without a shell in between."""

from __future__ import annotations

import asyncio
import enum
import functools
import logging
import os
import shutil
import signal
from collections.abc import Callable, Sequence

from guestlink.errors import GuestlinkError
from guestlink.program import CommandFailed, signal_name
from guestlink.tasks import TaskOwner
from guestlink.terminal_program import find_terminal, without_variables
from guestlink_host.border.session_programs import CannotStart, SessionPrograms, WaitForExit

_log = logging.getLogger(__name__)

ASK_TIMEOUT = 120.0
"""Seconds for a person to answer; no answer is no."""
QUESTION_LIMIT = 300
"""Characters of untrusted text in a question: the question itself must stay on the screen."""

_NEVER = "No, and never again"
_ASKERS = (
    (
        "zenity", "--question", "--no-markup", "--title=Guestlink", "--default-cancel", f"--extra-button={_NEVER}",
        "--text",
    ),
    ("kdialog", "--title", "Guestlink", "--no-label", _NEVER, "--cancel-label", "No", "--yesnocancel"),
)  # fmt: skip
"""Dialog programs that show plain text and exit with 0 for yes. zenity prints the extra button that was pressed;
kdialog exits with 1 for its No button. Closing a window is zenity's No and kdialog's Cancel, so both mean no."""


class Answer(enum.Enum):
    """What the user answers to a question."""

    YES = enum.auto()
    NO = enum.auto()
    NEVER = enum.auto()
    """No, and no further question of this kind either."""


OUTCOME_TIME = 2.0
"""Seconds to wait for an early failure; a program that runs longer counts as started."""
_FATAL_SIGNALS = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS}
"""Signals that count as a failure; the user may have sent any other."""
_XDG_OPEN = {
    2: "there is no such file",
    3: "it finds no program that opens this; install one, or set `opener` in guestlink-host.conf",
    4: "the program that it started failed",
}
"""Meanings of xdg-open's exit statuses (xdg-open(1))."""


_SET = "set `{}` in guestlink-host.conf"


class DesktopFailed(GuestlinkError):
    """A program of the desktop could not be started, or failed."""


class Desktop:
    """Starts the user's programs. They outlive the daemon.

    :param opener: command that opens a URL; the URL is appended.
    :param terminal: terminal with its switch before a command, which is appended; empty to search for one.
    :param ask: yes/no dialog command; the question is appended; empty to search for one.
    :param shell: command that starts a shell or a command in a container; empty if there is none.
    :param programs: starts them; by default as child processes.
    """

    def __init__(
        self,
        opener: list[str],
        terminal: list[str],
        ask: list[str],
        shell: list[str],
        programs: SessionPrograms | None = None,
    ) -> None:
        self._programs = programs or SessionPrograms()
        self._opener = opener
        self._terminal = terminal
        self._ask = ask
        self._shell = shell
        self._tasks = TaskOwner("desktop")

    async def open_url(self, url: str, failed: Callable[[DesktopFailed], None]) -> None:
        """Open a checked URL; returns when the opener has exited, or after :data:`OUTCOME_TIME`.

        :param failed: is called with a failure that comes later.
        :raises DesktopFailed: the program cannot be started, or fails within :data:`OUTCOME_TIME`.
        """
        await self._start([*self._opener, url], failed)

    async def open_terminal(self, container: str, words: Sequence[str]) -> None:
        """Open a terminal with a shell or a command inside a container.

        After :data:`OUTCOME_TIME` no exit status counts as a failure: many terminals exit with their command's.

        :param words: the command; empty for a login shell.
        :raises GuestlinkError: there is no terminal, it cannot be started, or it fails at once.
        """
        if not self._shell:
            hint = "install guestlink-host's vsh, or set `shell` in guestlink-host.conf"
            raise GuestlinkError("the host has no program that opens a shell in a container", hint=hint)
        command = [*self._shell, container, *(["--", *words] if words else [])]
        terminal = self._terminal or find_terminal()
        if not terminal:
            raise GuestlinkError("the host has no terminal program", hint=_SET.format("terminal"))
        await self._start([*terminal, *without_variables(command)], lambda error: _log.debug("%s", error))

    async def ask(self, question: str) -> Answer:
        """Ask the user a yes-or-no question; no answer is no. A configured dialog command cannot answer NEVER.

        :raises GuestlinkError: there is no dialog program.
        """
        asker = self._asker()
        name = os.path.basename(asker[0])
        text = question.replace("<", "‹")  # Some dialogs show tags as rich text.
        if name == "kdialog":
            text = text.replace("\\", "\\\\")  # kdialog reads \n as a line break.
        try:
            done = await self._programs.run([*asker, text], timeout=ASK_TIMEOUT)
        except CommandFailed as error:
            _log.warning("the user did not answer: %s", error)
            return Answer.NO
        if done.status == 0:
            return Answer.YES
        if self._ask:
            return Answer.NO
        never = done.status == 1 and (name == "kdialog" or done.stdout.decode(errors="replace").strip() == _NEVER)
        return Answer.NEVER if never else Answer.NO

    async def start(self) -> None:
        """Nothing runs before the first request."""

    async def close(self) -> None:
        """Stop waiting for the programs that were started; they go on."""
        await self._tasks.close()

    def _asker(self) -> list[str]:
        if self._ask:
            return self._ask
        for words in _ASKERS:
            if shutil.which(words[0]) is not None:
                return list(words)
        raise GuestlinkError(
            "the host has no program that can ask the user (zenity or kdialog)", hint=_SET.format("ask")
        )

    async def _start(self, argv: Sequence[str], failed: Callable[[DesktopFailed], None]) -> None:
        try:
            wait_for_exit = await self._programs.launch(argv)
        except CannotStart as error:
            raise DesktopFailed(str(error)) from error
        ended = self._tasks.start(self._outcome(wait_for_exit, argv[0]), name=f"wait for {argv[0]}")
        try:
            await asyncio.wait({ended}, timeout=OUTCOME_TIME)
        finally:
            if not ended.done():  # Also if this call was cancelled.
                ended.add_done_callback(functools.partial(_report_later, failed))
        if ended.done() and (failure := ended.result()) is not None:
            raise failure

    async def _outcome(self, wait_for_exit: WaitForExit, name: str) -> DesktopFailed | None:
        """Wait until a program exits; returns its failure."""
        return _failure(name, await wait_for_exit() or 0)


def _failure(name: str, status: int) -> DesktopFailed | None:
    """The failure that an exit status means, or ``None``."""
    program = os.path.basename(name)
    if status < 0:
        killed = f"{program} on the host was killed by {signal_name(-status)}"
        return DesktopFailed(killed) if -status in _FATAL_SIGNALS else None
    if status == 0:
        return None
    meaning = _XDG_OPEN.get(status, "") if program == "xdg-open" else ""
    return DesktopFailed(f"{program} on the host failed with {status}" + (f": {meaning}" if meaning else ""))


def _report_later(failed: Callable[[DesktopFailed], None], ended: asyncio.Task[DesktopFailed | None]) -> None:
    if not ended.cancelled() and (failure := ended.result()) is not None:
        failed(failure)

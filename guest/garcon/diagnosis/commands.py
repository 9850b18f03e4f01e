"""Runs helper commands with time limits: a hanging command must not delay a report."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from guestlink.program import CommandFailed, ProgramMissing, run_program

OUTPUT_LIMIT = 256 * 1024
"""Characters kept from the end of a command's output, which matters most."""


class CommandResult(NamedTuple):
    """The result of a command.

    :ivar status: its exit status, or ``None`` if it did not run or took too long.
    :ivar text: its output, standard error included, or why it did not run.
    """

    status: int | None
    text: str


class Commands:
    """Runs commands until the time for all of them is used up.

    :param seconds: limit for all commands together.
    :param environ: the commands' environment.
    """

    def __init__(self, seconds: float, environ: Mapping[str, str] = os.environ) -> None:
        self._deadline = time.monotonic() + seconds
        # Reports need no pager, no colours and no translations.
        self._environ = dict(environ) | {"LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}

    def run(self, argv: Sequence[str], seconds: float = 10.0) -> CommandResult:
        """Run one command.

        :param seconds: limit for this command.
        """
        left = min(seconds, self._deadline - time.monotonic())
        if left <= 0:
            return CommandResult(None, f"({argv[0]} was not run: the time for this report is used up)")
        try:
            done = run_program(argv, timeout=left, environ=self._environ, is_merged=True)
        except ProgramMissing:
            return CommandResult(None, f"(there is no {argv[0]})")
        except CommandFailed as error:
            return CommandResult(None, f"({error})")
        return CommandResult(done.status, done.output[-OUTPUT_LIMIT:])

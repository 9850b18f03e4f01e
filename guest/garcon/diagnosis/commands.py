"""Helper commands with limits: a hanging one must not make a report late."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

OUTPUT_LIMIT = 256 * 1024
"""Characters kept of a command's output: its end, where what matters stands."""


class Ran(NamedTuple):
    """How a command ended.

    :ivar status: its exit status, or ``None`` where it did not run or took too long.
    :ivar text: what it printed, standard error too, or why it did not run.
    """

    status: int | None
    text: str


class Commands:
    """Runs commands until the time for all of them is used up.

    :param seconds: for all commands together.
    :param environ: what they get.
    """

    def __init__(self, seconds: float, environ: Mapping[str, str] = os.environ) -> None:
        self._deadline = time.monotonic() + seconds
        # Pagers and colours are for people, and translations for nobody who reads a report.
        self._environ = dict(environ) | {"LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}

    def run(self, argv: Sequence[str], seconds: float = 10.0) -> Ran:
        """Run one command.

        :param seconds: for this one, at most.
        """
        left = min(seconds, self._deadline - time.monotonic())
        if left <= 0:
            return Ran(None, f"({argv[0]} was not run: the time for this report is used up)")
        try:
            done = subprocess.run(
                argv,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=left,
                check=False,
            )
        except FileNotFoundError:
            return Ran(None, f"(there is no {argv[0]})")
        except subprocess.TimeoutExpired:
            return Ran(None, f"({argv[0]} did not end within {left:.0f} s)")
        except OSError as error:
            return Ran(None, f"({argv[0]} cannot be run: {(error.strerror or str(error)).lower()})")
        return Ran(done.returncode, done.stdout.decode(errors="replace")[-OUTPUT_LIMIT:])

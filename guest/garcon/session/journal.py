"""Reads what a program of the user's printed, from systemd's journal."""

from __future__ import annotations

import asyncio

from guestlink.process import run
from guestlink.program import CommandFailed

_TIMEOUT = 5.0
"""Seconds for one journalctl."""
_DELAY = 0.3
"""Seconds until journalctl is run once more: journald may read a program's last line after the program's end."""
_LINES = 20
_BYTES = 64 * 1024
"""Lines, and bytes of all lines, that are read."""


async def last_lines(unit: str) -> list[str]:
    """The last lines that the processes of a user's unit printed, without empty ones.

    :param unit: the unit's name; ``""`` has no lines.
    :returns: at most 20 lines; none if this user may not read the journal.
    """
    # Not --user-unit, which adds what systemd itself says about the unit.
    argv = ["journalctl", "--user", "--quiet", "--no-pager", "-o", "cat", f"--lines={_LINES}"]
    for delay in (0.0, _DELAY) if unit else ():
        await asyncio.sleep(delay)
        try:
            done = await run([*argv, f"_SYSTEMD_USER_UNIT={unit}"], timeout=_TIMEOUT, output_limit=_BYTES)
        except CommandFailed:
            return []
        if lines := [line.strip() for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]:
            return lines
    return []

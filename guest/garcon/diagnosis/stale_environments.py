"""Checks that the user manager and garcon have the variables that Guestlink's environment generator prints.

Both lack the variables if they started before the generator was installed and were not reloaded or restarted since.
"""

from __future__ import annotations

from typing import Any

from garcon.diagnosis.commands import Commands

_GENERATOR = "/usr/lib/systemd/user-environment-generators/20-guestlink"


def stale_environments(commands: Commands) -> dict[str, Any]:
    """Compare only the variables' names, because the user may change their values.

    :returns: the facts ``manager_lacks`` and ``garcon_lacks``; nothing if there is no generator or no manager.
    """
    printed = commands.run([_GENERATOR], 5)
    shown = commands.run(["systemctl", "--user", "show-environment"], 5)
    if printed.status != 0 or shown.status != 0:
        return {}
    wanted = _names(printed.text.splitlines())
    known = {"manager_lacks": tuple(sorted(wanted - _names(shown.text.splitlines())))}
    main = commands.run(["systemctl", "--user", "show", "-P", "MainPID", "guestlink-garcon.service"], 5)
    try:
        with open(f"/proc/{int(main.text)}/environ", errors="replace") as stream:
            known["garcon_lacks"] = tuple(sorted(wanted - _names(stream.read().split("\0"))))
    except (OSError, ValueError):
        pass  # garcon does not run, which another check reports.
    return known


def _names(lines: list[str]) -> set[str]:
    return {line.partition("=")[0] for line in lines if "=" in line}

"""Whether the user manager and garcon have the variables that Guestlink's environment generator prints.

They lack them when they were started before the generator was installed and nobody has reloaded or restarted them.
"""

from __future__ import annotations

from typing import Any

from garcon.diagnosis.commands import Commands

_GENERATOR = "/usr/lib/systemd/user-environment-generators/20-guestlink"


def stale_environments(commands: Commands) -> dict[str, Any]:
    """Compare variables by name: their values are the user's to change.

    :returns: the facts ``manager_lacks`` and ``garcon_lacks``; nothing where there is no generator or no manager.
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
        pass  # It does not run, which is another check's finding.
    return known


def _names(lines: list[str]) -> set[str]:
    return {line.partition("=")[0] for line in lines if "=" in line}

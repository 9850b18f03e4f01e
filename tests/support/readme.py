"""The commands of README.md as a reader copies them, and a function that runs them."""

from __future__ import annotations

import re
import subprocess
import textwrap
from collections.abc import Mapping

from support.machine import UID, USER, Booted
from support.stage import CHECKOUT, Stage

_STEP = re.compile(r"^\d\. (?P<text>.*?)\n\n   ```sh\n(?P<commands>.*?)\n   ```", re.MULTILINE | re.DOTALL)
_NO_SESSION = f"rm -f /var/lib/systemd/linger/*; systemctl stop user@{UID}.service user-{UID}.slice"
_SYSTEMCTL = '[ "$*" = "--user enable --now guestlink-host" ] && exec guestlink-host status'
"""A substitute for ``systemctl``: the test machine has no user manager, and the daemon is running already."""


def desktop_steps() -> list[tuple[bool, str]]:
    """README's steps for a Linux desktop: whether each step runs in the container, and its commands."""
    text = (CHECKOUT / "README.md").read_text()
    section = text[text.index("**On a Linux desktop**") : text.index("**As a maintainer**")]
    return [
        (step["text"].startswith("In the container"), textwrap.dedent(f"   {step['commands'].strip()}"))
        for step in _STEP.finditer(section)
    ]


def nobody_has_logged_in(container: Booted) -> None:
    """Bring a container into the state right after its first boot: its user has no user manager."""
    container.root("sh", "-c", _NO_SESSION)
    assert container.root("pgrep", "-u", USER).returncode != 0


def follow_readme(
    stage: Stage, container: Booted, name: str, stand_ins: Mapping[str, str] | None = None
) -> list[subprocess.CompletedProcess[str]]:
    """Run README's steps, word for word; returns the result of each step.

    :param stand_ins: scripts that replace more programs of the host.
    """
    steps = desktop_steps()
    assert [inside for inside, _ in steps] == [False, True, False], "host, container, host"
    done = []
    for inside, commands in steps:
        script = commands.replace("NAME", name)
        if inside:
            done.append(container.root("sh", "-euc", script))
        else:
            done.append(stage.host_shell(script, stand_ins={"systemctl": _SYSTEMCTL, **(stand_ins or {})}))
    return done

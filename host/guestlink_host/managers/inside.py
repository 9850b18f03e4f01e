"""Commands that the host runs in a container through its manager: check, diagnose and install Guestlink."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from guestlink.errors import GuestlinkError
from guestlink_host.managers import Instance, Manager, ManagerError
from guestlink_host.managers.install_script import PACKAGES_AS, Source, install_script, package_files
from guestlink_host.names import visible_line

_IS_THERE = "command -v guestlink > /dev/null || test -x /usr/lib/guestlink/garcon"
_ABSENT = 1
"""The exit status of :data:`_IS_THERE` without Guestlink; statuses other than 0 and 1 say nothing about it."""
_INSTALL_TIMEOUT = 1800.0
"""Seconds for a package manager with a slow network."""


class NotInstalled(GuestlinkError):
    """The container runs without Guestlink."""


def check_installed(manager: Manager, instance: Instance) -> None:
    """Check whether Guestlink is installed in a running container.

    :raises NotInstalled: it is not installed. A container in which the check cannot run passes.
    """
    try:
        status = manager.run(instance, ["sh", "-c", _IS_THERE]).status
    except ManagerError:
        return
    if status == _ABSENT:
        raise NotInstalled(
            f"Guestlink is not installed in the container {instance.name}",
            hint=f"`guestlink-host attach {instance.name} --install` installs it, from the repository that --apt, "
            "--dnf, --packages or guestlink-host.conf names, or from one that the container has",
        )


def complaint(manager: Manager, instance: Instance) -> GuestlinkError | None:
    """The first error that ``guestlink doctor`` reports in the container; ``None`` without one."""
    try:
        ran = manager.run(instance, ["guestlink", "doctor", "--json"])
        findings = json.loads(ran.stdout)["findings"]
        errors = [finding for finding in findings if finding["severity"] == "error"]
    except (ManagerError, ValueError, TypeError, KeyError):
        return None
    if not errors:
        return None
    sentence, advice = (_line(errors[0].get(key, "")) for key in ("sentence", "advice"))
    return GuestlinkError(
        f"in the container {instance.name}: {sentence}", hint=f"there: {advice}" if advice else ""
    )


def install(manager: Manager, instance: Instance, source: Source) -> None:
    """Install Guestlink's packages in a running container and adopt it.

    :raises GuestlinkError: the installation failed; the message has its last line of output.
    """
    if source.packages is not None:
        _check(manager, instance, ["mkdir", "-p", PACKAGES_AS])
        for path in package_files(source.packages):
            manager.put(instance, path, f"{PACKAGES_AS}/{path.name}")
    ran = manager.run(instance, ["sh", "-c", install_script(source)], _INSTALL_TIMEOUT)
    if source.packages is not None:
        manager.run(instance, ["rm", "-r", PACKAGES_AS])
    if ran.status != 0:
        output = [line for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]
        inside = f"{manager.shell_prefix(instance)} guestlink adopt"
        raise GuestlinkError(
            f"installing in {instance.name} failed: {_line(output[-1]) if output else f'status {ran.status}'}",
            hint="name a repository that has it with --apt, --dnf or --packages, or install it by hand, then "
            f"`{inside}`",
        )


def _check(manager: Manager, instance: Instance, argv: Sequence[str]) -> None:
    if (ran := manager.run(instance, argv)).status != 0:
        raise ManagerError(
            f"`{shlex.join(argv)}` fails in {instance.name}: {_line(ran.stderr)}",
            hint=f"run it by hand: {manager.shell_prefix(instance)} {shlex.join(argv)}",
        )


def _line(text: object) -> str:
    return visible_line(str(text), 500)  # The text comes from the container.

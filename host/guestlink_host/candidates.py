"""``guestlink-host candidates KIND [NAME]``: prints completions for a shell, one per line.

Shells run this command while the user types, so errors print nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from guestlink.errors import GuestlinkError
from guestlink_host.control_client import daemon


def _containers() -> Iterable[str]:
    """The containers that the daemon knows."""
    return (container["name"] for container in daemon().call("list")["containers"])


def _instances() -> Iterable[str]:
    """The managers' containers that are not attached."""
    from guestlink_host.managers import ManagerError, managers_here
    from guestlink_host.settings import MANAGERS, load_settings

    kinds: tuple[str, ...] = load_settings()[MANAGERS]
    for manager in managers_here(kinds):
        try:
            yield from (one.name for one in manager.instances() if one.directory is None)
        except ManagerError:
            continue  # The next manager may answer.


def _applications(name: str) -> Iterable[str]:
    """The ids of a container's applications."""
    return (application["id"] for application in daemon().call("apps", name=name)["applications"])


def run(words: list[str]) -> int:
    """Print the candidates.

    :param words: ``containers``, ``instances``, or ``applications`` and a container's name.
    :returns: 0, or 1 after an error.
    """
    try:
        match words:
            case ["containers"]:
                found = _containers()
            case ["instances"]:
                found = _instances()
            case ["applications", name]:
                found = _applications(name)
            case _:
                raise GuestlinkError("which candidates?", hint="write containers, instances or applications NAME")
        for name in sorted(set(found)):
            if "\n" not in name:
                print(name)
    except GuestlinkError:
        return 1
    return 0

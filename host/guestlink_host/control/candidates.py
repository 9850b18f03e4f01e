"""``guestlink-host candidates KIND [NAME]``: prints completions for a shell, one per line.

Shells run this command while the user types, so errors print nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from guestlink.errors import GuestlinkError
from guestlink_host.control.client import daemon
from guestlink_host.control.command import SHELLS, Command, argument


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


def _policy_values(key: str) -> Iterable[str]:
    """The values of a policy."""
    from guestlink_host.border.policies import POLICIES

    return POLICIES[key].values if key in POLICIES else ()


KINDS: dict[str, Callable[..., Iterable[str]]] = {
    "containers": _containers,
    "instances": _instances,
    "applications": _applications,
    "policy-values": _policy_values,
}
"""What can be completed. For applications, a container's name follows the kind; for values, a policy's."""
_WITH_A_NAME = frozenset({"applications", "policy-values"})


def run(words: list[str]) -> int:
    """Print the candidates.

    :param words: a key of :data:`KINDS`; after ``applications`` also a container's name, after ``policy-values`` a
        policy's.
    :returns: 0, or 1 after an error.
    """
    if words[:1] and words[0] in KINDS and len(words) == 1 + (words[0] in _WITH_A_NAME):
        try:
            for name in sorted(set(KINDS[words[0]](*words[1:]))):
                if "\n" not in name:
                    print(name)
        except GuestlinkError:
            return 1
        return 0
    return 1


COMMANDS = (
    Command(
        "candidates",
        "print names for the shells' completion",
        section=SHELLS,
        arguments=(argument("kind", metavar="KIND"), argument("name", nargs="?", metavar="NAME")),
        run_words=run,
        is_plumbing=True,
    ),
)

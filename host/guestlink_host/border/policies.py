"""The table of policies: what a container may do on this desktop, if the user allows it. Pure.

``guestlink-host policy NAME KEY VALUE`` sets one for a container;
:class:`~guestlink_host.containers.container_policies.ContainerPolicies` has the values that are in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from guestlink.config import Config, Setting
from guestlink_host.settings import TERMINAL_POLICY, URL_POLICY

ALLOW, ASK, DENY, AUTO = "allow", "ask", "deny", "auto"
PROXY, TO_HOST, TO_CONTAINER = "proxy", "to-host", "to-container"


class Policy(NamedTuple):
    """One row.

    :ivar key: its name on the command line.
    :ivar about: what a container may do with it, as the end of "it may …", for help and messages.
    :ivar values: the values that it takes.
    :ivar default: the value of containers without one of their own: a value, or the setting that has it.
    """

    key: str
    about: str
    values: tuple[str, ...]
    default: str | Setting[Any]


POLICIES = {
    policy.key: policy
    for policy in (
        Policy("url", "open URLs", (ALLOW, ASK, DENY), URL_POLICY),
        Policy("terminal", "open terminals", (ALLOW, ASK, DENY), TERMINAL_POLICY),
        Policy("wayland", "show windows; with proxy always through a proxy", (ALLOW, PROXY, DENY), ALLOW),
        Policy(
            "clipboard",
            "exchange the clipboard and drags",
            (ALLOW, TO_HOST, TO_CONTAINER, DENY),
            ALLOW,
        ),
        Policy("sound", "play sound", (ALLOW, DENY), ALLOW),
        Policy("microphone", "record", (ALLOW, ASK, DENY), DENY),
        Policy("screensaver", "keep the screen on", (ALLOW, DENY), ALLOW),
        Policy(
            "ports",
            "have the forwards of `ports`; with auto every port opens by itself",
            (ALLOW, AUTO, DENY),
            ALLOW,
        ),
        Policy("mime", "become the default application for MIME types", (ALLOW, DENY), DENY),
    )
}
"""All policies, by their keys, in the order in which commands show them."""


def in_force(own: Mapping[str, str], config: Config) -> dict[str, str]:
    """The value of every policy for a container.

    :param own: the container's own values, by key.
    :param config: the settings.
    """
    return {key: own.get(key) or default(policy, config) for key, policy in POLICIES.items()}


def default(policy: Policy, config: Config) -> str:
    """The value for containers without one of their own."""
    return str(config[policy.default]) if isinstance(policy.default, Setting) else policy.default


def is_valid(own: Mapping[str, str]) -> bool:
    """Whether every key is a policy, and every value one that it takes."""
    return all(key in POLICIES and value in POLICIES[key].values for key, value in own.items())


def how_to_allow(container: str, key: str) -> str:
    """The hint of a refusal: the command with which the host's user changes the policy."""
    return f"on the host, `guestlink-host policy {container} {key} {ALLOW}` allows it"

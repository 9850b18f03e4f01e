"""Decides by which way a container's programs reach the host's compositor. Pure.

Never by the compositor's own socket: that has capture, virtual keyboards and everybody's clipboard on some
compositors. Either the compositor itself serves a socket in a security context, which costs nothing per message, or
a proxy on the host stands in between.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from guestlink.wayland_globals import FOR_APPLICATIONS, SECURITY_CONTEXT
from guestlink_host.border.policies import ALLOW, DENY, PROXY, TO_CONTAINER, TO_HOST

DIRECT, PROXIED, NONE = "direct", "proxy", "none"
"""The ways, as answers show them."""
CLIPBOARD_SWITCH = {ALLOW: "both", TO_HOST: "to-host", TO_CONTAINER: "to-guest", DENY: "off"}
"""The proxy's ``--clipboard`` for each value of the policy."""
_SHOWN = 3
"""Interfaces that a sentence names."""


class WaylandRules(NamedTuple):
    """What the user has set for all containers.

    :ivar title_prefix: text before every window's title, with the container's name in place of ``{name}``.
    :ivar allow: patterns of further globals for containers; :ivar deny: patterns of globals to hide.
    """

    title_prefix: str = ""
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class WaylandPlan(NamedTuple):
    """The way, and why.

    :ivar way: one of :data:`DIRECT`, :data:`PROXIED`, :data:`NONE`.
    :ivar why: the reason, as a sentence without a full stop.
    :ivar switches: the proxy's switches for it.
    """

    way: str
    why: str
    switches: tuple[str, ...] = ()


def plan(
    container: str,
    policies: Mapping[str, str],
    rules: WaylandRules,
    interfaces: Collection[str],
    *,
    obstacle: str = "",
) -> WaylandPlan:
    """Choose a container's way to a compositor that runs.

    :param container: its name.
    :param policies: its policies that are in force.
    :param interfaces: the interfaces that the compositor offers to guestlink-host.
    :param obstacle: why a security context of this compositor is no use, as :func:`leak` tells; ``""`` if none is
        known.
    """
    if policies["wayland"] == DENY:
        return WaylandPlan(NONE, f"the policy wayland of {container} is deny")
    switches = [f"--clipboard={CLIPBOARD_SWITCH[policies['clipboard']]}"]
    reasons = []
    if policies["wayland"] == PROXY:
        reasons.append(f"the policy wayland of {container} is proxy")
    if policies["clipboard"] != ALLOW:
        reasons.append(f"the policy clipboard of {container} is {policies['clipboard']}")
    if rules.title_prefix:
        reasons.append("the setting title_prefix is set")
        switches.append(f"--title-prefix={rules.title_prefix.replace('{name}', container)}")
    for key, patterns in (("allow", rules.allow), ("deny", rules.deny)):
        if patterns:
            reasons.append(f"the setting wayland_{key} is set")
            switches.append(f"--{key}={','.join(patterns)}")
    if rules.allow:
        switches.append(
            "--security-context=no"
        )  # In a security context the compositor hides them, whatever we say.
    if SECURITY_CONTEXT not in interfaces:
        reasons.append("the compositor has no security contexts")
    elif obstacle:
        reasons.append(obstacle)
    if reasons:
        return WaylandPlan(PROXIED, reasons[0], tuple(switches))
    return WaylandPlan(DIRECT, "the compositor has security contexts")


def leak(inside: Collection[str]) -> str:
    """Why a security context of a compositor is not enough, as a sentence; ``""`` if it is.

    :param inside: the interfaces that the compositor offers in the context.
    """
    others = sorted(set(inside) - FOR_APPLICATIONS)
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    shown = ", ".join(others[:_SHOWN]) + more
    return f"the compositor offers {shown} also in a security context" if others else ""

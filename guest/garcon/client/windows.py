"""By which way programs' windows reach the host's compositor, as commands show it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from garcon.client.garcon_client import garcon
from guestlink import socket_directory, xdg
from guestlink.errors import GuestlinkError

_ASK_TIME = 10.0
"""Seconds for garcon to ask the host."""
DISPLAY = "wayland-0"
"""The display that ``guestlink-sommelier@0.service`` serves or links."""
_BEYOND = {
    "direct": "the host's compositor keeps them in a security context",
    "proxy": "a proxy on the host passes them on",
    "none": "the host shows none now",
}
"""What happens to windows on the host, by the way that it names."""


def windows_on_host() -> dict[str, str]:
    """The host's ``way`` for this container's windows, and ``why``; empty if it does not tell."""
    try:
        return dict(garcon(patient=False).call("windows", timeout=_ASK_TIME))
    except GuestlinkError:
        return {}


def is_linked(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether programs use the socket that the host has mounted, without a proxy in the container."""
    try:
        target = os.readlink(os.path.join(xdg.runtime_directory(environ), DISPLAY))
    except OSError:
        return False
    return target == f"{socket_directory.MOUNT_POINT}/{socket_directory.COMPOSITOR}"


def windows_sentence(on_host: Mapping[str, str], proxies: Sequence[Mapping[str, Any]], *, linked: bool) -> str:
    """The way of programs' windows from the program to the compositor; "" if it is unknown.

    :param on_host: see :func:`windows_on_host`.
    :param proxies: the status of each proxy in the container.
    :param linked: see :func:`is_linked`.
    """
    here = ""
    if linked:
        here = "programs use the host's socket themselves"
    elif proxies:
        why = next((str(proxy["why"]) for proxy in proxies if proxy.get("why")), "")
        here = "programs use a proxy here" + (f", because {why}" if why else "")
    beyond = _BEYOND.get(on_host.get("way", ""), "")
    if not (here and beyond):
        return here
    return f"{here}; {beyond}: {on_host.get('why', '')}"

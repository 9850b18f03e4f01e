"""By which way programs' sound reaches the host's sound server, as commands show it."""

from __future__ import annotations

from collections.abc import Mapping

from garcon.client.garcon_client import garcon
from guestlink.errors import GuestlinkError

_ASK_TIME = 10.0
"""Seconds for garcon to ask the host."""
_WAYS = {
    "pulseaudio": "programs play through the host's PulseAudio socket",
    "none": "the host plays none now",
}
"""What happens to sound, by the way that the host names."""


def sound_on_host() -> dict[str, str]:
    """The host's ``way`` for this container's sound, and ``why``; empty if it does not tell."""
    try:
        return dict(garcon(patient=False).call("sound", timeout=_ASK_TIME))
    except GuestlinkError:
        return {}


def sound_sentence(on_host: Mapping[str, str]) -> str:
    """The way of programs' sound; "" if it is unknown.

    :param on_host: see :func:`sound_on_host`.
    """
    way = _WAYS.get(on_host.get("way", ""), "")
    return f"{way}: {on_host.get('why', '')}" if way else ""

"""How the commands reach the daemon, and through it a container that may have to be started first."""

from __future__ import annotations

import time
from collections.abc import Callable

from guestlink.control import ControlClient
from guestlink.progress import Progress
from guestlink_host.settings import control_socket

_PAUSE = 0.1
"""Seconds between two questions whether a container is ready."""


def daemon() -> ControlClient:
    """The running daemon's control socket."""
    return ControlClient(
        control_socket(),
        daemon="guestlink-host",
        hint="start it with `systemctl --user start guestlink-host`, or run `guestlink-host serve`",
    )


def wake(name: str, say: Callable[[str], None] | None = None) -> None:
    """Start a container that a manager has stopped, and wait until it can be asked.

    :param say: gets what is being waited for, when that changes; a :class:`Progress` shows it without one.
    :raises GuestlinkError: it cannot be started, or does not register.
    """
    answer = daemon().call("wake", name=name, first=True)
    with Progress() as progress:
        while not answer["ready"]:
            progress.say(answer["doing"])
            if say is not None:
                say(answer["doing"])
            time.sleep(_PAUSE)
            answer = daemon().call("wake", name=name)

"""The commands' client of the daemon, and the wait for a container that the daemon has to start first."""

from __future__ import annotations

import time
from collections.abc import Callable

from guestlink.control import ControlClient
from guestlink.progress import Progress
from guestlink_host.settings import control_socket

_PAUSE = 0.1
"""Seconds between two ``wake`` calls."""


def daemon() -> ControlClient:
    """A client of the running daemon's control socket."""
    return ControlClient(
        control_socket(),
        daemon="guestlink-host",
        hint="start it with `systemctl --user start guestlink-host`, or run `guestlink-host serve`",
    )


def wake(name: str, say: Callable[[str], None] | None = None) -> None:
    """Start a container if its manager has stopped it, and wait until it is reachable.

    :param say: is called with each step, once; a :class:`Progress` shows the step in any case.
    :raises GuestlinkError: the container cannot be started, or does not register.
    """
    answer = daemon().call("wake", name=name, first=True)
    said = ""
    with Progress() as progress:
        while not answer["ready"]:
            progress.say(answer["doing"])
            if say is not None and answer["doing"] != said:
                say(answer["doing"])
            said = answer["doing"]
            time.sleep(_PAUSE)
            answer = daemon().call("wake", name=name)

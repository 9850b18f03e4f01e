"""How the commands reach the daemon, and through it a container that may have to be started first."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from guestlink.control import ControlClient
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

    :param say: is told what is being waited for, when that changes; standard error, where it is a terminal.
    :raises GuestlinkError: it cannot be started, or does not register.
    """
    said = ""
    answer = daemon().call("wake", name=name, first=True)
    while not answer["ready"]:
        if answer["doing"] != said:
            said = answer["doing"]
            (say or _say)(said)
        time.sleep(_PAUSE)
        answer = daemon().call("wake", name=name)


def _say(sentence: str) -> None:
    if sys.stderr.isatty():
        print(f"{sentence} …", file=sys.stderr)

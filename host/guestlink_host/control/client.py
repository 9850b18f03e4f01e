"""The commands' client of the daemon, and the wait for a container that the daemon has to start first."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from guestlink.control import ControlClient
from guestlink.progress import Progress
from guestlink_host.session_directory import session_directory

_PAUSE = 0.1
"""Seconds between two ``start_and_wait`` calls."""


def daemon() -> ControlClient:
    """A client of the running daemon's control socket."""
    session = session_directory()
    return ControlClient(
        session.control_socket,
        server=None if session.owner == os.getuid() else session.owner,
        daemon="guestlink-host",
        hint="start it with `systemctl --user start guestlink-host`, or run `guestlink-host serve`",
    )


def start_and_wait(name: str, report: Callable[[str], None] | None = None) -> None:
    """Start a container if its manager has stopped it, and wait until it is reachable.

    :param report: is called with each step, once; a :class:`Progress` shows the step in any case.
    :raises GuestlinkError: the container cannot be started, or does not register.
    """
    answer = daemon().call("start_and_wait", name=name, first=True)
    reported = ""
    with Progress() as progress:
        while not answer["ready"]:
            step = answer["doing"]
            progress.say(step)
            if report is not None and step != reported:
                report(step)
            reported = step
            time.sleep(_PAUSE)
            answer = daemon().call("start_and_wait", name=name)

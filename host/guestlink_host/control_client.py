"""How the commands reach the daemon."""

from __future__ import annotations

from guestlink.control import ControlClient
from guestlink_host.settings import control_socket


def daemon() -> ControlClient:
    """The running daemon's control socket."""
    return ControlClient(
        control_socket(),
        daemon="guestlink-host",
        hint="start it with `systemctl --user start guestlink-host`, or run `guestlink-host serve`",
    )

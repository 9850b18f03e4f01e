"""Where the session's sound server is: PulseAudio, or PipeWire's pipewire-pulse (pulse-client.conf(5))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from guestlink import xdg
from guestlink.errors import GuestlinkError, reason
from guestlink_host.border.sound.tagstruct import COOKIE_SIZE


class SessionServer:
    """The server of this user's session.

    :param environ: the session's environment.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def connect(self) -> socket.socket:
        """A non-blocking connection.

        :raises GuestlinkError: the server does not run or does not accept connections.
        """
        path = self.path()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect(path)
        except OSError as error:
            sock.close()
            raise GuestlinkError(
                f"the sound server at {path} cannot be reached: {reason(error)}",
                hint="start PulseAudio or pipewire-pulse in this session, or set PULSE_SERVER to its socket",
            ) from error
        return sock

    @property
    def is_there(self) -> bool:
        """Whether a server has made its socket, or systemd has for it."""
        return Path(self.path()).is_socket()

    def path(self) -> str:
        """The path of the server's socket: in ``PULSE_SERVER``, or where servers make it."""
        for word in self._environ.get("PULSE_SERVER", "").split():
            # A name may have the id of its machine in front, in braces.
            place = word.partition("}")[2] if word.startswith("{") else word
            place = place.removeprefix("unix:")
            if place.startswith("/"):
                return place
        runtime = Path(xdg.runtime_directory(self._environ) or "/")
        return str(Path(self._environ.get("PULSE_RUNTIME_PATH", runtime / "pulse"), "native"))

    def cookie(self) -> bytes:
        """The secret that proves who we are; zeros if there is none, because servers also accept their own uid."""
        place = self._environ.get("PULSE_COOKIE") or Path(xdg.config_home(self._environ), "pulse/cookie")
        try:
            with Path(place).open("rb") as stream:
                return stream.read(COOKIE_SIZE).ljust(COOKIE_SIZE, b"\0")
        except OSError:
            return bytes(COOKIE_SIZE)

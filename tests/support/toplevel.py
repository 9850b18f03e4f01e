"""A window of a client that sends raw Wayland messages to a running proxy or compositor."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.wayland_peers import Client, heard_by

APP_ID = "pixels"
MAGENTA = b"\xff\x00\xff"
"""The colour of a window: red, green and blue."""
_INITIAL = 300


class Toplevel:
    """A window. It draws only when the configured size differs from the drawn one; otherwise it acks and commits.

    :param shadow: width of the transparent frame, in units.
    """

    def __init__(self, client: Client, shadow: int = 0) -> None:
        self.client = client
        self._shadow = shadow
        self._drawn: list[int] = []
        client.start()
        self._shm = client.bind("wl_shm", 1)
        self._surface = client.create(client.bind("wl_compositor", 4), "create_surface")
        self._xdg_surface = client.create(client.bind("xdg_wm_base", 2), "get_xdg_surface", self._surface)
        self._toplevel = client.create(self._xdg_surface, "get_toplevel")
        client.request(self._toplevel, "set_app_id", APP_ID)
        client.request(self._surface, "commit")

    def told(self) -> list[int]:
        """Answer the latest configure; returns the last configured size, or an empty list before the first."""
        heard = self.client.sync()
        sizes = [size for *size, _ in heard_by(self.client.events, self._toplevel, "configure")]
        serials = [serial for (serial,) in heard_by(heard, self._xdg_surface, "configure")]
        if serials:
            self.client.request(self._xdg_surface, "ack_configure", serials[-1])
            size = [number or _INITIAL for number in sizes[-1]]
            if size != self._drawn:
                self._draw(*size)
                self._drawn = size
            self.client.request(self._surface, "commit")
        return sizes[-1] if sizes else []

    def _draw(self, width: int, height: int) -> None:
        shadow = self._shadow
        self.client.request(self._xdg_surface, "set_window_geometry", shadow, shadow, width, height)
        across, down = width + 2 * shadow, height + 2 * shadow
        row = bytes(4 * shadow) + (MAGENTA + b"\xff") * width + bytes(4 * shadow)
        empty = bytes(4 * across * shadow)
        descriptor = os.memfd_create("pool")
        with open(descriptor, "wb", closefd=False) as pool_file:
            pool_file.write(empty + row * height + empty)
        pool = self.client.create(self._shm, "create_pool", across * down * 4, fds=[descriptor])
        os.close(descriptor)
        buffer = self.client.create(pool, "create_buffer", 0, across, down, across * 4, 0)
        self.client.request(self._surface, "attach", buffer, 0, 0)
        self.client.request(self._surface, "damage", 0, 0, 0x7FFFFFFF, 0x7FFFFFFF)


@contextmanager
def client_of(path: Path) -> Iterator[Client]:
    """A client connected to the listening socket of a proxy or compositor."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        client = Client(sock)
        try:
            yield client
        finally:
            client.close()

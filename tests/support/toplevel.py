"""A window of a client that sends raw Wayland messages to a running proxy or compositor."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.wayland_peers import Client

_ATTACH, _DAMAGE, _COMMIT = 1, 2, 6
"""Opcodes of wl_surface."""
_SET_WINDOW_GEOMETRY, _ACK_CONFIGURE = 3, 4
"""Opcodes of xdg_surface."""
_SET_APP_ID = 3
"""Opcode of xdg_toplevel."""
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
        self._surface = client.create(client.bind("wl_compositor", 4), 0)
        self._xdg_surface = client.create(client.bind("xdg_wm_base", 2), 2, "no", self._surface)
        self._toplevel = client.create(self._xdg_surface, 1)
        client.request(self._toplevel, _SET_APP_ID, "s", APP_ID)
        client.request(self._surface, _COMMIT)

    def told(self) -> list[int]:
        """Answer the latest configure; returns the last configured size, or an empty list before the first."""
        heard = self.client.sync()
        events = self.client.events
        sizes = [m.arguments("iia")[:2] for m in events if (m.object_id, m.opcode) == (self._toplevel, 0)]
        serials = [m.arguments("u")[0] for m in heard if (m.object_id, m.opcode) == (self._xdg_surface, 0)]
        if serials:
            self.client.request(self._xdg_surface, _ACK_CONFIGURE, "u", serials[-1])
            size = [number or _INITIAL for number in sizes[-1]]
            if size != self._drawn:
                self._draw(*size)
                self._drawn = size
            self.client.request(self._surface, _COMMIT)
        return sizes[-1] if sizes else []

    def _draw(self, width: int, height: int) -> None:
        shadow = self._shadow
        self.client.request(self._xdg_surface, _SET_WINDOW_GEOMETRY, "iiii", shadow, shadow, width, height)
        across, down = width + 2 * shadow, height + 2 * shadow
        row = bytes(4 * shadow) + (MAGENTA + b"\xff") * width + bytes(4 * shadow)
        empty = bytes(4 * across * shadow)
        descriptor = os.memfd_create("pool")
        with open(descriptor, "wb", closefd=False) as pool_file:
            pool_file.write(empty + row * height + empty)
        pool = self.client.create(self._shm, 0, "nhi", across * down * 4, fds=[descriptor])
        os.close(descriptor)
        buffer = self.client.create(pool, 0, "niiiiu", 0, across, down, across * 4, 0)
        self.client.request(self._surface, _ATTACH, "oii", buffer, 0, 0)
        self.client.request(self._surface, _DAMAGE, "iiii", 0, 0, 0x7FFFFFFF, 0x7FFFFFFF)


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

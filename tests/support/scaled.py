"""A client of a scaling proxy. Tests send raw messages."""

from __future__ import annotations

import os
from typing import Any

from support.wayland_peers import Client, HostConnection, Message


class Scaled:
    """A client of a scaling proxy and its host. Client ids and host ids differ."""

    def __init__(self, client: Client, host: HostConnection) -> None:
        self.client, self.host = client, host
        self.compositor = client.bind("wl_compositor")
        self.shm = client.bind("wl_shm")
        self.seat = client.bind("wl_seat")
        self.wm = client.bind("xdg_wm_base")
        client.sync()

    def host_id(self, interface: str) -> int:
        """The host id of the global that the client bound last."""
        return self.host.bound[interface][-1]

    def made(self, factory: int, opcode: int, signature: str = "n") -> int:
        """The host id of the object that a request created."""
        return int(self.host.wait_request(factory, opcode).arguments(signature)[0])

    def surface(self) -> tuple[int, int]:
        """Create a surface; returns the client id and the host id."""
        mine = self.client.create(self.compositor, 0)
        self.client.sync()
        return mine, self.made(self.host_id("wl_compositor"), 0)

    def toplevel(self) -> tuple[int, int]:
        """Create a toplevel; returns the client id and the host id."""
        surface, _ = self.surface()
        xdg = self.client.create(self.wm, 2, "no", surface)
        mine = self.client.create(xdg, 1)
        self.client.sync()
        return mine, self.made(self.made(self.host_id("xdg_wm_base"), 2, "no"), 1)

    def buffer(self, width: int, height: int) -> int:
        """Create a wl_shm buffer; returns the client id."""
        descriptor = os.memfd_create("pool")
        os.ftruncate(descriptor, width * height * 4)
        pool = self.client.create(self.shm, 0, "nhi", width * height * 4, fds=[descriptor])
        os.close(descriptor)
        return self.client.create(pool, 0, "niiiiu", 0, width, height, width * 4, 0)

    def viewport_requests(self) -> list[tuple[int, list[Any]]]:
        """The requests that the host received for the proxy's viewport: opcode and arguments."""
        self.client.sync()
        (viewporter,) = self.host.bound["wp_viewporter"][:1]
        viewport = self.made(viewporter, 1, "no")
        return [
            (m.opcode, m.arguments("iiii" if m.opcode == 1 else "ii" if m.opcode == 2 else ""))
            for m in self.host.requests
            if m.object_id == viewport
        ]


def heard_by(messages: list[Message], object_id: int, opcode: int, signature: str) -> list[list[Any]]:
    """The arguments of each event with this opcode and object among messages."""
    return [m.arguments(signature) for m in messages if (m.object_id, m.opcode) == (object_id, opcode)]

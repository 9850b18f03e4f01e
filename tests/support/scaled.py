"""A client of a scaling proxy. Tests send raw messages."""

from __future__ import annotations

import os
from typing import Any

from support.wayland_peers import Client, HostConnection


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

    def made(self, factory: int, name: str) -> int:
        """The host id of the object that a request created."""
        return self.host.made(factory, name)

    def surface(self) -> tuple[int, int]:
        """Create a surface; returns the client id and the host id."""
        mine = self.client.create(self.compositor, "create_surface")
        self.client.sync()
        return mine, self.made(self.host_id("wl_compositor"), "create_surface")

    def toplevel(self) -> tuple[int, int]:
        """Create a toplevel; returns the client id and the host id."""
        surface, _ = self.surface()
        xdg = self.client.create(self.wm, "get_xdg_surface", surface)
        mine = self.client.create(xdg, "get_toplevel")
        self.client.sync()
        return mine, self.made(self.made(self.host_id("xdg_wm_base"), "get_xdg_surface"), "get_toplevel")

    def buffer(self, width: int, height: int) -> int:
        """Create a wl_shm buffer; returns the client id."""
        descriptor = os.memfd_create("pool")
        os.ftruncate(descriptor, width * height * 4)
        pool = self.client.create(self.shm, "create_pool", width * height * 4, fds=[descriptor])
        os.close(descriptor)
        return self.client.create(pool, "create_buffer", 0, width, height, width * 4, 0)

    def viewport_requests(self) -> list[tuple[str, list[Any]]]:
        """The requests that the host received for the proxy's viewport: name and arguments."""
        self.client.sync()
        (viewporter,) = self.host.bound["wp_viewporter"][:1]
        viewport = self.made(viewporter, "get_viewport")
        return [(m.name, m.arguments) for m in self.host.requests if m.object_id == viewport]

"""A client of a proxy that scales, by the byte."""

from __future__ import annotations

import os
from typing import Any

from support.wayland_peers import Client, HostConnection, Message


class Scaled:
    """A client of a scaling proxy and its host. Objects have other numbers on the host's side."""

    def __init__(self, client: Client, host: HostConnection) -> None:
        self.client, self.host = client, host
        self.compositor = client.bind("wl_compositor")
        self.shm = client.bind("wl_shm")
        self.seat = client.bind("wl_seat")
        self.wm = client.bind("xdg_wm_base")
        client.sync()

    def host_id(self, interface: str) -> int:
        """The host's number of what the client bound."""
        return self.host.bound[interface][-1]

    def made(self, factory: int, opcode: int, signature: str = "n") -> int:
        """The host's number of what a request made."""
        return int(self.host.wait_request(factory, opcode).arguments(signature)[0])

    def surface(self) -> tuple[int, int]:
        """A surface: the client's and the host's number."""
        mine = self.client.create(self.compositor, 0)
        self.client.sync()
        return mine, self.made(self.host_id("wl_compositor"), 0)

    def toplevel(self) -> tuple[int, int]:
        """A toplevel."""
        surface, _ = self.surface()
        xdg = self.client.create(self.wm, 2, "no", surface)
        mine = self.client.create(xdg, 1)
        self.client.sync()
        return mine, self.made(self.made(self.host_id("xdg_wm_base"), 2, "no"), 1)

    def buffer(self, width: int, height: int) -> int:
        """A buffer of shared memory."""
        descriptor = os.memfd_create("pool")
        os.ftruncate(descriptor, width * height * 4)
        pool = self.client.create(self.shm, 0, "nhi", width * height * 4, fds=[descriptor])
        os.close(descriptor)
        return self.client.create(pool, 0, "niiiiu", 0, width, height, width * 4, 0)

    def viewport_requests(self) -> list[tuple[int, list[Any]]]:
        """What the host heard of the proxy's viewport: opcode and arguments."""
        self.client.sync()
        (viewporter,) = self.host.bound["wp_viewporter"][:1]
        viewport = self.made(viewporter, 1, "no")
        return [
            (m.opcode, m.arguments("iiii" if m.opcode == 1 else "ii" if m.opcode == 2 else ""))
            for m in self.host.requests
            if m.object_id == viewport
        ]


def heard_by(messages: list[Message], object_id: int, opcode: int, signature: str) -> list[list[Any]]:
    """The arguments of one event among what was said."""
    return [m.arguments(signature) for m in messages if (m.object_id, m.opcode) == (object_id, opcode)]

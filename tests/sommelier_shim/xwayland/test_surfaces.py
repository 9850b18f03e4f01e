"""Xwayland's surfaces on the host, message by message: no buffer is lost and none comes too early."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from sommelier_shim.core.hooks import Hooks
from sommelier_shim.core.relay import Flow
from sommelier_shim.core.tables import INTERFACES
from sommelier_shim.core.translation import TranslatingRelay, TranslatingRoutes
from sommelier_shim.core.wire import Buffer
from sommelier_shim.features import own_globals, registry
from sommelier_shim.features.policy.interfaces import GlobalPolicy
from sommelier_shim.xwayland.surfaces import WANTED, Surfaces
from sommelier_shim.xwayland.window_manager.actions import Accept, Action, ShowToplevel, Toplevel
from sommelier_shim.xwayland.window_manager.window import Rectangle
from sommelier_shim.xwayland.x11_units import X11Units
from support.protocol import message

GLOBALS = ("wl_compositor", "wl_shm", "xdg_wm_base")
SURFACE, POOL, BUFFER = 20, 21, 22
"""Xwayland's ids."""


class _OneWindow:
    """A window manager whose only window accepts every size at once."""

    def __init__(self) -> None:
        self.actions: list[Action] = []

    def surface_created(self, surface: int, /) -> None:
        """The window is known already."""
        self.actions.append(ShowToplevel(surface, Toplevel("title")))

    def surface_destroyed(self, surface: int, /) -> None: ...

    def toplevel_configured(
        self, surface: int, width: int, height: int, states: frozenset[str], serial: int, /
    ) -> None:
        self.actions.append(Accept(surface))

    def popup_configured(self, surface: int, x: int, y: int, /) -> None: ...

    def outputs_entered(self, surface: int, areas: Sequence[Rectangle], /) -> None: ...

    def touched(self, surface: int, /) -> None: ...

    def contents_shown(self, surface: int, /) -> None: ...

    def close(self, surface: int, /) -> None: ...


class Conversation:
    """Xwayland's connection.

    :ivar heard: the requests that the host has got: host id and name.
    """

    def __init__(self) -> None:
        hooks = Hooks()
        registry.install(hooks, GlobalPolicy())
        units = X11Units()
        Surfaces(_OneWindow(), lambda *names: "", units, lambda: None).install(hooks)
        own_globals.install(hooks, WANTED | units.install(hooks, has_viewporter=False, places={}))
        self.heard: list[tuple[int, str]] = []
        self._interfaces = {1: "wl_display"}
        relay = TranslatingRoutes(hooks).relay(lambda data, descriptors: None, self._hears)
        assert isinstance(relay, TranslatingRelay)
        self.relay = relay
        self.xwayland(message(1, "wl_display.get_registry", 2))
        for registry_id in (2, relay.host_ids[2]):
            for name, interface in enumerate(GLOBALS, 1):
                self.host(message(registry_id, "wl_registry.global", name, interface, 1))
        for name, interface in enumerate(GLOBALS[:2], 1):
            self.xwayland(message(2, "wl_registry.bind", name, interface, 1, 2 + name))

    def xwayland(self, *messages: bytes) -> None:
        """Xwayland sends requests."""
        _feed(self.relay.requests, b"".join(messages))

    def host(self, *messages: bytes) -> None:
        """The host sends events."""
        _feed(self.relay.events, b"".join(messages))

    def id_of(self, interface: str) -> int:
        """The host id of the only object of an interface."""
        (found,) = (number for number, one in self._interfaces.items() if one == interface)
        return found

    def _hears(self, data: Buffer, descriptors: list[int] | None) -> None:
        raw = bytes(data)
        while raw:
            number, word = struct.unpack_from("=II", raw)
            body, raw = raw[8 : word >> 16], raw[word >> 16 :]
            request = INTERFACES[self._interfaces[number]].requests[word & 0xFFFF]
            self.heard.append((number, request.name))
            for at, interface in enumerate(request.interfaces):
                # The requests of this conversation have their new object's id as their first argument.
                if request.signature[at] == "n" and interface and at == 0:
                    self._interfaces[struct.unpack_from("=I", body)[0]] = interface
            if request.name == "bind":
                interface = body[8 : 8 + struct.unpack_from("=I", body, 4)[0] - 1].decode()
                self._interfaces[struct.unpack_from("=I", body, len(body) - 4)[0]] = interface


def _feed(flow: Flow, data: bytes) -> None:
    buffer = bytearray(data + bytes(8))
    flow.feed(buffer, memoryview(buffer), len(data))


@pytest.mark.parametrize("moment", range(4))
def test_the_hosts_first_configure_event_comes_at_any_moment(moment: int) -> None:
    """Xwayland's attach request and its commit may come in two reads, with the event between them."""
    talk = Conversation()
    talk.relay.requests.received.append(-1)
    talk.xwayland(
        message(4, "wl_shm.create_pool", POOL, 4 * 60 * 40),
        message(POOL, "wl_shm_pool.create_buffer", BUFFER, 0, 60, 40, 240, 1),
        message(3, "wl_compositor.create_surface", SURFACE),
    )
    requests = [
        message(SURFACE, "wl_surface.attach", BUFFER, 0, 0),
        message(SURFACE, "wl_surface.damage", 0, 0, 60, 40),
        message(SURFACE, "wl_surface.commit"),
    ]
    talk.heard.clear()
    for at, request in enumerate([*requests, b""]):
        if at == moment:
            talk.host(
                message(talk.id_of("xdg_toplevel"), "xdg_toplevel.configure", 0, 0, b""),
                message(talk.id_of("xdg_surface"), "xdg_surface.configure", 7),
            )
        talk.xwayland(request)
    names = [name for _, name in talk.heard]
    assert names.count("attach") == 1, "the host gets the buffer once"
    shown = names.index("commit", names.index("attach"))
    assert names.index("ack_configure") < shown, "the buffer comes after the acknowledgement"

"""xwayland_shell_v1, which names a window's surface by a number that is never used twice.

The other way, the message WL_SURFACE_ID, contains the id of a surface, which another surface may have by the time
the message arrives (chromeos-sommelier.md §2.9). Xwayland since 23.1 uses this interface where it is offered. Hosts
offer it to their own Xwayland alone, so the proxy serves it itself: the host sees none of these objects.
"""

from __future__ import annotations

from collections.abc import Callable

from sommelier_shim.core.hooks import Hooks, Phase
from sommelier_shim.core.layouts import event, request
from sommelier_shim.core.relay import Flow
from sommelier_shim.core.translation import translating
from sommelier_shim.core.wire import INVALID_OBJECT, Buffer, WireError

SHELL, SURFACE = "xwayland_shell_v1", "xwayland_surface_v1"
_NAME = 0xFFFF0000
"""The global's name: hosts count theirs from 1."""

_GLOBAL = event("wl_registry", "global")
_read_get_registry = request("wl_display", "get_registry").reader("registry")
_read_bind = request("wl_registry", "bind").decoder("name", "interface", "version", "id")
_read_get_surface = request(SHELL, "get_xwayland_surface").reader("id", "surface")
_read_serial = request(SURFACE, "set_serial").reader("serial_lo", "serial_hi")


class XwaylandShell:
    """The interface on one Xwayland's connection.

    :param is_surface: whether Xwayland has a surface with an id.
    """

    def __init__(self, is_surface: Callable[[int], bool]) -> None:
        self._is_surface = is_surface
        self._surfaces: dict[int, int] = {}
        self._serials: dict[int, int] = {}

    def install(self, hooks: Hooks) -> None:
        """Install the hooks."""
        hooks.on_request("wl_display", "get_registry", self._announce, Phase.OBSERVE)
        hooks.on_request("wl_registry", "bind", self._bind, Phase.CHECK)
        hooks.on_request(SHELL, "get_xwayland_surface", self._get_surface, Phase.REPLACE)
        hooks.on_request(SHELL, "destroy", self._destroy, Phase.REPLACE)
        hooks.on_request(SURFACE, "set_serial", self._set_serial, Phase.REPLACE)
        hooks.on_request(SURFACE, "destroy", self._destroy, Phase.REPLACE)

    def committed(self, surface: int) -> int:
        """The serial that counts from this commit of a surface on, 0 for none."""
        return self._serials.pop(surface, 0)

    def destroyed(self, surface: int) -> None:
        """Xwayland has destroyed a surface; its id may be used again."""
        self._serials.pop(surface, None)

    def _announce(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (registry,) = _read_get_registry(flow.buffer, at)
        flow.relay.to_client(_GLOBAL.encode(registry, _NAME, SHELL, 1), None)

    def _bind(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        name, interface, version, new = _read_bind(flow.buffer, at, stop)
        if name != _NAME:
            return None
        if interface != SHELL.encode() or version != 1:
            raise WireError(f"invalid bind of {SHELL}", INVALID_OBJECT, object_id)
        translating(flow.relay).add_virtual(new, SHELL)
        return b""

    def _get_surface(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        new, surface = _read_get_surface(flow.buffer, at)
        if not self._is_surface(surface):
            raise WireError(f"invalid object {surface} in get_xwayland_surface", INVALID_OBJECT, object_id)
        translating(flow.relay).add_virtual(new, SURFACE)
        self._surfaces[new] = surface
        return b""

    def _set_serial(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        low, high = _read_serial(flow.buffer, at)
        self._serials[self._surfaces[object_id]] = low | high << 32
        return b""

    def _destroy(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        self._surfaces.pop(object_id, None)
        translating(flow.relay).remove_virtual(object_id)
        return b""

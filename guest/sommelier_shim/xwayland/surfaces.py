"""Xwayland's surfaces on the host: the roles that the window manager gives them.

Xwayland makes a surface for each mapped window and commits it at once. The window manager learns on another
connection which window the surface belongs to. The host gets no commit of a surface before it has its role and the
host's first configure event. Objects for roles are the proxy's own, on Xwayland's connection (chromeos-sommelier.md
§2.9, §2.10).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Protocol

from sommelier_shim.core.hooks import Hooks, Phase
from sommelier_shim.core.layouts import event, request
from sommelier_shim.core.relay import Flow, Relay
from sommelier_shim.core.translation import TranslatingRelay, translating
from sommelier_shim.core.wire import Buffer
from sommelier_shim.features.own_globals import OWN_GLOBALS
from sommelier_shim.features.policy.identity import shortened
from sommelier_shim.features.scaling.surfaces import SURFACES, viewport_requests
from sommelier_shim.xwayland.activation import ACTIVATION, Activation
from sommelier_shim.xwayland.application_ids import XNaming
from sommelier_shim.xwayland.shell import XwaylandShell
from sommelier_shim.xwayland.window_manager.actions import (
    Accept,
    Action,
    ChangeToplevel,
    Hide,
    MovePopup,
    RequestState,
    ShowPopup,
    ShowToplevel,
    TellStartup,
    Toplevel,
)
from sommelier_shim.xwayland.window_manager.window import Rectangle
from sommelier_shim.xwayland.x11_units import X11Surface, X11Units

WANTED = {"xdg_wm_base": 3, "zxdg_decoration_manager_v1": 1, ACTIVATION: 1, "xdg_wm_dialog_v1": 1}
"""The host's globals that this module uses, and their highest versions."""

_ATTACH = request("wl_surface", "attach")
_COMMIT = request("wl_surface", "commit")
_DAMAGE = request("wl_surface", "damage")
_read_attach = _ATTACH.reader("buffer", "x", "y")
_read_new_surface = request("wl_compositor", "create_surface").reader("id")
_read_shm_buffer = request("wl_shm_pool", "create_buffer").reader("id", "offset", "width", "height")
_read_dmabuf = request("zwp_linux_buffer_params_v1", "create_immed").reader("buffer_id", "width", "height")
_read_cursor = request("wl_pointer", "set_cursor").reader("serial", "surface")
_read_button = event("wl_pointer", "button").reader("serial")
_read_key = event("wl_keyboard", "key").reader("serial")
_read_down = event("wl_touch", "down").reader("serial", "time", "surface")
_read_pointed = event("wl_pointer", "enter").reader("serial", "surface")
_read_typed = event("wl_keyboard", "enter").reader("serial", "surface")
_read_entered = event("wl_surface", "enter").reader("output")
_read_left = event("wl_surface", "leave").reader("output")
_read_place = event("xdg_popup", "configure").reader("x", "y")
_read_ping = event("xdg_wm_base", "ping").reader("serial")
_read_serial = event("xdg_surface", "configure").reader("serial")
_read_toplevel = event("xdg_toplevel", "configure").decoder("width", "height", "states")

_PONG = request("xdg_wm_base", "pong")
_GET_XDG_SURFACE = request("xdg_wm_base", "get_xdg_surface")
_CREATE_POSITIONER = request("xdg_wm_base", "create_positioner")
_ACK = request("xdg_surface", "ack_configure")
_GET_TOPLEVEL = request("xdg_surface", "get_toplevel")
_GET_POPUP = request("xdg_surface", "get_popup")
_SET_PARENT = request("xdg_toplevel", "set_parent")
_SET_TITLE = request("xdg_toplevel", "set_title")
_SET_APP_ID = request("xdg_toplevel", "set_app_id")
_SET_MIN = request("xdg_toplevel", "set_min_size")
_SET_MAX = request("xdg_toplevel", "set_max_size")
_MOVE = request("xdg_toplevel", "move")
_RESIZE = request("xdg_toplevel", "resize")
_SET_FULLSCREEN = request("xdg_toplevel", "set_fullscreen")
_GET_DECORATION = request("zxdg_decoration_manager_v1", "get_toplevel_decoration")
_SET_MODE = request("zxdg_toplevel_decoration_v1", "set_mode")
_GET_DIALOG = request("xdg_wm_dialog_v1", "get_xdg_dialog")
_REPOSITION = request("xdg_popup", "reposition")

_STATES = {1: "maximized", 2: "fullscreen", 3: "resizing", 4: "activated", **dict.fromkeys(range(5, 9), "tiled")}
"""Numbers of xdg_toplevel.state; a window is tiled if one of its four edges is."""
_EVERYTHING = 0x7FFFFFFF
_TOP_LEFT, _BOTTOM_RIGHT = 5, 8
"""An anchor and a gravity of xdg_positioner: from the parent's corner, to the right and down."""
_SLIDE = 1 | 2
"""xdg_positioner.constraint_adjustment: the host may move the popup along both axes."""
_CLIENT_SIDE, _SERVER_SIDE = 1, 2
_APP_ID_LIMIT = 1024
"""Bytes of an application id; a class has 255 characters."""


class Windows(Protocol):
    """What the surfaces tell the window manager."""

    actions: list[Action]

    def surface_created(self, surface: int, /) -> None:
        """Xwayland has created a surface."""

    def surface_serial(self, surface: int, serial: int, /) -> None:
        """Xwayland has committed a surface with xwayland_surface_v1's serial."""

    def surface_destroyed(self, surface: int, /) -> None:
        """Xwayland has destroyed a surface."""

    def toplevel_configured(
        self, surface: int, width: int, height: int, states: frozenset[str], serial: int, /
    ) -> None:
        """The host gives a toplevel a size and states."""

    def popup_configured(self, surface: int, x: int, y: int, /) -> None:
        """The host puts a popup at a place relative to its parent."""

    def outputs_entered(self, surface: int, areas: Sequence[Rectangle], /) -> None:
        """A surface is on these outputs, in X's units, the last entered one last."""

    def pointed(self, surface: int, /) -> None:
        """The pointer is on a surface now; 0 for none."""

    def touched(self, surface: int, /) -> None:
        """The user does something with a window."""

    def contents_shown(self, surface: int, /) -> None:
        """The host has got the contents of an :class:`Accept` with a size."""

    def close(self, surface: int, /) -> None:
        """The user closes a window."""


class _Surface:
    """One of Xwayland's surfaces.

    :ivar held: the buffer that the host has not got yet, and its place; a client id, 0 for none.
    :ivar contents: the size of the last buffer.
    :ivar limits: the least and the greatest size that the host knows.
    :ivar is_cursor: whether it is a cursor's; the host gets all of it.
    :ivar objects: host ids of its role, and their interfaces, the inner one last.
    :ivar is_configured: whether the host has sent the first configure event; :ivar is_new: whether the host
        has got no acknowledgement.
    :ivar serial: of the configure event that awaits its acknowledgement, 0 for none.
    :ivar size: the size that the next contents must have before that, ``None`` for any.
    :ivar place: where the host has put the popup, in its units; ``asked`` is where it should.
    :ivar outputs: the proxy's own outputs that it is on, the last entered one last.
    :ivar is_accepted: whether the window has taken the last configure event's size.
    :ivar due: the configure event whose contents the program has drawn and Xwayland has not committed.
    :ivar is_spent: whether it has lost its role. It gets no other: the host has its contents, and ends the
        connection if a surface with contents gets a role. Xwayland makes new surfaces for windows that come back.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.held: tuple[int, int, int] | None = None
        self.contents = (0, 0)
        self.limits = ((0, 0), (0, 0))
        self.is_cursor = False
        self.objects: list[tuple[int, str]] = []
        self.is_configured = False
        self.is_new = True
        self.serial = 0
        self.size: tuple[int, int] | None = None
        self.place = self.asked = (0, 0)
        self.outputs: list[int] = []
        self.is_accepted = False
        self.is_committed = False
        self.is_spent = False
        self.due: Accept | None = None

    def object(self, interface: str) -> int:
        """The host id of one of its role's objects, 0 for none."""
        return next((number for number, one in self.objects if one == interface), 0)


class Surfaces:
    """All surfaces of one Xwayland.

    :param windows: the window manager.
    :param name: makes the application id of a window.
    :param units: Xwayland's.
    :param send: sends the window manager's requests to the X server.
    """

    def __init__(self, windows: Windows, name: XNaming, units: X11Units, send: Callable[[], None]) -> None:
        self._windows = windows
        self._units = units
        self._send = send
        self._name = name
        self._relay: TranslatingRelay | None = None
        self._surfaces: dict[int, _Surface] = {}
        self._by_object: dict[int, _Surface] = {}
        self._buffers: dict[int, tuple[int, int]] = {}
        self._activation = Activation(self._has_toplevel)
        self._shell = XwaylandShell(self._surfaces.__contains__)
        self._active = 0
        self._seat = 0
        self._input_serial = 0
        self._pointed = self._typed = 0
        self._selection_serial = 0
        self._pending: tuple[int, int, frozenset[str]] = (0, 0, frozenset())

    def install(self, hooks: Hooks) -> None:
        """Install the hooks on Xwayland's connection."""
        hooks.at_start.append(self._start)
        self._activation.install(hooks)
        self._shell.install(hooks)
        hooks.on_bind("wl_seat", self._seat_bound)
        for interface, name, hook in (
            ("wl_compositor", "create_surface", self._created),
            ("wl_surface", "attach", self._attached),
            ("wl_surface", "commit", self._committed),
            ("wl_surface", "destroy", self._destroyed),
            ("wl_buffer", "destroy", self._buffer_destroyed),
            ("wl_shm_pool", "create_buffer", self._shm_buffer),
            ("zwp_linux_buffer_params_v1", "create_immed", self._dmabuf),
            ("wl_pointer", "set_cursor", self._cursor),
        ):
            hooks.on_request(interface, name, hook, Phase.REPLACE)
        for interface, name, hook in (
            ("wl_pointer", "button", self._button),
            ("wl_keyboard", "key", self._key),
            ("wl_touch", "down", self._down),
        ):
            hooks.on_event(interface, name, hook, Phase.OBSERVE)
        hooks.on_event("wl_keyboard", "enter", self._keyboard_entered, Phase.OBSERVE)
        hooks.on_event("wl_surface", "enter", self._output_entered, Phase.OBSERVE)
        hooks.on_event("wl_surface", "leave", self._output_left, Phase.OBSERVE)
        hooks.on_event("wl_pointer", "enter", self._pointer_entered, Phase.OBSERVE)
        hooks.on_event("wl_pointer", "leave", self._pointer_left, Phase.OBSERVE)
        for interface, name, hook in (
            ("xdg_wm_base", "ping", self._ping),
            ("xdg_toplevel", "configure", self._toplevel_configure),
            ("xdg_toplevel", "close", self._close),
            ("xdg_surface", "configure", self._configure),
            ("xdg_popup", "configure", self._popup_configure),
            ("xdg_popup", "popup_done", self._popup_done),
        ):
            hooks.on_own_event(interface, name, hook)

    @property
    def selection_serial(self) -> int:
        """The serial of the last event with which the user has chosen Xwayland: hosts demand it for selections."""
        return self._selection_serial

    def apply(self) -> None:
        """Do what the window manager wants, while no message of Xwayland or the host is being handled."""
        if self._relay is not None and (data := self._do()):
            self._relay.to_host(data, None)

    # -- what Xwayland does --------------------------------------------------------------------------------------

    def _start(self, relay: Relay) -> None:
        self._relay = translating(relay)

    def _seat_bound(self, flow: Flow, name: int, version: int, new: int) -> None:
        self._seat = self._seat or new

    def _created(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (new,) = _read_new_surface(flow.buffer, at)
        self._surfaces[new] = _Surface(new)

        def later() -> bytes:
            self._windows.surface_created(new)
            return self._do()

        flow.deferred_suffix = later

    def _attached(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        if (surface := self._surfaces.get(object_id)) is None:
            return None
        buffer, x, y = _read_attach(flow.buffer, at)
        surface.contents = self._buffers.get(buffer, (0, 0))
        if surface.is_configured or surface.is_cursor:
            return None
        surface.held = (buffer, x, y)
        return b""

    def _committed(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        surface = self._surfaces.get(object_id)
        if surface is None or surface.is_cursor:
            return None
        if serial := self._shell.committed(object_id):
            self._windows.surface_serial(object_id, serial)
            flow.prefix += self._do()
        surface.is_committed = True
        if not surface.is_configured:
            return b""
        due = surface.due
        if due is not None and due.size == surface.contents:
            flow.prefix += self._acknowledge(surface, due.serial)
            flow.deferred_suffix = lambda: self._shown(object_id)
        elif due is not None and surface.is_accepted:
            surface.due = None  # Xwayland has sent these contents before the size; the next ones count.
        else:
            flow.prefix += self._acknowledgement(surface, is_first=surface.is_new)
        # The host's first configure event may have come between Xwayland's attach request and this commit.
        flow.prefix += self._attachment(surface)
        return None

    def _shown(self, number: int) -> bytes:
        self._windows.contents_shown(number)
        return self._do()

    def _destroyed(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        if object_id in self._surfaces:
            self._windows.surface_destroyed(object_id)
            self._shell.destroyed(object_id)
            flow.prefix += self._do()
            del self._surfaces[object_id]

    def _shm_buffer(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        new, _, width, height = _read_shm_buffer(flow.buffer, at)
        self._buffers[new] = (width, height)

    def _dmabuf(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        new, width, height = _read_dmabuf(flow.buffer, at)
        self._buffers[new] = (width, height)

    def _buffer_destroyed(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        self._buffers.pop(object_id, None)
        for surface in self._surfaces.values():
            if surface.held is not None and surface.held[0] == object_id:
                surface.held = None

    def _cursor(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        _, number = _read_cursor(flow.buffer, at)
        surface = self._surfaces.get(number)
        if surface is not None and not surface.is_cursor and not surface.objects:
            surface.is_cursor = True
            flow.suffix += self._release(surface)

    def _button(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (serial,) = _read_button(flow.buffer, at)
        self._input(serial, self._pointed)

    def _key(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (serial,) = _read_key(flow.buffer, at)
        self._input(serial, self._typed)

    def _down(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        serial, _, surface = _read_down(flow.buffer, at)
        self._input(serial, flow.relay.client_id(surface))

    def _input(self, serial: int, surface: int) -> None:
        self._input_serial = self._selection_serial = serial
        self._touch(surface)

    def _pointer_entered(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        _, surface = _read_pointed(flow.buffer, at)
        self._pointed = flow.relay.client_id(surface)
        self._point()

    def _pointer_left(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        self._pointed = 0
        self._point()

    def _point(self) -> None:
        self._windows.pointed(self._pointed)
        self._send()

    def _keyboard_entered(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        self._selection_serial, surface = _read_typed(flow.buffer, at)
        self._typed = flow.relay.client_id(surface)

    def _touch(self, surface: int) -> None:
        self._windows.touched(surface)
        self._send()

    # -- what the host says --------------------------------------------------------------------------------------

    def _ping(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (serial,) = _read_ping(flow.buffer, at)
        flow.relay.to_host(_PONG.encode(object_id, serial), None)

    def _toplevel_configure(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        width, height, raw = _read_toplevel(flow.buffer, at, stop)
        numbers = struct.unpack(f"={len(raw) // 4}I", raw[: len(raw) // 4 * 4])
        states = frozenset(_STATES[number] for number in numbers if number in _STATES)
        self._pending = (width, height, states)

    def _configure(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (serial,) = _read_serial(flow.buffer, at)
        if (surface := self._by_object.get(object_id)) is None:
            return
        surface.serial = serial
        if surface.object("xdg_toplevel"):
            (width, height, states), self._pending = self._pending, (0, 0, frozenset())
            # A maximized or fullscreen window must have exactly this size, or the host ends the connection.
            is_strict = bool(states & {"maximized", "fullscreen"}) and width > 0 and height > 0
            wanted = self._wanted_size(surface, (width, height), is_exact=is_strict or "tiled" in states)
            surface.size = wanted if is_strict else None
            surface.is_accepted = False
            if "activated" in states:
                self._active = surface.number
            elif self._active == surface.number:
                self._active = 0
            self._windows.toplevel_configured(surface.number, *wanted, states, serial)
        else:
            surface.size, surface.is_accepted = None, True
            if surface.place != surface.asked:
                scale = self._units.scale
                x, y = surface.place
                self._windows.popup_configured(surface.number, scale.x.to_guest(x), scale.y.to_guest(y))
        requests = self._do()
        if surface.is_configured and surface.object("xdg_popup"):
            # The program does not draw a popup again because it has moved.
            requests += self._accept(surface)
        if not surface.is_configured:
            surface.is_configured = True
            if surface.is_committed:
                requests += self._acknowledgement(surface, is_first=True) + self._release(surface)
        flow.relay.to_host(requests, None)

    def _wanted_size(self, surface: _Surface, size: tuple[int, int], *, is_exact: bool) -> tuple[int, int]:
        """The size of a window in X's units for the host's; 0 stays.

        :param is_exact: whether the host has decided it. Otherwise it may be the size that the window has chosen,
            rounded, and the window keeps that.
        """
        scale = self._units.scale
        width, height = (axis.size_to_guest(value) for axis, value in zip(scale, size, strict=True))
        if not is_exact:
            now = surface.contents
            width = now[0] if now[0] and scale.x.size_to_host(now[0]) == size[0] else width
            height = now[1] if now[1] and scale.y.size_to_host(now[1]) == size[1] else height
        scaled = self._scaled(surface)
        if scaled is not None and min(size) > 0:
            scaled.decided = ((width, height), size)
        return width, height

    def _scaled(self, surface: _Surface) -> X11Surface | None:
        scaled = SURFACES.of(self._relay).get(surface.number) if self._relay is not None else None
        return scaled if isinstance(scaled, X11Surface) else None

    def _viewport(self, surface: _Surface) -> bytes:
        """The requests that give a surface its size on the host with the next commit."""
        scaled = self._scaled(surface)
        if scaled is None or self._relay is None:
            return b""
        return viewport_requests(self._relay.requests, surface.number, scaled)

    def _output_entered(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (output,) = _read_entered(flow.buffer, at)
        surface = self._surfaces.get(flow.relay.client_id(object_id))
        if surface is not None and self._units.area(flow.relay, output) is not None:
            surface.outputs = [one for one in surface.outputs if one != output] + [output]
            self._tell_outputs(flow, surface)

    def _output_left(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (output,) = _read_left(flow.buffer, at)
        surface = self._surfaces.get(flow.relay.client_id(object_id))
        if surface is not None and output in surface.outputs:
            surface.outputs.remove(output)
            self._tell_outputs(flow, surface)

    def _tell_outputs(self, flow: Flow, surface: _Surface) -> None:
        areas = [self._units.area(flow.relay, output) for output in surface.outputs]
        if found := [area for area in areas if area is not None]:
            self._windows.outputs_entered(surface.number, found)
            self._send()

    def _close(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        if (surface := self._by_object.get(object_id)) is not None:
            self._windows.close(surface.number)
            flow.relay.to_host(self._do(), None)

    def _popup_configure(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        if (surface := self._by_object.get(object_id)) is not None:
            x, y = _read_place(flow.buffer, at)
            surface.place = x, y

    def _popup_done(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        """The host has dismissed a popup. Its window stays mapped until the program closes it, and is not seen: the
        host ends the connection when a dismissed popup gets new contents."""
        surface = self._by_object.get(object_id)
        if surface is not None and self._relay is not None:
            flow.relay.to_host(self._hide(self._relay, surface), None)

    # -- roles ---------------------------------------------------------------------------------------------------

    def _do(self) -> bytes:
        """The requests for the window manager's actions."""
        requests = bytearray()
        self._send()
        actions, self._windows.actions = self._windows.actions, []
        for action in actions:
            surface = self._surfaces.get(action.surface)
            if surface is None or self._relay is None:
                continue
            match action:
                case ShowToplevel():
                    requests += self._show_toplevel(self._relay, surface, action)
                case ShowPopup():
                    requests += self._show_popup(self._relay, surface, action)
                case ChangeToplevel(toplevel=toplevel):
                    before = surface.limits
                    requests += self._describe(self._relay, surface, toplevel)
                    if surface.is_configured and surface.limits != before:
                        # They count from the next commit; the next request may be one for another state.
                        requests += _COMMIT.encode(self._relay.host_id(surface.number))
                case MovePopup():
                    requests += self._move_popup(self._relay, surface, action)
                case Hide():
                    requests += self._hide(self._relay, surface)
                case Accept(serial=0, size=size) if size in ((0, 0), surface.contents) or surface.is_new:
                    requests += self._accept(surface)
                case Accept(serial=0):
                    # With the old contents the host would take the answer as a wish to keep the old size.
                    surface.is_accepted = True
                    surface.due = action._replace(serial=surface.serial)
                case Accept():
                    surface.due = action
                case RequestState():
                    requests += self._request(self._relay, surface, action)
                case TellStartup(startup_id=startup_id):
                    requests += self._activation.started(self._relay, surface.number, startup_id)
        return bytes(requests)

    def _own(self, relay: TranslatingRelay, surface: _Surface, interface: str) -> int:
        number = relay.add_own(interface)
        surface.objects.append((number, interface))
        self._by_object[number] = surface
        return number

    def _xdg_surface(self, relay: TranslatingRelay, surface: _Surface) -> tuple[int, bytes]:
        base = OWN_GLOBALS.of(relay).bound.get("xdg_wm_base", 0)
        if not base or surface.objects or surface.is_cursor or surface.is_spent:
            return 0, b""
        number = self._own(relay, surface, "xdg_surface")
        return number, _GET_XDG_SURFACE.encode(base, number, relay.host_id(surface.number))

    def _show_toplevel(self, relay: TranslatingRelay, surface: _Surface, action: ShowToplevel) -> bytes:
        shell, requests = self._xdg_surface(relay, surface)
        if not shell:
            return b""
        number = self._own(relay, surface, "xdg_toplevel")
        requests += _GET_TOPLEVEL.encode(shell, number)
        if manager := OWN_GLOBALS.of(relay).bound.get("zxdg_decoration_manager_v1", 0):
            decoration = self._own(relay, surface, "zxdg_toplevel_decoration_v1")
            requests += _GET_DECORATION.encode(manager, decoration, number)
        requests += self._describe(relay, surface, action.toplevel)
        if action.is_maximized:
            requests += request("xdg_toplevel", "set_maximized").encode(number)
        if action.is_fullscreen:
            requests += _SET_FULLSCREEN.encode(number, 0)
        requests += _COMMIT.encode(relay.host_id(surface.number))
        return requests + self._activation.started(relay, surface.number, action.startup_id)

    def _has_toplevel(self, number: int) -> bool:
        surface = self._surfaces.get(number)
        return surface is not None and bool(surface.object("xdg_toplevel"))

    def _describe(self, relay: TranslatingRelay, surface: _Surface, toplevel: Toplevel) -> bytes:
        number = surface.object("xdg_toplevel")
        if not number:
            return b""
        parent = self._surfaces.get(toplevel.parent)
        requests = _SET_PARENT.encode(number, parent.object("xdg_toplevel") if parent is not None else 0)
        requests += _SET_TITLE.encode(number, toplevel.title.encode())
        if app_id := self._name(toplevel.identity):
            requests += _SET_APP_ID.encode(number, shortened(app_id, _APP_ID_LIMIT))
        for limit, size in ((_SET_MIN, toplevel.minimum), (_SET_MAX, toplevel.maximum)):
            width, height = (axis.size_to_host(value) for axis, value in zip(self._units.scale, size, strict=True))
            requests += limit.encode(number, width, height)
        surface.limits = (toplevel.minimum, toplevel.maximum)
        if decoration := surface.object("zxdg_toplevel_decoration_v1"):
            requests += _SET_MODE.encode(decoration, _SERVER_SIDE if toplevel.is_decorated else _CLIENT_SIDE)
        return requests + self._set_modal(relay, surface, is_modal=toplevel.is_modal)

    def _set_modal(self, relay: TranslatingRelay, surface: _Surface, *, is_modal: bool) -> bytes:
        requests, dialog = b"", surface.object("xdg_dialog_v1")
        if not dialog:
            manager = OWN_GLOBALS.of(relay).bound.get("xdg_wm_dialog_v1", 0)
            if not manager or not is_modal:
                return b""
            dialog = self._own(relay, surface, "xdg_dialog_v1")
            requests = _GET_DIALOG.encode(manager, dialog, surface.object("xdg_toplevel"))
        return requests + request("xdg_dialog_v1", "set_modal" if is_modal else "unset_modal").encode(dialog)

    def _show_popup(self, relay: TranslatingRelay, surface: _Surface, action: ShowPopup) -> bytes:
        parent = self._surfaces.get(action.parent)
        if parent is None or not parent.object("xdg_surface"):
            return b""
        shell, requests = self._xdg_surface(relay, surface)
        if not shell:
            return b""
        # The host allows no gap in new ids, so they are taken in the order of the requests.
        place, positioner = self._positioner(relay, surface, action)
        number = self._own(relay, surface, "xdg_popup")
        requests += place + _GET_POPUP.encode(shell, number, parent.object("xdg_surface"), positioner)
        requests += request("xdg_positioner", "destroy").encode(positioner)
        return requests + _COMMIT.encode(relay.host_id(surface.number))

    def _move_popup(self, relay: TranslatingRelay, surface: _Surface, action: MovePopup) -> bytes:
        number = surface.object("xdg_popup")
        if not number or OWN_GLOBALS.of(relay).versions.get("xdg_wm_base", 0) < 3:
            return b""
        place, positioner = self._positioner(relay, surface, action)
        requests = place + _REPOSITION.encode(number, positioner, 0)
        return requests + request("xdg_positioner", "destroy").encode(positioner)

    def _positioner(
        self, relay: TranslatingRelay, surface: _Surface, action: ShowPopup | MovePopup
    ) -> tuple[bytes, int]:
        """A positioner for a place relative to the parent's corner."""
        scale = self._units.scale
        surface.asked = scale.x.to_host(action.x), scale.y.to_host(action.y)
        size = (scale.x.size_to_host(max(action.width, 1)), scale.y.size_to_host(max(action.height, 1)))
        number = relay.add_own("xdg_positioner")
        relay.disown(number, "xdg_positioner")
        words: Sequence[tuple[str, tuple[int, ...]]] = (
            ("set_size", size),
            ("set_anchor_rect", (0, 0, 1, 1)),
            ("set_anchor", (_TOP_LEFT,)),
            ("set_gravity", (_BOTTOM_RIGHT,)),
            ("set_offset", surface.asked),
            ("set_constraint_adjustment", (_SLIDE if action.is_movable else 0,)),
        )
        requests = _CREATE_POSITIONER.encode(OWN_GLOBALS.of(relay).bound["xdg_wm_base"], number)
        for name, numbers in words:
            requests += request("xdg_positioner", name).encode(number, *numbers)
        return requests, number

    def _hide(self, relay: TranslatingRelay, surface: _Surface) -> bytes:
        requests = b""
        # The decoration goes before its toplevel, and the xdg_surface last.
        for number, interface in reversed(surface.objects):
            requests += request(interface, "destroy").encode(number)
            relay.disown(number, interface)
            del self._by_object[number]
            surface.is_spent = True
        surface.objects.clear()
        surface.is_configured = surface.is_committed = False
        surface.is_new = True
        surface.serial, surface.due = 0, None
        return requests

    def _request(self, relay: TranslatingRelay, surface: _Surface, action: RequestState) -> bytes:
        number, seat = surface.object("xdg_toplevel"), relay.host_id(self._seat)
        if not number:
            return b""
        if action.what == "move":
            return _MOVE.encode(number, seat, self._input_serial) if seat else b""
        if action.what == "resize":
            return _RESIZE.encode(number, seat, self._input_serial, action.edge) if seat else b""
        if action.what == "set_fullscreen":
            return _SET_FULLSCREEN.encode(number, 0)
        if action.what == "activate":
            return self._activation.ask(relay, surface.number, self._active, seat, self._input_serial)
        if action.what == "demand_attention":
            return self._activation.ask(relay, surface.number, 0, 0, 0)
        if action.what in ("unset_fullscreen", "set_maximized", "unset_maximized", "set_minimized"):
            return request("xdg_toplevel", action.what).encode(number)
        return b""

    # -- contents ------------------------------------------------------------------------------------------------

    def _accept(self, surface: _Surface) -> bytes:
        surface.is_accepted = True
        if not surface.is_configured or surface.size not in (None, surface.contents) or self._relay is None:
            return b""
        acknowledged = self._acknowledgement(surface)
        if not acknowledged:
            return b""
        return acknowledged + self._viewport(surface) + _COMMIT.encode(self._relay.host_id(surface.number))

    def _acknowledgement(self, surface: _Surface, *, is_first: bool = False) -> bytes:
        """The acknowledgement of the last configure event, if the contents are those that the host wants."""
        is_right = surface.is_accepted and surface.size in (None, surface.contents)
        if not surface.serial or not (is_right or is_first):
            return b""
        return self._acknowledge(surface, surface.serial)

    def _acknowledge(self, surface: _Surface, serial: int) -> bytes:
        surface.due = None
        if not surface.serial:
            return b""
        surface.is_new = False
        if serial == surface.serial:
            surface.serial = 0
        return _ACK.encode(surface.object("xdg_surface"), serial)

    def _release(self, surface: _Surface) -> bytes:
        """Give the host the contents that it has not got."""
        if self._relay is None:
            return b""
        return self._attachment(surface) + _COMMIT.encode(self._relay.host_id(surface.number))

    def _attachment(self, surface: _Surface) -> bytes:
        """Attach the buffer that the host has not got, if there is one."""
        if self._relay is None or surface.held is None:
            return b""
        (buffer, x, y), surface.held = surface.held, None
        number = self._relay.host_id(surface.number)
        attach = _ATTACH.encode(number, self._relay.host_id(buffer), x, y)
        return attach + _DAMAGE.encode(number, 0, 0, _EVERYTHING, _EVERYTHING) + self._viewport(surface)

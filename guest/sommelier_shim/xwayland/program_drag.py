"""A drag that an X program has begun: the host's drag with a source of the proxy's.

While the host drags, it sends Xwayland no pointer events, but the program needs them. So the proxy makes pointer
events of the drag's own: on X windows the programs speak to each other, and elsewhere the program finds the
:class:`~sommelier_shim.xwayland.xdnd_cover.XdndCover`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from sommelier_shim.core.layouts import event, request
from sommelier_shim.core.relay import Relay
from sommelier_shim.core.translation import TranslatingRelay, translating
from sommelier_shim.features.own_globals import OWN_GLOBALS
from sommelier_shim.xwayland.clipboard import CLIPBOARD
from sommelier_shim.xwayland.window_manager.window import Rectangle
from sommelier_shim.xwayland.xdnd import ASK, COPY, MOVE
from sommelier_shim.xwayland.xdnd_cover import XdndCover

_ALL = COPY | MOVE | ASK
_MOTION, _BUTTON = event("wl_pointer", "motion"), event("wl_pointer", "button")
_LEAVE, _FRAME = event("wl_pointer", "leave"), event("wl_pointer", "frame")
_CREATE_SOURCE = request("wl_data_device_manager", "create_data_source")
_OFFER, _SET_SOURCE_ACTIONS = request("wl_data_source", "offer"), request("wl_data_source", "set_actions")
_DESTROY_SOURCE = request("wl_data_source", "destroy")
_START_DRAG = request("wl_data_device", "start_drag")
_ACCEPT, _SET_ACTIONS = request("wl_data_offer", "accept"), request("wl_data_offer", "set_actions")
_FINISH, _DESTROY = request("wl_data_offer", "finish"), request("wl_data_offer", "destroy")


class Places(Protocol):
    """Where the X windows are."""

    def window_of(self, surface: int, /) -> tuple[int, Rectangle] | None:
        """The window that a surface shows, and its place."""

    def pointed(self, surface: int, /) -> None:
        """The pointer is on a surface: put its window above the others; 0 for none."""


class Press(NamedTuple):
    """A button that the user holds on one of Xwayland's surfaces.

    :ivar pointer: the wl_pointer; :ivar surface: the surface with the pointer; both are client ids.
    :ivar serial: of the event; :ivar has_frames: whether the pointer's events come in frames.
    """

    pointer: int
    surface: int
    serial: int
    button: int
    has_frames: bool


class ProgramDrag:
    """One drag.

    :param cover: takes it where no X window is.
    :param factor: returns X's units per host unit.
    :ivar source: the host's wl_data_source, 0 before the drag has begun on the host.
    :ivar is_released: whether Xwayland has learnt that the button is up.
    """

    def __init__(self, press: Press, cover: XdndCover, places: Places, factor: Callable[[], float]) -> None:
        self.source = 0
        self.is_released = False
        self._press = press
        self._cover = cover
        self._places = places
        self._factor = factor
        self._offer = 0
        self._types: tuple[str, ...] = ()
        self._origin = Rectangle(0, 0, 0, 0)
        self._at = (0, 0)
        self._is_accepted = False
        self._action = 0
        cover.show()

    def begin(self, relay: TranslatingRelay, device: int, types: tuple[str, ...]) -> None:
        """Begin the host's drag: the program has told the types and the action."""
        manager = OWN_GLOBALS.of(relay).bound.get(CLIPBOARD.manager, 0)
        origin = relay.host_id(self._press.surface)
        if self.source or not manager or not device or not origin or not types:
            return
        self._types = types
        self.source = relay.add_own("wl_data_source")
        requests = _CREATE_SOURCE.encode(manager, self.source)
        for one in types:
            requests += _OFFER.encode(self.source, one.encode())
        if self._has_actions(relay):
            requests += _SET_SOURCE_ACTIONS.encode(self.source, COPY | self._cover.action)
        relay.to_host(requests + _START_DRAG.encode(device, self.source, origin, 0, self._press.serial), None)

    def _has_actions(self, relay: Relay) -> bool:
        return OWN_GLOBALS.of(relay).versions.get(CLIPBOARD.manager, 0) >= 3

    # -- over X windows ------------------------------------------------------------------------------------------

    def entered(self, relay: Relay, surface: int, place: tuple[int, int], offer: int, serial: int) -> bytes:
        """The drag is over one of Xwayland's surfaces; returns events for Xwayland."""
        self.left(relay)
        self._offer = offer
        found = self._places.window_of(surface)
        if found is None:
            return b""
        _, self._origin = found
        self._places.pointed(surface)
        self._cover.hide()
        if offer:
            requests = _ACCEPT.encode(offer, serial, self._types[0].encode())
            if self._has_actions(relay):
                requests += _SET_ACTIONS.encode(offer, _ALL, COPY)
            relay.to_host(requests, None)
        return self.moved(*place)

    def moved(self, x: int, y: int) -> bytes:
        """The pointer has moved there; returns events for Xwayland.

        :param x: 24.8 fixed-point, in host units; likewise ``y``.
        """
        factor = self._factor()
        self._at = self._origin.x + int(x * factor) // 256, self._origin.y + int(y * factor) // 256
        return self.motion()

    def motion(self) -> bytes:
        """A motion event of where the pointer is, for Xwayland."""
        focus = self._places.window_of(self._press.surface)
        if focus is None or self.is_released:
            return b""
        x, y = self._at[0] - focus[1].x, self._at[1] - focus[1].y
        return _MOTION.encode(self._press.pointer, 0, float(x), float(y)) + self._frame()

    def nudge(self) -> bytes:
        """A motion event at another place, because a program hears of no motion that goes nowhere."""
        self._at = self._at[0], self._at[1] ^ 1
        return self.motion()

    def left(self, relay: Relay) -> None:
        """The drag has left the surface."""
        if self._offer:
            relay.to_host(_DESTROY.encode(self._offer), None)
            relay.events.objects.remove(self._offer)
            self._offer = 0
        if not self.is_released:
            self._cover.show()

    def dropped(self, relay: Relay) -> bytes:
        """The user has dropped on the surface: its program and the dragging one do the rest."""
        if self._offer and self._has_actions(relay):
            relay.to_host(_FINISH.encode(self._offer), None)
        return self.release()

    # -- the host's program --------------------------------------------------------------------------------------

    def accepted(self, *, is_accepted: bool) -> None:
        """The program below the pointer takes a type, or none."""
        self._is_accepted = is_accepted
        self._tell()

    def chosen(self, action: int) -> None:
        """The host has chosen an action; 0 for none."""
        self._action = action
        self._tell()

    def _tell(self) -> None:
        action = self._action if self._action in (COPY, MOVE, ASK) else COPY
        self._cover.allow(is_accepted=self._is_accepted and self._action != 0, action=action)

    # -- the end -------------------------------------------------------------------------------------------------

    def release(self) -> bytes:
        """The user has released the button; returns events for Xwayland."""
        if self.is_released or not self.source:
            return b""
        press = self._press
        events = _BUTTON.encode(press.pointer, press.serial, 0, press.button, 0) + self._frame()
        events += _LEAVE.encode(press.pointer, press.serial, press.surface) + self._frame()
        self.is_released = True
        return events if self._places.window_of(press.surface) is not None else b""

    def close(self, relay: Relay, *, is_done: bool) -> None:
        """The drag is over; the program learns it if it awaits that."""
        self._cover.finish(is_done=is_done)
        self.is_released = True
        self.left(relay)
        if self.source:
            relay.to_host(_DESTROY_SOURCE.encode(self.source), None)
            translating(relay).disown(self.source, "wl_data_source")

    def _frame(self) -> bytes:
        return _FRAME.encode(self._press.pointer) if self._press.has_frames else b""

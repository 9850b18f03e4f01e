"""Accelerators: key combinations for the host although a client has the focus (chromeos-sommelier.md §1.3).

The proxy drops the key events of an accelerator. On a host with ``zcr_keyboard_extension_v1`` it acknowledges every
key as handled (the client got it) or not handled; the host acts on those not handled. Windowed accelerators apply
unless the window is fullscreen. (ChromeOS's sommelier parses them, but searches the wrong list for them.)
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from guestlink.errors import GuestlinkError
from sommelier_shim.core.hooks import FeatureKey, Hooks, Phase
from sommelier_shim.core.layouts import event, request
from sommelier_shim.core.relay import Flow
from sommelier_shim.core.translation import translating
from sommelier_shim.core.wire import UINT, Buffer
from sommelier_shim.features.own_globals import OWN_GLOBALS
from sommelier_shim.features.policy.keymap import ALT, CONTROL, SHIFT, Keymap, keysym

_log = logging.getLogger(__name__)

EXTENSION = "zcr_keyboard_extension_v1"
_PREFIXES = (("<control>", CONTROL), ("<alt>", ALT), ("<shift>", SHIFT))
_RELEASED, _PRESSED = 0, 1
_NOT_HANDLED, _HANDLED = 0, 1
_XKB_V1 = 1
"""wl_keyboard.keymap_format."""
_FULLSCREEN = 2
"""xdg_toplevel.state"""

_EXTENDED_KEYBOARD = "zcr_extended_keyboard_v1"
_GET_EXTENDED_KEYBOARD = request(EXTENSION, "get_extended_keyboard")
_ACK_KEY = request(_EXTENDED_KEYBOARD, "ack_key")
_DESTROY_EXTENDED = request(_EXTENDED_KEYBOARD, "destroy")
_read_get_keyboard = request("wl_seat", "get_keyboard").reader("id")
_read_get_xdg_surface = request("xdg_wm_base", "get_xdg_surface").reader("id", "surface")
_read_get_toplevel = request("xdg_surface", "get_toplevel").reader("id")
_read_keymap = event("wl_keyboard", "keymap").reader("format", "size")
_read_enter = event("wl_keyboard", "enter").decoder("surface", "keys")
_read_modifiers = event("wl_keyboard", "modifiers").reader("mods_depressed", "mods_latched", "mods_locked", "group")
_read_key = event("wl_keyboard", "key").reader("serial", "key", "state")
_read_configure = event("xdg_toplevel", "configure").decoder("states")


class Accelerator(NamedTuple):
    """A combination: bits of control, alt and shift, and a keysym."""

    modifiers: int
    keysym: int


def parse(text: str) -> frozenset[Accelerator]:
    """Read a list such as ``Super_L,<Alt>bracketleft``.

    :raises GuestlinkError: a keysym is unknown.
    :raises LibraryMissing: libxkbcommon, which has the keysyms' names, is not installed.
    """
    found = set()
    for word in text.split(","):
        name, modifiers = word.strip(), 0
        while match := next((item for item in _PREFIXES if name.lower().startswith(item[0])), None):
            modifiers |= match[1]
            name = name[len(match[0]) :]
        if not name and not modifiers:
            continue
        number = keysym(name)
        if not number:
            raise GuestlinkError(
                f"{word.strip()!r} is not a key combination",
                hint="use <Control>, <Alt> or <Shift> and the name of a keysym, as in <Alt>bracketleft",
            )
        found.add(Accelerator(modifiers, number))
    return frozenset(found)


class Keyboard:
    """One wl_keyboard.

    :ivar passed: keys whose press the client has received, and no release yet.
    :ivar focus: client id of the surface with the focus.
    :ivar extension: host id of the zcr_extended_keyboard_v1 on which the proxy acknowledges keys, 0 without.
    """

    __slots__ = ("extension", "focus", "keymap", "passed")

    def __init__(self) -> None:
        self.keymap: Keymap | None = None
        self.passed: set[int] = set()
        self.focus = 0
        self.extension = 0


class _Windows:
    """Client ids of the fullscreen surfaces, and the surface of each xdg_surface and xdg_toplevel."""

    def __init__(self) -> None:
        self.surface_of: dict[int, int] = {}
        self.fullscreen: set[int] = set()


_KEYBOARDS: FeatureKey[dict[int, Keyboard]] = FeatureKey("keyboards", dict)
_WINDOWS = FeatureKey("windows of accelerators", _Windows)


def install(
    hooks: Hooks, always: frozenset[Accelerator], windowed: frozenset[Accelerator], *, has_extension: bool
) -> dict[str, int]:
    """Install the hooks that drop accelerators.

    :param always: accelerators for all windows, :param windowed: accelerators for windows that are not fullscreen.
    :param has_extension: whether the host has ``zcr_keyboard_extension_v1``.
    :returns: the host globals that the hooks bind, with the highest version of each.
    """

    filter_ = _KeyFilter(always, windowed, has_extension=has_extension)
    hooks.on_request("wl_seat", "get_keyboard", filter_.get_keyboard, Phase.OBSERVE)
    hooks.on_request("wl_keyboard", "release", filter_.release, Phase.OBSERVE)
    hooks.on_event("wl_keyboard", "keymap", _keymap, Phase.OBSERVE)
    hooks.on_event("wl_keyboard", "enter", _enter, Phase.OBSERVE)
    hooks.on_event("wl_keyboard", "leave", _leave, Phase.OBSERVE)
    hooks.on_event("wl_keyboard", "modifiers", _modifiers, Phase.OBSERVE)
    hooks.on_event("wl_keyboard", "key", filter_.key, Phase.REPLACE)
    if windowed:
        hooks.on_request("xdg_wm_base", "get_xdg_surface", _get_xdg_surface, Phase.OBSERVE)
        hooks.on_request("xdg_surface", "get_toplevel", _get_toplevel, Phase.OBSERVE)
        hooks.on_event("xdg_toplevel", "configure", _configure, Phase.OBSERVE)
    return {EXTENSION: 1} if has_extension else {}


class _KeyFilter:
    """The hooks that need the settings, see :func:`install`."""

    def __init__(
        self, always: frozenset[Accelerator], windowed: frozenset[Accelerator], *, has_extension: bool
    ) -> None:
        self._always = always
        self._windowed = windowed
        self._has_extension = has_extension

    def get_keyboard(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        (new,) = _read_get_keyboard(flow.buffer, at)
        keyboard = _KEYBOARDS.of(flow.relay)[new] = Keyboard()
        if self._has_extension:
            relay = translating(flow.relay)
            manager = OWN_GLOBALS.of(flow.relay).bound.get(EXTENSION, 0)

            def extend() -> bytes:
                keyboard.extension = relay.add_own(_EXTENDED_KEYBOARD)
                return _GET_EXTENDED_KEYBOARD.encode(manager, keyboard.extension, relay.host_id(new))

            flow.deferred_suffix = extend if manager else None
        return None

    def release(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        keyboard = _KEYBOARDS.of(flow.relay).pop(object_id, None)
        if keyboard is not None and keyboard.extension:
            flow.prefix += _DESTROY_EXTENDED.encode(keyboard.extension)
            translating(flow.relay).disown(keyboard.extension, _EXTENDED_KEYBOARD)
        return None

    def key(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        keyboard = _KEYBOARDS.of(flow.relay).get(flow.relay.client_id(object_id))
        if keyboard is None:
            return None
        serial, code, state = _read_key(flow.buffer, at)
        if state == _PRESSED:
            passes = not self._is_accelerator(flow, keyboard, code)
            if passes:
                keyboard.passed.add(code)
        else:
            passes = code in keyboard.passed
            if state == _RELEASED:
                keyboard.passed.discard(code)
        if keyboard.extension:
            handled = _HANDLED if passes else _NOT_HANDLED
            flow.relay.to_host(_ACK_KEY.encode(keyboard.extension, serial, handled), None)
        return None if passes else b""

    def _is_accelerator(self, flow: Flow, keyboard: Keyboard, code: int) -> bool:
        if keyboard.keymap is None:
            return False
        pressed = Accelerator(keyboard.keymap.modifiers(), keyboard.keymap.keysym(code))
        return pressed in self._always or (
            pressed in self._windowed and keyboard.focus not in _WINDOWS.of(flow.relay).fullscreen
        )


def _keyboard(flow: Flow, object_id: int) -> Keyboard | None:
    return _KEYBOARDS.of(flow.relay).get(flow.relay.client_id(object_id))


def _keymap(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    keyboard = _keyboard(flow, object_id)
    if keyboard is not None and flow.received:
        kind, size = _read_keymap(flow.buffer, at)
        try:
            keyboard.keymap = Keymap(flow.received[0], size) if kind == _XKB_V1 else None
        except (OSError, ValueError) as error:
            _log.warning("accelerators do not work with this keymap: %s", error)
            keyboard.keymap = None
    return None


def _enter(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    keyboard = _keyboard(flow, object_id)
    if keyboard is not None:
        surface, keys = _read_enter(flow.buffer, at, stop)
        keyboard.focus = flow.relay.client_id(surface)
        keyboard.passed = {code for (code,) in UINT.iter_unpack(keys[: len(keys) & ~3])}
    return None


def _leave(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    keyboard = _keyboard(flow, object_id)
    if keyboard is not None:
        keyboard.focus = 0
        keyboard.passed.clear()
    return None


def _modifiers(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    keyboard = _keyboard(flow, object_id)
    if keyboard is not None and keyboard.keymap is not None:
        keyboard.keymap.update(*_read_modifiers(flow.buffer, at))
    return None


def _get_xdg_surface(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    new, surface = _read_get_xdg_surface(flow.buffer, at)
    _WINDOWS.of(flow.relay).surface_of[new] = surface
    return None


def _get_toplevel(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    surfaces = _WINDOWS.of(flow.relay).surface_of
    (new,) = _read_get_toplevel(flow.buffer, at)
    surfaces[new] = surfaces.get(object_id, 0)
    return None


def _configure(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    (states,) = _read_configure(flow.buffer, at, stop)
    windows = _WINDOWS.of(flow.relay)
    surface = windows.surface_of.get(flow.relay.client_id(object_id), 0)
    if any(state == _FULLSCREEN for (state,) in UINT.iter_unpack(states[: len(states) & ~3])):
        windows.fullscreen.add(surface)
    else:
        windows.fullscreen.discard(surface)
    return None

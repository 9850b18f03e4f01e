"""Messages whose numbers are converted and nothing else: by interface, which argument is what.

Beyond sommelier.md §1.2 this converts what the original forgets: min and max size, the window menu's place,
set_parent_size, the locked pointer's hint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sommelier_shim.relay import Flow, Hook
from sommelier_shim.routes import Hooks
from sommelier_shim.scaling.arithmetic import Scale
from sommelier_shim.shapes import InterfaceShape, interface_shape, is_known
from sommelier_shim.wire import INT, Buffer

_Conversion: TypeAlias = Callable[[int], int]

REQUESTS = {
    "wl_surface": {"attach": "-ii", "offset": "ii"},
    "wl_subsurface": {"set_position": "ii"},
    "wl_pointer": {"set_cursor": "--ii"},
    "wp_pointer_warp_v1": {"warp_pointer": "--ff"},
    "zwp_tablet_tool_v1": {"set_cursor": "--ii"},
    "zwp_tablet_tool_v2": {"set_cursor": "--ii"},
    "xdg_positioner": {
        "set_size": "ss",
        "set_anchor_rect": "iiii",
        "set_offset": "ii",
        "set_parent_size": "ss",
    },
    "xdg_surface": {"set_window_geometry": "iiss"},
    "xdg_toplevel": {"set_min_size": "ss", "set_max_size": "ss", "show_window_menu": "--ii"},
    "zxdg_positioner_v6": {"set_size": "ss", "set_anchor_rect": "iiii", "set_offset": "ii"},
    "zxdg_surface_v6": {"set_window_geometry": "iiss"},
    "zxdg_toplevel_v6": {"set_min_size": "ss", "set_max_size": "ss", "show_window_menu": "--ii"},
    "wl_shell_surface": {"set_transient": "-ii", "set_popup": "---ii"},
    "zwp_locked_pointer_v1": {"set_cursor_position_hint": "ff"},
    "zwp_text_input_v1": {"set_cursor_rectangle": "iiii"},
    "zwp_text_input_v2": {"set_cursor_rectangle": "iiii"},
    "zwp_text_input_v3": {"set_cursor_rectangle": "iiii"},
    "zwlr_layer_surface_v1": {"set_size": "ss", "set_exclusive_zone": "s", "set_margin": "iiii"},
    "zwlr_screencopy_manager_v1": {"capture_output_region": "---iiss"},
    "zwlr_foreign_toplevel_handle_v1": {"set_rectangle": "-iiii"},
    "xdg_toplevel_drag_v1": {"attach": "-ii"},
}
"""``i`` an int, ``s`` a size that may not become 0, ``f`` a fixed-point number, ``-`` left alone."""

EVENTS = {
    "wl_pointer": {"enter": "--ff", "motion": "-ff", "axis": "--f", "warp": "ff"},
    "wl_touch": {"down": "----ff", "motion": "--ff", "shape": "-ff"},
    "zwp_tablet_tool_v1": {"motion": "ff"},
    "zwp_tablet_tool_v2": {"motion": "ff"},
    "zwp_pointer_gesture_swipe_v1": {"update": "-ff"},
    "zwp_pointer_gesture_pinch_v1": {"update": "-ff"},
    "wl_data_device": {"enter": "--ff", "motion": "-ff"},
    "xdg_toplevel": {"configure": "ii", "configure_bounds": "ii"},
    "xdg_popup": {"configure": "iiii"},
    "zxdg_toplevel_v6": {"configure": "ii"},
    "zxdg_popup_v6": {"configure": "iiii"},
    "wl_shell_surface": {"configure": "-ii"},
    "ivi_surface": {"configure": "ii"},
    "zwlr_layer_surface_v1": {"configure": "-ii"},
    "zxdg_output_v1": {"logical_position": "ii", "logical_size": "ii"},
    "zwp_text_input_v2": {"input_panel_state": "-iiii"},
    "zwp_input_popup_surface_v2": {"text_input_rectangle": "iiii"},
}


def install(hooks: Hooks, scale: Scale) -> None:
    """Convert what is listed."""
    to_host = {"i": scale.to_host, "s": scale.size_to_host, "f": scale.fixed_to_host}
    to_guest = {"i": scale.to_guest, "f": scale.fixed_to_guest}
    for interface, requests in REQUESTS.items():
        for name, pattern in requests.items():
            if _exists(interface, name, is_request=True):
                hooks.on_request(interface, name, _converter(pattern, to_host))
    for interface, events in EVENTS.items():
        for name, pattern in events.items():
            if _exists(interface, name, is_request=False):
                hooks.on_event(interface, name, _converter(pattern, to_guest))


def _exists(interface: str, name: str, *, is_request: bool) -> bool:
    if not is_known(interface):
        return False
    shape: InterfaceShape = interface_shape(interface)
    return any(message.name == name for message in (shape.requests if is_request else shape.events))


def _converter(pattern: str, conversions: dict[str, _Conversion]) -> Hook:
    places = [(8 + 4 * index, conversions[letter]) for index, letter in enumerate(pattern) if letter in conversions]

    def convert(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        buffer = flow.buffer
        for offset, conversion in places:
            INT.pack_into(buffer, at + offset, conversion(INT.unpack_from(buffer, at + offset)[0]))
        return None

    return convert

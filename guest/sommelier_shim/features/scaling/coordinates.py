"""Messages that need only their numbers converted: a table of the argument kinds, by interface and message.

Beyond chromeos-sommelier.md §1.2 the table has messages that ChromeOS's sommelier does not convert: min and max
size, the window menu's position, set_parent_size, the locked pointer's hint. ``protocols/numbers.txt`` lists every
number of every message.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import TypeAlias

from sommelier_shim.core.hooks import Hooks, Phase
from sommelier_shim.core.layouts import MessageLayout, event, request
from sommelier_shim.core.relay import Flow, Hook
from sommelier_shim.core.wire import INT, UINT
from sommelier_shim.features.scaling.arithmetic import Conversions, Scale
from sommelier_shim.features.scaling.surfaces import CoordinateSpace, KeptRequest

_Conversion: TypeAlias = Callable[[Conversions, int], int]

REQUESTS = {
    "wl_surface": {"attach": "-xy", "offset": "xy"},
    "wl_subsurface": {"set_position": "xy"},
    "wl_pointer": {"set_cursor": "-oxy"},
    "wp_pointer_warp_v1": {"warp_pointer": "o-fg"},
    "zwp_tablet_tool_v1": {"set_cursor": "-oxy"},
    "zwp_tablet_tool_v2": {"set_cursor": "-oxy"},
    "xdg_positioner": {
        "set_size": "wh",
        "set_anchor_rect": "xywh",
        "set_offset": "xy",
        "set_parent_size": "wh",
    },
    "xdg_surface": {"set_window_geometry": "xywh"},
    "xdg_toplevel": {"set_min_size": "wh", "set_max_size": "wh", "show_window_menu": "--xy"},
    "zxdg_positioner_v6": {"set_size": "wh", "set_anchor_rect": "xywh", "set_offset": "xy"},
    "zxdg_surface_v6": {"set_window_geometry": "xywh"},
    "zxdg_toplevel_v6": {"set_min_size": "wh", "set_max_size": "wh", "show_window_menu": "--xy"},
    "wl_shell_surface": {"set_transient": "oxy", "set_popup": "--oxy"},
    "zwp_locked_pointer_v1": {"set_cursor_position_hint": "fg"},
    "zwp_text_input_v1": {"set_cursor_rectangle": "xyxy"},
    "zwp_text_input_v2": {"set_cursor_rectangle": "xyxy"},
    "zwp_text_input_v3": {"set_cursor_rectangle": "xyxy"},
    "zwlr_layer_surface_v1": {"set_size": "wh", "set_exclusive_zone": "h", "set_margin": "yxyx"},
    "zwlr_screencopy_manager_v1": {"capture_output_region": "--oxywh"},
    "zwlr_foreign_toplevel_handle_v1": {"set_rectangle": "oxyxy"},
    "zwlr_virtual_pointer_v1": {"motion": "-fg"},
    "xdg_toplevel_drag_v1": {"attach": "oxy"},
    "zcr_extended_text_input_v1": {"set_autocorrect_info": "--xyxy"},
}
"""One letter per argument: ``x`` and ``y`` are ints along that axis; ``w`` and ``h`` are sizes along x and y, which
do not become 0; ``f`` and ``g`` are fixed-point numbers along x and y; ``o`` is the object whose scale converts the
numbers, if it is not the message's own object; ``-`` stays."""

KEPT = frozenset(
    {
        ("wl_pointer", "set_cursor"),
        ("wl_subsurface", "set_position"),
        ("xdg_surface", "set_window_geometry"),
        ("xdg_toplevel", "set_max_size"),
        ("xdg_toplevel", "set_min_size"),
        ("zwlr_foreign_toplevel_handle_v1", "set_rectangle"),
        ("zwlr_layer_surface_v1", "set_exclusive_zone"),
        ("zwlr_layer_surface_v1", "set_margin"),
        ("zwlr_layer_surface_v1", "set_size"),
        ("zwp_locked_pointer_v1", "set_cursor_position_hint"),
        ("zwp_tablet_tool_v1", "set_cursor"),
        ("zwp_tablet_tool_v2", "set_cursor"),
        ("zwp_text_input_v1", "set_cursor_rectangle"),
        ("zwp_text_input_v2", "set_cursor_rectangle"),
        ("zwp_text_input_v3", "set_cursor_rectangle"),
        ("zxdg_surface_v6", "set_window_geometry"),
        ("zxdg_toplevel_v6", "set_max_size"),
        ("zxdg_toplevel_v6", "set_min_size"),
    }
)
"""Requests that set state: the host keeps their numbers until the client sends others. The other requests of the
table have a momentary effect."""

EVENTS = {
    "wl_pointer": {"enter": "-ofg", "motion": "-fg", "warp": "fg"},
    "wl_touch": {"down": "--o-fg", "motion": "--fg", "shape": "-fg"},
    "zwp_tablet_tool_v1": {"motion": "fg"},
    "zwp_tablet_tool_v2": {"motion": "fg"},
    "zwp_pointer_gesture_swipe_v1": {"update": "-fg"},
    "zwp_pointer_gesture_pinch_v1": {"update": "-fg"},
    "wl_data_device": {"enter": "-ofg", "motion": "-fg"},
    "xdg_toplevel": {"configure": "wh", "configure_bounds": "xy"},
    "xdg_popup": {"configure": "xywh"},
    "zxdg_toplevel_v6": {"configure": "wh"},
    "zxdg_popup_v6": {"configure": "xywh"},
    "wl_shell_surface": {"configure": "-wh"},
    "ivi_surface": {"configure": "wh"},
    "zwlr_layer_surface_v1": {"configure": "-wh"},
    "zwp_text_input_v2": {"input_panel_state": "-xyxy"},
    "zwp_input_popup_surface_v2": {"text_input_rectangle": "xyxy"},
    "zwp_relative_pointer_v1": {"relative_motion": "--fg"},
    "ext_session_lock_surface_v1": {"configure": "-wh"},
    "xdg_toplevel_icon_manager_v1": {"icon_size": "w"},
    "zcr_extended_text_input_v1": {"set_virtual_keyboard_occluded_bounds": "xyxy"},
}
"""The same letters for events; here ``o`` is the surface whose scale applies to the object from this event on."""

_AXIS_OF = {letter: index for index, letters in enumerate(("xwf", "yhg")) for letter in letters}
_VERTICAL = 0
"""wl_pointer.axis."""


def install(hooks: Hooks, space: CoordinateSpace, otherwise: Container[tuple[str, str]] = ()) -> None:
    """Install hooks for the messages of the tables.

    :param otherwise: interface and name of messages that other modules convert.
    """
    for interface, requests in REQUESTS.items():
        for name, pattern in requests.items():
            if (interface, name) not in otherwise:
                is_kept = (interface, name) in KEPT
                message = request(interface, name)
                hooks.on_request(
                    interface, name, _request_converter(space, message, pattern, is_kept=is_kept), Phase.CONVERT
                )
    for interface, events in EVENTS.items():
        for name, pattern in events.items():
            if (interface, name) not in otherwise:
                converter = _event_converter(space, event(interface, name), pattern)
                hooks.on_event(interface, name, converter, Phase.CONVERT)

    read_axis = event("wl_pointer", "axis").reader("axis", "value")
    write_axis = event("wl_pointer", "axis").writer("value")

    def wheel(flow: Flow, object_id: int, at: int, stop: int) -> None:
        scale = space.scale_of(flow.relay, flow.relay.client_id(object_id))
        axis, value = read_axis(flow.buffer, at)
        along = scale.y if axis == _VERTICAL else scale.x
        write_axis(flow.buffer, at, along.fixed_to_guest(value))

    hooks.on_event("wl_pointer", "axis", wheel, Phase.CONVERT)
    for name in ("axis", "axis_discrete"):
        message = request("zwlr_virtual_pointer_v1", name)
        hooks.on_request("zwlr_virtual_pointer_v1", name, _virtual_wheel(space, message), Phase.CONVERT)
    for name in ("add", "subtract"):
        if ("wl_region", name) not in otherwise:
            hooks.on_request("wl_region", name, _rectangle(space, request("wl_region", name)), Phase.CONVERT)


def _virtual_wheel(space: CoordinateSpace, message: MessageLayout) -> Hook:
    read, write = message.reader("axis", "value"), message.writer("value")

    def convert(flow: Flow, object_id: int, at: int, stop: int) -> None:
        scale = space.scale_of(flow.relay, object_id)
        axis, value = read(flow.buffer, at)
        write(flow.buffer, at, (scale.y if axis == _VERTICAL else scale.x).fixed_to_host(value))

    return convert


def _rectangle(space: CoordinateSpace, message: MessageLayout) -> Hook:
    names = "x", "y", "width", "height"
    read, write = message.reader(*names), message.writer(*names)

    def convert(flow: Flow, object_id: int, at: int, stop: int) -> None:
        scale = space.scale_of(flow.relay, object_id)
        write(flow.buffer, at, *scale.rectangle(*read(flow.buffer, at)))

    return convert


def _to_host(axis: Conversions, value: int) -> int:
    return axis.to_host(value)


def _size_to_host(axis: Conversions, value: int) -> int:
    return axis.size_to_host(value)


def _fixed_to_host(axis: Conversions, value: int) -> int:
    return axis.fixed_to_host(value)


def _to_guest(axis: Conversions, value: int) -> int:
    return axis.to_guest(value)


def _size_to_guest(axis: Conversions, value: int) -> int:
    return axis.size_to_guest(value)


def _fixed_to_guest(axis: Conversions, value: int) -> int:
    return axis.fixed_to_guest(value)


_REQUEST_CONVERSIONS = dict(zip("xywhfg", [_to_host] * 2 + [_size_to_host] * 2 + [_fixed_to_host] * 2, strict=True))
_EVENT_CONVERSIONS = dict(
    zip("xywhfg", [_to_guest] * 2 + [_size_to_guest] * 2 + [_fixed_to_guest] * 2, strict=True)
)


def _places(
    message: MessageLayout, pattern: str, conversions: Mapping[str, _Conversion]
) -> list[tuple[int, int, _Conversion]]:
    """The arguments to convert: offset, axis index (0 is x) and conversion."""
    return [
        (message.offset(name), _AXIS_OF[letter], conversions[letter])
        for name, letter in zip(message.arguments, pattern, strict=False)
        if letter in conversions
    ]


def _request_converter(space: CoordinateSpace, message: MessageLayout, pattern: str, *, is_kept: bool) -> Hook:
    places = _places(message, pattern, _REQUEST_CONVERSIONS)
    about_offset = message.offset(message.arguments[pattern.index("o")]) if "o" in pattern else 0
    keep = space.keep if is_kept else None

    def convert_numbers(scale: Scale, buffer: bytearray, at: int) -> None:
        for offset, axis, conversion in places:
            INT.pack_into(buffer, at + offset, conversion(scale[axis], INT.unpack_from(buffer, at + offset)[0]))

    def convert(flow: Flow, object_id: int, at: int, stop: int) -> None:
        buffer = flow.buffer
        about = UINT.unpack_from(buffer, at + about_offset)[0] if about_offset else object_id
        before = bytes(buffer[at:stop]) if keep is not None else b""
        convert_numbers(space.scale_of(flow.relay, about), buffer, at)
        if keep is not None:
            kept = KeptRequest(
                object_id, message.name, before, bytes(buffer[at:stop]), about_offset, convert_numbers
            )
            keep(flow.relay, about, kept)

    return convert


def _event_converter(space: CoordinateSpace, message: MessageLayout, pattern: str) -> Hook:
    places = _places(message, pattern, _EVENT_CONVERSIONS)

    def convert(flow: Flow, object_id: int, at: int, stop: int) -> None:
        buffer = flow.buffer
        scale = space.scale_of(flow.relay, flow.relay.client_id(object_id))
        for offset, axis, conversion in places:
            INT.pack_into(buffer, at + offset, conversion(scale[axis], INT.unpack_from(buffer, at + offset)[0]))

    return convert

"""sommelier_shim.xwayland.x11.layout: every message of the tables survives its own encoding."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sommelier_shim.xwayland.x11.layout import (
    REST,
    Align,
    Count,
    Items,
    Mask,
    Message,
    Scalar,
    X11WireError,
    decode,
    encode,
)
from sommelier_shim.xwayland.x11.messages import (
    EVENTS,
    LAYOUTS,
    REQUESTS,
    ConfigureWindow,
    GetPropertyReply,
    MapWindow,
    QueryTreeReply,
    ServerSetup,
    SetupRequest,
    UnmapWindow,
)
from support.x_values import messages


@pytest.mark.parametrize("kind", LAYOUTS, ids=lambda kind: kind.__name__)
@settings(max_examples=5)
@given(data=st.data())
def test_a_message_survives(kind: type[Message], data: st.DataObject) -> None:
    value = data.draw(messages(kind))
    encoded = bytes(encode(value, LAYOUTS))
    assert decode(kind, encoded, LAYOUTS) == value
    if encoded and not any(isinstance(item, Items) and item.length == REST for item in LAYOUTS[kind]):
        with pytest.raises(X11WireError):
            decode(kind, encoded[:-1], LAYOUTS)


def test_only_the_set_up_depends_on_its_place() -> None:
    """Other messages are decoded without their headers, so no padding in them may count from the first byte."""
    assert {kind for kind, layout in LAYOUTS.items() if any(isinstance(item, Align) for item in layout)} == {
        ServerSetup,
        SetupRequest,
    }


def test_every_core_request_and_event_has_a_byte_for_its_header() -> None:
    for kind in (*REQUESTS, *EVENTS):
        if layout := LAYOUTS[kind]:
            extension = kind in REQUESTS and REQUESTS[kind].extension
            first = layout[0]
            size = struct.calcsize(first.code) if isinstance(first, (Scalar, Count, Mask)) else first[0]
            assert extension or size == 1, kind


def test_messages_are_values() -> None:
    assert MapWindow(1) == MapWindow(window=1)
    assert MapWindow(1) != UnmapWindow(1)
    assert repr(MapWindow(1)) == "MapWindow(window=1)"
    assert len({MapWindow(1), MapWindow(1), UnmapWindow(1)}) == 2
    with pytest.raises(TypeError, match="has the fields window"):
        MapWindow(1, 2)  # type: ignore[call-arg]


def test_values_of_a_mask_travel_in_the_masks_order() -> None:
    configure = ConfigureWindow(7, {"stack_mode": 0, "x": -3})
    assert bytes(encode(configure, LAYOUTS)) == struct.pack("<xIHxxiI", 7, 0x41, -3, 0)


def test_a_length_that_the_bytes_do_not_have_is_refused() -> None:
    with pytest.raises(X11WireError):
        decode(GetPropertyReply, struct.pack("<BIII", 32, 1, 0, 0xFFFFFFFF) + bytes(12), LAYOUTS)
    with pytest.raises(X11WireError):
        decode(QueryTreeReply, struct.pack("<xIIH", 1, 0, 0xFFFF) + bytes(14), LAYOUTS)

"""sommelier_shim.xwayland.x11.layout: every message of the tables survives its own encoding."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sommelier_shim.xwayland.x11.layout import (
    REST,
    Align,
    Count,
    Inner,
    Items,
    Mask,
    Message,
    Scalar,
    Switch,
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


def _number(code: str) -> st.SearchStrategy[int]:
    if code == "?":
        return st.booleans()
    bits = 8 * struct.calcsize("<" + code)
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if code.islower() else st.integers(0, 2**bits - 1)


def _one(kind: str | type[Message]) -> st.SearchStrategy[Any]:
    return _number(kind) if isinstance(kind, str) else messages(kind)


def _items(kind: str | type[Message], low: int, high: int) -> st.SearchStrategy[Any]:
    if not kind:
        return st.binary(min_size=low, max_size=high)
    return st.lists(_one(kind), min_size=low, max_size=high).map(tuple)


@st.composite
def messages(draw: st.DrawFn, kind: type[Message]) -> Message:
    """Values of a class, as its layout allows them."""
    values: dict[str, Any] = {}
    for item in LAYOUTS[kind]:
        if isinstance(item, Scalar):
            # Fields that a list's length is computed from are small here, so that the lists are.
            formula = next((one.length for one in LAYOUTS[kind] if isinstance(one, Items)), None)
            is_length = isinstance(formula, tuple) and item.name in formula
            values[item.name] = draw(st.sampled_from((8, 16, 32)) if is_length else _number(item.code))
        elif isinstance(item, Inner):
            values[item.name] = draw(messages(item.kind))
        elif isinstance(item, Items):
            low, high = 0, 9
            if isinstance(item.length, tuple):
                low = high = _value(item.length, values)
            elif item.length not in (None, REST):
                low = high = item.length or 0
            values[item.name] = draw(_items(item.item, low, high))
        elif isinstance(item, Switch):
            present = draw(st.lists(st.sampled_from(item.cases), unique_by=lambda case: case[1]))
            values[item.name] = {name: draw(_one(code)) for _, name, code in sorted(present, key=lambda c: c[0])}
    return kind(**values)


def _value(formula: tuple[int | str, ...], values: dict[str, Any]) -> int:
    """The formula by Python's own parser."""
    stack: list[str] = []
    for word in formula:
        if word in ("*", "/", "+", "-"):
            right, left = stack.pop(), stack.pop()
            stack.append(f"({left} {str(word).replace('/', '//')} {right})")
        else:
            stack.append(str(word))
    return int(eval(stack[0], {}, values))


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

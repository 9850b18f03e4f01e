"""Values of X11 messages for Hypothesis, as the messages' layouts allow them."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

from sommelier_shim.xwayland.x11.layout import REST, Inner, Items, Message, Scalar, Switch
from sommelier_shim.xwayland.x11.messages import LAYOUTS


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

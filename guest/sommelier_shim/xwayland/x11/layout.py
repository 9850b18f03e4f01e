"""How the bytes of X11's requests, replies, events and structures are laid out, and their codec. Pure.

X Window System Protocol, appendix B (protocol encoding). All numbers are little-endian: the client chooses the byte
order when it connects. :mod:`sommelier_shim.xwayland.x11.messages` has a layout for every message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from inspect import get_annotations
from typing import Any, ClassVar, NamedTuple, TypeVar, dataclass_transform

ITEM_LIMIT = 65536
"""Items of a list of structures in one message; lists of bytes and numbers are bounded by the message's length."""
REST = -1
"""The length of a list that ends with its message."""


class X11WireError(Exception):
    """The server's bytes are no X11."""


@dataclass_transform(frozen_default=True)
class Message:
    """A request, a reply, an event or a structure: a value with the fields that its class names.

    Dataclasses would do the same, but take longer to make than the proxy takes to start.
    """

    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls._fields = tuple(get_annotations(cls))

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = dict(zip(self._fields, values, strict=False), **named)
        if len(values) + len(named) != len(self._fields) or fields.keys() != set(self._fields):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(self._fields) or 'of none'}")
        self.__dict__.update(fields)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"


Kind = TypeVar("Kind", bound=Message)


class Scalar(NamedTuple):
    """A number.

    :ivar code: its code in the module struct.
    """

    name: str
    code: str


class Pad(NamedTuple):
    """Unused bytes."""

    size: int


class Align(NamedTuple):
    """Unused bytes up to a multiple of ``size`` from the message's start."""

    size: int


class Count(NamedTuple):
    """The number of a list's items; the message's value has only the list."""

    code: str
    name: str


class Mask(NamedTuple):
    """The bits of the values that a :class:`Switch` has; the message's value has only the values."""

    code: str
    name: str


class Inner(NamedTuple):
    """A structure."""

    name: str
    kind: type[Message]


class Items(NamedTuple):
    """A list.

    :ivar item: what its items are: a code of the module struct; a structure; or ``""`` for bytes, which are not
        split.
    :ivar length: the number of items: fixed, or a sum in reverse Polish notation over numbers and names of earlier
        fields. ``None`` if a :class:`Count` has it, and :data:`REST` if the list ends with the message.
    """

    name: str
    item: str | type[Message]
    length: int | tuple[int | str, ...] | None = None


class Switch(NamedTuple):
    """Values that may be missing, each in a field of its own.

    :ivar cases: of each value its bit in the mask, its name, and a code of the module struct or a structure.
    """

    name: str
    cases: tuple[tuple[int, str, str | type[Message]], ...]


Layout = tuple[Scalar | Pad | Align | Count | Mask | Inner | Items | Switch, ...]


class _Head(NamedTuple):
    """The numbers that a message begins with, read and written at once.

    :ivar layout: the whole layout; :ivar rest: what follows the numbers.
    :ivar code: unused bytes are part of it.
    """

    layout: Layout
    code: struct.Struct
    names: tuple[str, ...]
    rest: Layout


_heads: dict[type, _Head] = {}


def _head(kind: type, layouts: Mapping[type, Layout]) -> _Head:
    layout = layouts[kind]
    head = _heads.get(kind)
    if head is None or head.layout is not layout:
        code, names, count = "<", [], 0
        for item in layout:
            if isinstance(item, Scalar):
                names.append(item.name)
                code += item.code
            elif isinstance(item, Pad):
                code += f"{item.size}x"
            else:
                break
            count += 1
        head = _heads[kind] = _Head(layout, struct.Struct(code), tuple(names), layout[count:])
    return head


def encode(value: Message, layouts: Mapping[type, Layout]) -> bytearray:
    """The bytes of a message or a structure.

    :param layouts: the layout of every message and structure.
    :raises struct.error: a number does not fit into its field.
    :raises ValueError: a list has another length than its layout demands.
    """
    data = bytearray()
    _append(data, value, layouts)
    return data


def _append(data: bytearray, value: Message, layouts: Mapping[type, Layout]) -> None:
    head = _head(type(value), layouts)
    fields = value.__dict__
    data += head.code.pack(*[fields[name] for name in head.names])
    for item in head.rest:
        match item:
            case Scalar(name, code):
                data += struct.pack("<" + code, getattr(value, name))
            case Pad(size):
                data += bytes(size)
            case Align(size):
                data += bytes(-len(data) % size)
            case Count(code, name):
                data += struct.pack("<" + code, len(getattr(value, name)))
            case Mask(code, name):
                bits = {field: bit for bit, field, _ in _cases(layouts[type(value)], name)}
                data += struct.pack("<" + code, sum(bits[field] for field in getattr(value, name)))
            case Inner(name):
                _append(data, getattr(value, name), layouts)
            case Items(name, kind, length):
                items = getattr(value, name)
                expected = _length(length, lambda field: int(getattr(value, field)))
                if expected not in (None, REST) and len(items) != expected:
                    raise ValueError(f"{type(value).__name__}.{name} has {len(items)} items instead of {expected}")
                _append_items(data, items, kind, layouts)
            case Switch(name, cases):
                values = getattr(value, name)
                for _, field, kind in cases:
                    if field in values:
                        _append_items(data, [values[field]], kind, layouts)


def _append_items(data: bytearray, items: Any, kind: str | type[Message], layouts: Mapping[type, Layout]) -> None:
    if not kind:
        data += items
    elif isinstance(kind, str):
        data += struct.pack(f"<{len(items)}{kind}", *items)
    else:
        for one in items:
            _append(data, one, layouts)


def _cases(layout: Layout, name: str) -> Sequence[tuple[int, str, str | type[Message]]]:
    return next(item.cases for item in layout if isinstance(item, Switch) and item.name == name)


def _length(length: int | tuple[int | str, ...] | None, field: Any) -> int | None:
    """The number of a list's items, by its layout; ``None`` if a count has it."""
    if length is None or isinstance(length, int):
        return length
    stack: list[int] = []
    for word in length:
        if word in ("*", "/", "+", "-"):
            right, left = stack.pop(), stack.pop()
            if word == "/":
                stack.append(left // right)
            else:
                stack.append(left * right if word == "*" else left + right if word == "+" else left - right)
        else:
            stack.append(word if isinstance(word, int) else field(word))
    return stack[0]


def decode(kind: type[Kind], data: bytes, layouts: Mapping[type, Layout]) -> Kind:
    """A message or a structure from its bytes; bytes behind it are passed over.

    :param kind: its class.
    :raises X11WireError: the bytes are too few, or a list has more than :data:`ITEM_LIMIT` structures.
    """
    return _Reader(data, layouts).read(kind)


class _Reader:
    """Reads structures one after another."""

    def __init__(self, data: bytes, layouts: Mapping[type, Layout]) -> None:
        self._data = data
        self._layouts = layouts
        self._place = 0

    def read(self, kind: type[Kind]) -> Kind:
        head = _head(kind, self._layouts)
        numbers = dict(zip(head.names, head.code.unpack(self._take(head.code.size)), strict=True))
        value = kind.__new__(kind)
        value.__dict__.update(numbers)
        if head.rest:
            value.__dict__.update(self._fields(head.rest, numbers))
        return value

    def _fields(self, layout: Layout, numbers: dict[str, int]) -> Iterator[tuple[str, Any]]:
        counts: dict[str, int] = {}
        for item in layout:
            match item:
                case Scalar(name, code):
                    numbers[name] = self._number(code)
                    yield name, numbers[name]
                case Pad(size):
                    self._take(size)
                case Align(size):
                    self._take(-self._place % size)
                case Count(code, name) | Mask(code, name):
                    counts[name] = self._number(code)
                case Inner(name, part):
                    yield name, self.read(part)
                case Items(name, one, length):
                    count = _length(length, numbers.__getitem__)
                    if count is None:
                        count = counts[name]
                    yield name, self._items(one, len(self._data) - self._place if count == REST else count)
                case Switch(name, cases):
                    yield (
                        name,
                        {
                            field: self._number(one) if isinstance(one, str) else self.read(one)
                            for bit, field, one in cases
                            if counts[name] & bit
                        },
                    )

    def _items(self, kind: str | type[Message], count: int) -> Any:
        if not kind:
            return self._take(count)
        if isinstance(kind, str):
            return struct.unpack(f"<{count}{kind}", self._take(count * struct.calcsize("<" + kind)))
        if count > ITEM_LIMIT:
            raise X11WireError(f"a list has {count} items")
        return tuple(self.read(kind) for _ in range(count))

    def _number(self, code: str) -> int:
        number: int = struct.unpack("<" + code, self._take(struct.calcsize("<" + code)))[0]
        return number

    def _take(self, count: int) -> bytes:
        start, self._place = self._place, self._place + count
        if count < 0 or self._place > len(self._data):
            raise X11WireError(f"a message ends after {len(self._data)} bytes, {self._place} are needed")
        return self._data[start : self._place]

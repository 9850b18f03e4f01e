"""The layout of messages: sizes, ids and descriptors, computed from the generated tables on first use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sommelier_shim.tables import INTERFACES, Message


class Argument(NamedTuple):
    """An object id among the arguments of a message.

    :ivar before: the signature of the arguments before the id up to the last string or array; "" if there is none.
    :ivar offset: bytes from the start of the message to the id, or, with ``before``, from the end of those
        arguments.
    :ivar interface: the object's interface.
    """

    before: str
    offset: int
    interface: str


class Shape(NamedTuple):
    """One request or event.

    :ivar least: minimum size of the message in bytes, with the header.
    :ivar descriptors: the number of descriptors.
    :ivar new: new ids; ``wl_registry.bind`` has none here, because the message names its interface.
    :ivar objects: ids of existing objects.
    """

    name: str
    signature: str
    destructor: bool
    least: int
    descriptors: int
    new: tuple[Argument, ...]
    objects: tuple[Argument, ...]


class InterfaceShape(NamedTuple):
    """One interface: its messages by opcode and by name."""

    name: str
    version: int
    requests: tuple[Shape, ...]
    events: tuple[Shape, ...]

    def request(self, name: str) -> int:
        """The opcode of a request."""
        return _opcode(self.requests, name)

    def event(self, name: str) -> int:
        """The opcode of an event."""
        return _opcode(self.events, name)


_shapes: dict[str, InterfaceShape] = {}


def interface_shape(name: str) -> InterfaceShape:
    """The shape of an interface.

    :raises KeyError: the tables do not have the interface.
    """
    found = _shapes.get(name)
    if found is None:
        interface = INTERFACES[name]
        found = InterfaceShape(
            name,
            interface.version,
            tuple(_shape(message) for message in interface.requests),
            tuple(_shape(message) for message in interface.events),
        )
        _shapes[name] = found
    return found


def is_known(name: str) -> bool:
    """Whether the tables know an interface."""
    return name in INTERFACES


def version_of(name: str) -> int:
    """The highest version of an interface in the tables."""
    return INTERFACES[name].version


def naming(interface: str, *, requests: bool) -> Iterator[tuple[str, Shape, int]]:
    """The requests or events of every interface that have an object of ``interface`` at a fixed offset.

    :returns: interface, message and the offset of the first such argument.
    """
    for name, known in INTERFACES.items():
        for index, message in enumerate(known.requests if requests else known.events):
            if interface in message.interfaces:
                shape = (interface_shape(name).requests if requests else interface_shape(name).events)[index]
                found = [one.offset for one in shape.objects if one.interface == interface and not one.before]
                if found:
                    yield name, shape, found[0]


def _opcode(shapes: tuple[Shape, ...], name: str) -> int:
    for opcode, shape in enumerate(shapes):
        if shape.name == name:
            return opcode
    raise KeyError(name)


def _shape(message: Message) -> Shape:
    letters = message.signature.replace("?", "")
    new: list[Argument] = []
    objects: list[Argument] = []
    offset, before = 8, ""
    for index, letter in enumerate(letters):
        interface = message.interfaces[index] or ""
        if letter == "n" and interface:
            new.append(Argument(before, offset, interface))
        elif letter == "o":
            objects.append(Argument(before, offset, interface))
        if letter in "sa":
            # Strings and arrays have no fixed length: later offsets count from the end of this argument.
            before, offset = letters[: index + 1], 0
        elif letter != "h":
            offset += 4
    least = 8 + 4 * len(letters.replace("h", ""))
    return Shape(message.name, letters, message.destructor, least, letters.count("h"), tuple(new), tuple(objects))

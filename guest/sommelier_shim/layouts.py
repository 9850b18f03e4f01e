"""The layout of messages: sizes, ids and descriptors, computed from the generated tables on first use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sommelier_shim.tables import INTERFACES, Message


class Argument(NamedTuple):
    """An object id among the arguments of a message.

    :ivar preceding: the signature of the arguments up to the last string or array before the id; "" if there is
        none.
    :ivar offset: bytes from the start of the message to the id, or, with ``preceding``, from the end of those
        arguments.
    :ivar interface: the object's interface.
    """

    preceding: str
    offset: int
    interface: str


class MessageLayout(NamedTuple):
    """One request or event.

    :ivar min_size: minimum size of the message in bytes, with the header.
    :ivar descriptors: the number of descriptors.
    :ivar new: new ids; ``wl_registry.bind`` has none here, because the message names its interface.
    :ivar objects: ids of existing objects.
    """

    name: str
    signature: str
    destructor: bool
    min_size: int
    descriptors: int
    new: tuple[Argument, ...]
    objects: tuple[Argument, ...]


class InterfaceLayout(NamedTuple):
    """One interface: its messages by opcode and by name."""

    name: str
    version: int
    requests: tuple[MessageLayout, ...]
    events: tuple[MessageLayout, ...]

    def request(self, name: str) -> int:
        """The opcode of a request."""
        return _opcode(self.requests, name)

    def event(self, name: str) -> int:
        """The opcode of an event."""
        return _opcode(self.events, name)


_interfaces: dict[str, InterfaceLayout] = {}


def interface_layout(name: str) -> InterfaceLayout:
    """The layout of an interface.

    :raises KeyError: the tables do not have the interface.
    """
    found = _interfaces.get(name)
    if found is None:
        interface = INTERFACES[name]
        found = InterfaceLayout(
            name,
            interface.version,
            tuple(_layout(message) for message in interface.requests),
            tuple(_layout(message) for message in interface.events),
        )
        _interfaces[name] = found
    return found


def is_known(name: str) -> bool:
    """Whether the tables know an interface."""
    return name in INTERFACES


def version_of(name: str) -> int:
    """The highest version of an interface in the tables."""
    return INTERFACES[name].version


def naming(interface: str, *, requests: bool) -> Iterator[tuple[str, MessageLayout, int]]:
    """The requests or events of every interface that have an object of ``interface`` at a fixed offset.

    :returns: interface, message and the offset of the first such argument.
    """
    for name, known in INTERFACES.items():
        for index, message in enumerate(known.requests if requests else known.events):
            if interface in message.interfaces:
                layout = (interface_layout(name).requests if requests else interface_layout(name).events)[index]
                found = [one.offset for one in layout.objects if one.interface == interface and not one.preceding]
                if found:
                    yield name, layout, found[0]


def _opcode(messages: tuple[MessageLayout, ...], name: str) -> int:
    for opcode, layout in enumerate(messages):
        if layout.name == name:
            return opcode
    raise KeyError(name)


def _layout(message: Message) -> MessageLayout:
    letters = message.signature.replace("?", "")
    new: list[Argument] = []
    objects: list[Argument] = []
    offset, preceding = 8, ""
    for index, letter in enumerate(letters):
        interface = message.interfaces[index] or ""
        if letter == "n" and interface:
            new.append(Argument(preceding, offset, interface))
        elif letter == "o":
            objects.append(Argument(preceding, offset, interface))
        if letter in "sa":
            # Strings and arrays have no fixed length: later offsets count from the end of this argument.
            preceding, offset = letters[: index + 1], 0
        elif letter != "h":
            offset += 4
    min_size = 8 + 4 * len(letters.replace("h", ""))
    return MessageLayout(
        message.name, letters, message.destructor, min_size, letters.count("h"), tuple(new), tuple(objects)
    )

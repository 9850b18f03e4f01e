"""The layout of messages: names, sizes, ids and descriptors, computed from the generated tables on first use.

:func:`request` and :func:`event` look up a message by its names; the layout then makes readers and writers of
arguments, so that nobody else knows opcodes and offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

from sommelier_shim.core.tables import INTERFACES, Message
from sommelier_shim.core.wire import HEADER_SIZE, UINT, Buffer, Value, WireError, decode, encode, skip

Reader: TypeAlias = Callable[[Buffer, int], tuple[Any, ...]]
"""``read(buffer, at)``: arguments of the message at ``at``. A fixed-point number is its raw 24.8 integer."""
Writer: TypeAlias = Callable[..., None]
"""``write(buffer, at, *values)``: replace arguments of the message at ``at``."""
Decoder: TypeAlias = Callable[[bytearray, int, int], tuple[Any, ...]]
"""``read(buffer, at, stop)``: arguments of the message ``buffer[at:stop]``, see :func:`.wire.decode`.

:raises WireError: the bytes do not fit the signature."""


class MessageArgument(NamedTuple):
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


def place_after(preceding: str, offset: int, buffer: Buffer, at: int, stop: int) -> int:
    """The position of an id behind a string or array in the message ``buffer[at:stop]``. Other ids are at
    ``at + offset``, and every message with ``min_size`` bytes has them.

    :param preceding: see :class:`MessageArgument`, :param offset: likewise.
    :raises WireError: the message ends before the id does.
    """
    place = skip(preceding, buffer, at + HEADER_SIZE, stop) + offset
    if place + UINT.size > stop:
        raise WireError("the message is shorter than its arguments")
    return place


class MessageLayout:
    """One request or event.

    :ivar interface: its interface; :ivar opcode: its opcode.
    :ivar signature: a letter for each argument; :ivar arguments: their names.
    :ivar min_size: minimum size of the message in bytes, with the header.
    :ivar descriptors: the number of descriptors.
    :ivar new: new ids; ``wl_registry.bind`` has none here, because the message names its interface.
    :ivar objects: ids of existing objects.
    """

    __slots__ = ("_pack", "_word", "arguments", "descriptors", "destructor", "interface", "min_size", "name", "new",
                 "objects", "opcode", "signature")  # fmt: skip

    def __init__(self, interface: str, opcode: int, message: Message) -> None:
        letters = message.signature.replace("?", "")
        self.interface = interface
        self.name = message.name
        self.opcode = opcode
        self.signature = letters
        self.arguments = message.arguments
        self.destructor = message.destructor
        self.min_size = HEADER_SIZE + 4 * len(letters.replace("h", ""))
        self.descriptors = letters.count("h")
        new: list[MessageArgument] = []
        objects: list[MessageArgument] = []
        offset, preceding = HEADER_SIZE, ""
        for index, letter in enumerate(letters):
            named = message.interfaces[index] or ""
            if letter == "n" and named:
                new.append(MessageArgument(preceding, offset, named))
            elif letter == "o":
                objects.append(MessageArgument(preceding, offset, named))
            if letter in "sa":
                # Strings and arrays have no fixed length: later offsets count from the end of this argument.
                preceding, offset = letters[: index + 1], 0
            elif letter != "h":
                offset += 4
        self.new = tuple(new)
        self.objects = tuple(objects)
        self._word = self.min_size << 16 | opcode
        is_fixed = not set(letters) & set("saf")
        self._pack = Struct("=II" + letters.translate(_FORMATS)).pack if is_fixed else None

    def encode(self, object_id: int, *values: Value) -> bytes:
        """The bytes of one message.

        :param values: a value for each argument except descriptors, see :func:`~sommelier_shim.core.wire.encode`.
        """
        if self._pack is not None:
            return self._pack(object_id, self._word, *values)
        return encode(object_id, self.opcode, self.signature, *values)

    def offset(self, name: str) -> int:
        """Bytes from the start of the message to an argument.

        :raises ValueError: there is no such argument, or a string or an array precedes it.
        """
        at = HEADER_SIZE
        for letter, argument in zip(self.signature, self.arguments, strict=True):
            if argument == name and letter != "h":
                return at
            if letter in "sa":
                break
            if letter != "h":
                at += 4
        raise ValueError(f"{self} has no argument {name} at a fixed offset")

    def reader(self, *names: str) -> Reader:
        """A function that reads arguments, named in the order of the message.

        :raises ValueError: as :meth:`offset`, or the order is another.
        """
        layout, at = "=", 0
        for name in names:
            offset = self.offset(name)
            if offset < at:
                raise ValueError(f"{self} has {name} before other arguments")
            layout += f"{offset - at}x{self._format(name)}"
            at = offset + 4
        return Struct(layout).unpack_from

    def writer(self, *names: str) -> Writer:
        """A function that writes arguments that follow each other.

        :raises ValueError: as :meth:`offset`, or other arguments are between them.
        """
        start = self.offset(names[0])
        if any(self.offset(name) != start + 4 * index for index, name in enumerate(names)):
            raise ValueError(f"{self} has other arguments between {', '.join(names)}")
        pack_into = Struct("=" + "".join(map(self._format, names))).pack_into

        def write(buffer: bytearray, at: int, *values: int) -> None:
            pack_into(buffer, at + start, *values)

        return write

    def decoder(self, *names: str) -> Decoder:
        """A function that reads arguments of a message with strings or arrays.

        :raises ValueError: there is no such argument.
        """
        signature, indexes = self.signature, [self.arguments.index(name) for name in names]

        def read(buffer: bytearray, at: int, stop: int) -> tuple[Any, ...]:
            values = decode(signature, buffer[at:stop])
            return tuple([values[index] for index in indexes])

        return read

    def argument_of(self, interface: str) -> str:
        """The name of the first argument at a fixed offset that is an object of an interface, or "" """
        names = [name for name, letter in zip(self.arguments, self.signature, strict=True) if letter == "o"]
        for name, one in zip(names, self.objects, strict=True):
            if one.interface == interface and not one.preceding:
                return name
        return ""

    def _format(self, name: str) -> str:
        return self.signature[self.arguments.index(name)].translate(_FORMATS)

    def __str__(self) -> str:
        return f"{self.interface}.{self.name}"


_FORMATS = str.maketrans({"i": "i", "f": "i", "u": "I", "o": "I", "n": "I", "h": None})
"""Formats of :mod:`struct` by letters of a signature."""


class InterfaceLayout(NamedTuple):
    """One interface: its messages by opcode and by name."""

    name: str
    version: int
    requests: tuple[MessageLayout, ...]
    events: tuple[MessageLayout, ...]

    def request(self, name: str) -> MessageLayout:
        """A request by its name.

        :raises KeyError: the interface has no such request.
        """
        return _by_name(self.requests, name)

    def event(self, name: str) -> MessageLayout:
        """An event by its name.

        :raises KeyError: the interface has no such event.
        """
        return _by_name(self.events, name)


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
            tuple(MessageLayout(name, opcode, message) for opcode, message in enumerate(interface.requests)),
            tuple(MessageLayout(name, opcode, message) for opcode, message in enumerate(interface.events)),
        )
        _interfaces[name] = found
    return found


def request(interface: str, name: str) -> MessageLayout:
    """The layout of a request.

    :raises KeyError: the tables do not have it.
    """
    return interface_layout(interface).request(name)


def event(interface: str, name: str) -> MessageLayout:
    """The layout of an event.

    :raises KeyError: the tables do not have it.
    """
    return interface_layout(interface).event(name)


def is_known(name: str) -> bool:
    """Whether the tables know an interface."""
    return name in INTERFACES


def version_of(name: str) -> int:
    """The highest version of an interface in the tables."""
    return INTERFACES[name].version


def messages_with(interface: str, *, is_request: bool) -> Iterator[tuple[MessageLayout, str]]:
    """The requests or events of every interface that have an object of ``interface`` at a fixed offset.

    :returns: each message and the name of the first such argument.
    """
    for known in INTERFACES.mentioning(interface):
        for index, message in enumerate(known.requests if is_request else known.events):
            if interface in message.interfaces:
                found = interface_layout(known.name)
                layout = (found.requests if is_request else found.events)[index]
                argument = layout.argument_of(interface)
                if argument:
                    yield layout, argument


def _by_name(messages: tuple[MessageLayout, ...], name: str) -> MessageLayout:
    for message in messages:
        if message.name == name:
            return message
    raise KeyError(name)

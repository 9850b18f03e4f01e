"""Values in packets of PulseAudio's native protocol, each with a type byte (pulsecore/tagstruct.c). No I/O."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

CHANNEL_LIMIT = 32
"""Channels of a stream (PA_CHANNELS_MAX)."""
PROPERTY_LIMIT = 64 * 1024
"""Bytes of one property's value (MAX_TAG_SIZE)."""
PROPERTY_COUNT_LIMIT = 256
"""Properties of one packet of a client, and keys. PulseAudio has no limit; its own clients send up to 30."""
SERVER_PROPERTY_COUNT_LIMIT = 16 * 1024
"""Properties of one packet of the server; a device has up to 60."""
COOKIE_SIZE = 256

_U32, _U64, _S64 = Struct(">I"), Struct(">Q"), Struct(">q")
_TAGGED_U32 = Struct(">cI")

Properties: TypeAlias = dict[bytes, bytes]
"""A property list: keys without their zero byte, values as they are sent (texts end with a zero byte)."""


class MalformedPacket(ValueError):
    """A packet is not what its command requires."""


class SampleSpec(NamedTuple):
    """Format number, channels, samples per second."""

    format: int
    channels: int
    rate: int


class FormatInfo(NamedTuple):
    """An encoding (1 is PCM) with its properties, whose values are JSON texts."""

    encoding: int
    properties: Properties


class TagReader:
    """Reads values from a packet's payload, strictly in order.

    :param properties: how many properties the packet may have.
    """

    __slots__ = ("_at", "_data", "_properties")

    def __init__(self, data: bytes, properties: int = SERVER_PROPERTY_COUNT_LIMIT) -> None:
        self._data = data
        self._at = 0
        self._properties = properties

    @property
    def at_end(self) -> bool:
        """Whether everything has been read."""
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        """The next bytes.

        :raises MalformedPacket: the packet ends before; so do all other methods.
        """
        end = self._at + count
        if end > len(self._data):
            raise MalformedPacket("a packet ends in the middle of a value")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def expect(self, tag: bytes) -> None:
        """Read a type byte, which must be this one."""
        if self.take(1) != tag:
            raise MalformedPacket(f"a value of a type other than {tag!r}")

    def u32(self) -> int:
        """A number with its type byte."""
        self.expect(b"L")
        return int(_U32.unpack(self.take(4))[0])

    def string(self) -> bytes | None:
        """A text without its zero byte; ``None`` is different from the empty text."""
        tag = self.take(1)
        if tag == b"N":
            return None
        if tag != b"t":
            raise MalformedPacket("a value that is no text")
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise MalformedPacket("a text without an end")
        text = self._data[self._at : end]
        self._at = end + 1
        return text

    def properties(self) -> Properties:
        """A property list. A key that is sent twice has its last value."""
        self.expect(b"P")
        found: Properties = {}
        while (key := self.string()) is not None:
            if not self._properties:
                raise MalformedPacket("too many properties")
            self._properties -= 1
            length = self.u32()
            if length > PROPERTY_LIMIT:
                raise MalformedPacket(f"a property of {length} bytes")
            found[key] = self.arbitrary(length)
        return found

    def arbitrary(self, length: int) -> bytes:
        """Bytes whose length is known already."""
        self.expect(b"x")
        if (sent := _U32.unpack(self.take(4))[0]) != length:
            raise MalformedPacket(f"{sent} bytes instead of {length}")
        return self.take(length)

    def format_info(self) -> FormatInfo:
        """An encoding with its properties."""
        self.expect(b"f")
        return FormatInfo(_read_u8(self), self.properties())


def put_u32(out: bytearray, value: int) -> None:
    """Append a number with its type byte."""
    out += _TAGGED_U32.pack(b"L", value)


def put_string(out: bytearray, value: bytes | None) -> None:
    """Append a text, or ``None``."""
    if value is None:
        out += b"N"
    else:
        out += b"t" + value + b"\0"


def put_properties(out: bytearray, value: Properties) -> None:
    """Append a property list."""
    out += b"P"
    for key, content in value.items():
        put_string(out, key)
        put_u32(out, len(content))
        out += b"x" + _U32.pack(len(content)) + content
    out += b"N"


def _put_format(out: bytearray, value: FormatInfo) -> None:
    out += b"f"
    _put_u8(out, value.encoding)
    put_properties(out, value.properties)


def _read_u8(reader: TagReader) -> int:
    reader.expect(b"B")
    return reader.take(1)[0]


def _put_u8(out: bytearray, value: int) -> None:
    out += b"B" + bytes((value,))


def _read_bool(reader: TagReader) -> bool:
    tag = reader.take(1)
    if tag not in (b"0", b"1"):
        raise MalformedPacket("a value that is neither true nor false")
    return tag == b"1"


def _put_bool(out: bytearray, value: bool) -> None:
    out += b"1" if value else b"0"


def _read_cookie(reader: TagReader) -> bytes:
    return reader.arbitrary(COOKIE_SIZE)


def _put_cookie(out: bytearray, value: bytes) -> None:
    out += b"x" + _U32.pack(len(value)) + value


def _read_spec(reader: TagReader) -> SampleSpec:
    reader.expect(b"a")
    kind, channels = reader.take(2)
    return SampleSpec(kind, channels, _U32.unpack(reader.take(4))[0])


def _put_spec(out: bytearray, value: SampleSpec) -> None:
    out += b"a" + bytes((value.format, value.channels)) + _U32.pack(value.rate)


def _channels(reader: TagReader, tag: bytes) -> int:
    reader.expect(tag)
    count = reader.take(1)[0]
    if count > CHANNEL_LIMIT:
        raise MalformedPacket(f"{count} channels")
    return count


def _read_map(reader: TagReader) -> bytes:
    return reader.take(_channels(reader, b"m"))


def _put_map(out: bytearray, value: bytes) -> None:
    out += b"m" + bytes((len(value),)) + value


def _read_volumes(reader: TagReader) -> bytes:
    return reader.take(4 * _channels(reader, b"v"))


def _put_volumes(out: bytearray, value: bytes) -> None:
    out += b"v" + bytes((len(value) // 4,)) + value


def _read_timeval(reader: TagReader) -> bytes:
    reader.expect(b"T")
    return reader.take(8)


def _put_timeval(out: bytearray, value: bytes) -> None:
    out += b"T" + value


def _read_strings(reader: TagReader) -> list[bytes]:
    found: list[bytes] = []
    while (text := reader.string()) is not None:
        found.append(text)
        if len(found) > PROPERTY_COUNT_LIMIT:
            raise MalformedPacket(f"more than {PROPERTY_COUNT_LIMIT} keys")
    return found


def _put_strings(out: bytearray, value: list[bytes]) -> None:
    for text in value:
        put_string(out, text)
    put_string(out, None)


def _read_formats(reader: TagReader) -> list[FormatInfo]:
    return [reader.format_info() for _ in range(_read_u8(reader))]


def _put_formats(out: bytearray, value: list[FormatInfo]) -> None:
    _put_u8(out, len(value))
    for each in value:
        _put_format(out, each)


class TagKind(NamedTuple):
    """A type of value."""

    read: Callable[[TagReader], Any]
    put: Callable[[bytearray, Any], None]


def _number(tag: bytes, layout: Struct) -> TagKind:
    def read(reader: TagReader) -> int:
        reader.expect(tag)
        return int(layout.unpack(reader.take(layout.size))[0])

    def put(out: bytearray, value: int) -> None:
        out += tag + layout.pack(value)

    return TagKind(read, put)


U32 = TagKind(TagReader.u32, put_u32)
U8 = TagKind(_read_u8, _put_u8)
U64, S64, USEC, VOLUME = _number(b"R", _U64), _number(b"r", _S64), _number(b"U", _U64), _number(b"V", _U32)
STRING = TagKind(TagReader.string, put_string)
BOOL = TagKind(_read_bool, _put_bool)
COOKIE = TagKind(_read_cookie, _put_cookie)
SPEC = TagKind(_read_spec, _put_spec)
MAP = TagKind(_read_map, _put_map)
VOLUMES = TagKind(_read_volumes, _put_volumes)
TIMEVAL = TagKind(_read_timeval, _put_timeval)
PROPERTIES = TagKind(TagReader.properties, put_properties)
STRINGS = TagKind(_read_strings, _put_strings)
FORMAT = TagKind(TagReader.format_info, _put_format)
FORMATS = TagKind(_read_formats, _put_formats)

"""The fields of PulseAudio's packets, by command and protocol version (pulsecore/protocol-native.c). No I/O.

A packet is read into a dictionary and written anew from it: the server sees only what the filter understood.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple, TypeAlias

from guestlink_host.border.sound.commands import Command
from guestlink_host.border.sound.tagstruct import (
    BOOL,
    COOKIE,
    FORMAT,
    FORMATS,
    MAP,
    PROPERTIES,
    S64,
    SPEC,
    STRING,
    STRINGS,
    TIMEVAL,
    U32,
    U64,
    USEC,
    VOLUME,
    VOLUMES,
    MalformedPacket,
    TagKind,
    TagReader,
    put_u32,
)

PacketValues: TypeAlias = dict[str, Any]
"""A packet's fields by name."""

_GROUP_LIMIT = 1024
"""Entries of a list inside an object, such as a device's ports."""


class PacketField(NamedTuple):
    """A field of a packet.

    :ivar kind: its type; a layout for a list of such entries behind their number.
    :ivar since: the first protocol version that has it.
    """

    name: str
    kind: TagKind | tuple[PacketField, ...]
    since: int = 0


PacketLayout: TypeAlias = tuple[PacketField, ...]


def read(layout: PacketLayout, version: int, reader: TagReader) -> PacketValues:
    """Read fields.

    :raises MalformedPacket: the packet has other fields.
    """
    values: PacketValues = {}
    for name, kind in _fields(layout, version):
        if isinstance(kind, TagKind):
            values[name] = kind.read(reader)
            continue
        count = reader.u32()
        if count > _GROUP_LIMIT:
            raise MalformedPacket(f"a list of {count} {name}")
        values[name] = [read(kind, version, reader) for _ in range(count)]
    return values


def read_all(layout: PacketLayout, version: int, reader: TagReader) -> PacketValues:
    """Read a packet's last fields; raises as :func:`read` does, also if anything follows."""
    values = read(layout, version, reader)
    if not reader.at_end:
        raise MalformedPacket("a packet that goes on after its last field")
    return values


def put(layout: PacketLayout, version: int, out: bytearray, values: PacketValues) -> None:
    """Append fields."""
    for name, kind in _fields(layout, version):
        if isinstance(kind, TagKind):
            kind.put(out, values[name])
            continue
        put_u32(out, len(values[name]))
        for entry in values[name]:
            put(kind, version, out, entry)


@cache
def _fields(layout: PacketLayout, version: int) -> tuple[tuple[str, TagKind | PacketLayout], ...]:
    return tuple((field.name, field.kind) for field in layout if field.since <= version)


def _named(kind: TagKind, *names: str) -> PacketLayout:
    return tuple(PacketField(name, kind) for name in names)


_CHANNEL = PacketField("channel", U32)
_INDEX = PacketField("index", U32)
_NAME = PacketField("name", STRING)
_PROPERTIES = PacketField("properties", PROPERTIES)
_PLAYBACK_BUFFER = _named(U32, "maxlength", "tlength", "prebuf", "minreq")
_RECORD_BUFFER = _named(U32, "maxlength", "fragsize")
_STREAM_FLAGS = _named(
    BOOL, "no_remap", "no_remix", "fix_format", "fix_rate", "fix_channels", "no_move", "variable_rate"
)
_INDEX_OR_NAME = (_INDEX, _NAME)

_CREATE_PLAYBACK: PacketLayout = (
    PacketField("spec", SPEC),
    PacketField("map", MAP),
    PacketField("device", U32),
    PacketField("device_name", STRING),
    PacketField("maxlength", U32),
    PacketField("corked", BOOL),
    *_named(U32, "tlength", "prebuf", "minreq", "sync_id"),
    PacketField("volume", VOLUMES),
    *_STREAM_FLAGS,
    *_named(BOOL, "muted", "adjust_latency"),
    _PROPERTIES,
    *_named(BOOL, "volume_set", "early_requests", "muted_set", "dont_inhibit_auto_suspend", "fail_on_suspend"),
    *_named(BOOL, "relative_volume", "passthrough"),
    PacketField("formats", FORMATS),
)
_CREATE_RECORD: PacketLayout = (
    PacketField("spec", SPEC),
    PacketField("map", MAP),
    PacketField("device", U32),
    PacketField("device_name", STRING),
    PacketField("maxlength", U32),
    PacketField("corked", BOOL),
    PacketField("fragsize", U32),
    *_STREAM_FLAGS,
    *_named(BOOL, "peak_detect", "adjust_latency"),
    _PROPERTIES,
    PacketField("direct_on_input", U32),
    *_named(BOOL, "early_requests", "dont_inhibit_auto_suspend", "fail_on_suspend"),
    PacketField("formats", FORMATS),
    PacketField("volume", VOLUMES),
    *_named(BOOL, "muted", "volume_set", "muted_set", "relative_volume", "passthrough"),
)
_STREAM_ANSWER: PacketLayout = (
    PacketField("spec", SPEC),
    PacketField("map", MAP),
    PacketField("device", U32),
    PacketField("device_name", STRING),
    PacketField("suspended", BOOL),
    PacketField("latency", USEC),
    PacketField("format", FORMAT),
)
_LATENCY: PacketLayout = (
    *_named(USEC, "buffer_latency", "device_latency"),
    PacketField("running", BOOL),
    *_named(TIMEVAL, "sent", "answered"),
    *_named(S64, "write_index", "read_index"),
)

_PORT: PacketLayout = (
    _NAME,
    PacketField("description", STRING),
    PacketField("priority", U32),
    PacketField("available", U32, 24),
    PacketField("availability_group", STRING, 34),
    PacketField("type", U32, 34),
)
DEVICE: PacketLayout = (
    _INDEX,
    _NAME,
    PacketField("description", STRING),
    PacketField("spec", SPEC),
    PacketField("map", MAP),
    PacketField("module", U32),
    PacketField("volume", VOLUMES),
    PacketField("muted", BOOL),
    PacketField("monitor", U32),
    PacketField("monitor_name", STRING),
    PacketField("latency", USEC),
    PacketField("driver", STRING),
    PacketField("flags", U32),
    _PROPERTIES,
    PacketField("requested_latency", USEC),
    PacketField("base_volume", VOLUME),
    *_named(U32, "state", "volume_steps", "card"),
    PacketField("ports", _PORT),
    PacketField("active_port", STRING),
    PacketField("formats", FORMATS),
)
"""A sink or a source. ``monitor`` is a sink's monitor source, or the sink that a source monitors."""
CLIENT: PacketLayout = (_INDEX, _NAME, PacketField("module", U32), PacketField("driver", STRING), _PROPERTIES)
SINK_INPUT: PacketLayout = (
    _INDEX,
    _NAME,
    *_named(U32, "module", "client", "device"),
    PacketField("spec", SPEC),
    PacketField("map", MAP),
    PacketField("volume", VOLUMES),
    *_named(USEC, "buffer_latency", "device_latency"),
    *_named(STRING, "resample_method", "driver"),
    PacketField("muted", BOOL),
    _PROPERTIES,
    *_named(BOOL, "corked", "has_volume", "volume_writable"),
    PacketField("format", FORMAT),
)
SOURCE_OUTPUT: PacketLayout = (
    _INDEX,
    _NAME,
    *_named(U32, "module", "client", "device"),
    PacketField("spec", SPEC),
    PacketField("map", MAP),
    *_named(USEC, "buffer_latency", "device_latency"),
    *_named(STRING, "resample_method", "driver"),
    _PROPERTIES,
    PacketField("corked", BOOL),
    PacketField("volume", VOLUMES),
    *_named(BOOL, "muted", "has_volume", "volume_writable"),
    PacketField("format", FORMAT),
)
SERVER_INFO: PacketLayout = (
    *_named(STRING, "package", "version", "user", "host"),
    PacketField("spec", SPEC),
    *_named(STRING, "default_sink", "default_source"),
    PacketField("cookie", U32),
    PacketField("map", MAP),
)

REQUESTS: dict[Command, PacketLayout] = {
    Command.AUTH: (PacketField("version", U32), PacketField("cookie", COOKIE)),
    Command.SET_CLIENT_NAME: (_PROPERTIES,),
    Command.CREATE_PLAYBACK_STREAM: _CREATE_PLAYBACK,
    Command.CREATE_RECORD_STREAM: _CREATE_RECORD,
    Command.GET_PLAYBACK_LATENCY: (_CHANNEL, PacketField("sent", TIMEVAL)),
    Command.GET_RECORD_LATENCY: (_CHANNEL, PacketField("sent", TIMEVAL)),
    Command.CORK_PLAYBACK_STREAM: (_CHANNEL, PacketField("corked", BOOL)),
    Command.CORK_RECORD_STREAM: (_CHANNEL, PacketField("corked", BOOL)),
    Command.SET_PLAYBACK_STREAM_NAME: (_CHANNEL, _NAME),
    Command.SET_RECORD_STREAM_NAME: (_CHANNEL, _NAME),
    Command.SET_PLAYBACK_STREAM_BUFFER_ATTR: (
        _CHANNEL,
        *_PLAYBACK_BUFFER,
        *_named(BOOL, "adjust_latency", "early_requests"),
    ),
    Command.SET_RECORD_STREAM_BUFFER_ATTR: (
        _CHANNEL,
        *_RECORD_BUFFER,
        *_named(BOOL, "adjust_latency", "early_requests"),
    ),
    Command.UPDATE_PLAYBACK_STREAM_SAMPLE_RATE: (_CHANNEL, PacketField("rate", U32)),
    Command.UPDATE_RECORD_STREAM_SAMPLE_RATE: (_CHANNEL, PacketField("rate", U32)),
    Command.UPDATE_PLAYBACK_STREAM_PROPLIST: (_CHANNEL, PacketField("mode", U32), _PROPERTIES),
    Command.UPDATE_RECORD_STREAM_PROPLIST: (_CHANNEL, PacketField("mode", U32), _PROPERTIES),
    Command.UPDATE_CLIENT_PROPLIST: (PacketField("mode", U32), _PROPERTIES),
    Command.REMOVE_PLAYBACK_STREAM_PROPLIST: (_CHANNEL, PacketField("keys", STRINGS)),
    Command.REMOVE_RECORD_STREAM_PROPLIST: (_CHANNEL, PacketField("keys", STRINGS)),
    Command.REMOVE_CLIENT_PROPLIST: (PacketField("keys", STRINGS),),
    Command.LOOKUP_SINK: (_NAME,),
    Command.LOOKUP_SOURCE: (_NAME,),
    Command.GET_SERVER_INFO: (),
    Command.GET_SINK_INFO: _INDEX_OR_NAME,
    Command.GET_SOURCE_INFO: _INDEX_OR_NAME,
    Command.GET_SINK_INFO_LIST: (),
    Command.GET_SOURCE_INFO_LIST: (),
    Command.GET_CLIENT_INFO: (_INDEX,),
    Command.GET_CLIENT_INFO_LIST: (),
    Command.GET_SINK_INPUT_INFO: (_INDEX,),
    Command.GET_SINK_INPUT_INFO_LIST: (),
    Command.GET_SOURCE_OUTPUT_INFO: (_INDEX,),
    Command.GET_SOURCE_OUTPUT_INFO_LIST: (),
    Command.SUBSCRIBE: (PacketField("mask", U32),),
    Command.SET_SINK_INPUT_VOLUME: (_INDEX, PacketField("volume", VOLUMES)),
    Command.SET_SOURCE_OUTPUT_VOLUME: (_INDEX, PacketField("volume", VOLUMES)),
    Command.SET_SINK_INPUT_MUTE: (_INDEX, PacketField("muted", BOOL)),
    Command.SET_SOURCE_OUTPUT_MUTE: (_INDEX, PacketField("muted", BOOL)),
    Command.MOVE_SINK_INPUT: (_INDEX, PacketField("device", U32), PacketField("device_name", STRING)),
} | dict.fromkeys(
    (
        Command.DELETE_PLAYBACK_STREAM,
        Command.DELETE_RECORD_STREAM,
        Command.DRAIN_PLAYBACK_STREAM,
        Command.FLUSH_PLAYBACK_STREAM,
        Command.FLUSH_RECORD_STREAM,
        Command.TRIGGER_PLAYBACK_STREAM,
        Command.PREBUF_PLAYBACK_STREAM,
    ),
    (_CHANNEL,),
)
"""The commands that a client may send, with their fields; all others are refused."""

REPLIES: dict[Command, PacketLayout] = {
    Command.AUTH: (PacketField("version", U32),),
    Command.SET_CLIENT_NAME: (_INDEX,),
    Command.CREATE_PLAYBACK_STREAM: (
        *_named(U32, "channel", "index", "missing"),
        *_PLAYBACK_BUFFER,
        *_STREAM_ANSWER,
    ),
    Command.CREATE_RECORD_STREAM: (*_named(U32, "channel", "index"), *_RECORD_BUFFER, *_STREAM_ANSWER),
    Command.GET_PLAYBACK_LATENCY: (*_LATENCY, *_named(U64, "underrun_for", "playing_for")),
    Command.GET_RECORD_LATENCY: _LATENCY,
    Command.SET_PLAYBACK_STREAM_BUFFER_ATTR: (*_PLAYBACK_BUFFER, PacketField("latency", USEC)),
    Command.SET_RECORD_STREAM_BUFFER_ATTR: (*_RECORD_BUFFER, PacketField("latency", USEC)),
    Command.LOOKUP_SINK: (_INDEX,),
    Command.LOOKUP_SOURCE: (_INDEX,),
    Command.GET_SERVER_INFO: SERVER_INFO,
    Command.GET_SINK_INFO: DEVICE,
    Command.GET_SOURCE_INFO: DEVICE,
    Command.GET_CLIENT_INFO: CLIENT,
    Command.GET_SINK_INPUT_INFO: SINK_INPUT,
    Command.GET_SOURCE_OUTPUT_INFO: SOURCE_OUTPUT,
}
"""The fields of replies; the reply to any other command is empty."""

LISTS: dict[Command, Command] = {
    Command.GET_SINK_INFO_LIST: Command.GET_SINK_INFO,
    Command.GET_SOURCE_INFO_LIST: Command.GET_SOURCE_INFO,
    Command.GET_CLIENT_INFO_LIST: Command.GET_CLIENT_INFO,
    Command.GET_SINK_INPUT_INFO_LIST: Command.GET_SINK_INPUT_INFO,
    Command.GET_SOURCE_OUTPUT_INFO_LIST: Command.GET_SOURCE_OUTPUT_INFO,
}
"""Commands whose reply is a list, and the command whose reply is one of its entries."""

NOTIFICATIONS: dict[Command, PacketLayout] = {
    Command.REQUEST: (_CHANNEL, PacketField("bytes", U32)),
    Command.OVERFLOW: (_CHANNEL,),
    Command.UNDERFLOW: (_CHANNEL, PacketField("offset", S64, 23)),
    Command.PLAYBACK_STREAM_KILLED: (_CHANNEL,),
    Command.RECORD_STREAM_KILLED: (_CHANNEL,),
    Command.SUBSCRIBE_EVENT: (PacketField("event", U32), _INDEX),
    Command.PLAYBACK_STREAM_SUSPENDED: (_CHANNEL, PacketField("suspended", BOOL)),
    Command.RECORD_STREAM_SUSPENDED: (_CHANNEL, PacketField("suspended", BOOL)),
    Command.PLAYBACK_STREAM_MOVED: (
        _CHANNEL,
        PacketField("device", U32),
        PacketField("device_name", STRING),
        PacketField("suspended", BOOL),
        *_PLAYBACK_BUFFER,
        PacketField("latency", USEC),
    ),
    Command.RECORD_STREAM_MOVED: (
        _CHANNEL,
        PacketField("device", U32),
        PacketField("device_name", STRING),
        PacketField("suspended", BOOL),
        *_RECORD_BUFFER,
        PacketField("latency", USEC),
    ),
    Command.STARTED: (_CHANNEL,),
    Command.PLAYBACK_STREAM_EVENT: (_CHANNEL, _NAME, _PROPERTIES),
    Command.RECORD_STREAM_EVENT: (_CHANNEL, _NAME, _PROPERTIES),
    Command.PLAYBACK_BUFFER_ATTR_CHANGED: (_CHANNEL, *_PLAYBACK_BUFFER, PacketField("latency", USEC)),
    Command.RECORD_BUFFER_ATTR_CHANGED: (_CHANNEL, *_RECORD_BUFFER, PacketField("latency", USEC)),
}
"""What a server sends by itself; anything else is dropped."""

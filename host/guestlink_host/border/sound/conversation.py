"""The filter of one connection between a container's program and the session's sound server. No I/O.

It understands every packet that it passes on: it reads a packet into fields, changes what must not cross, and
writes it anew. A command that is not in the lists gets one of PulseAudio's error replies: programs go on as with a
server that refuses it. Shared memory is switched off when the version is negotiated: all audio data go through the
sockets, and neither side gets a descriptor of the other.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from struct import Struct, pack
from typing import NamedTuple, Protocol

from guestlink_host.border.policies import ALLOW, ASK, DENY
from guestlink_host.border.sound.belongings import Belongings
from guestlink_host.border.sound.commands import (
    COMMAND_NAMES,
    FACILITY_BITS,
    NEWEST_VERSION,
    NONE,
    OLDEST_VERSION,
    VERSION_BITS,
    Command,
    ErrorCode,
    Facility,
)
from guestlink_host.border.sound.frames import (
    HEADER,
    BlockData,
    BlockStart,
    SoundFrameReader,
    SoundFrameWriter,
    channel_of_block,
)
from guestlink_host.border.sound.layouts import (
    LISTS,
    NOTIFICATIONS,
    REPLIES,
    REQUESTS,
    PacketLayout,
    PacketValues,
    put,
    read,
    read_all,
)
from guestlink_host.border.sound.properties import (
    application_names,
    for_client,
    for_server,
    may_set,
    of_device,
    plain_formats,
)
from guestlink_host.border.sound.tagstruct import (
    PROPERTY_COUNT_LIMIT,
    MalformedPacket,
    Properties,
    TagReader,
    put_u32,
)
from guestlink_host.names import visible_line

CLIENT_PACKET_LIMIT = 256 * 1024
"""Bytes of a client's longest packet; a property with a picture has up to 64 KiB."""
SERVER_PACKET_LIMIT = 1 << 20
"""Bytes of the server's longest packet: a list of devices."""
PENDING_PAUSE, PENDING_LIMIT = 64, 256
"""Commands of a connection without a reply: above the first number the client has to wait, and above the second its
commands fail. The server keeps the replies that are not read, and lists of devices have tens of kilobytes."""
_REMEMBERED = 1024
"""A connection's streams that have ended, whose events still reach the client."""
_NAME_LIMIT = 256

_NOTHING_THERE = frozenset(
    {Command.GET_MODULE_INFO, Command.GET_CARD_INFO, Command.GET_SAMPLE_INFO, Command.PLAY_SAMPLE}
)
"""Commands about kinds of objects that containers do not see: the answer is that there is no such object."""
_EMPTY_LISTS = frozenset({Command.GET_MODULE_INFO_LIST, Command.GET_CARD_INFO_LIST, Command.GET_SAMPLE_INFO_LIST})
_NEVER = frozenset(
    {
        *NOTIFICATIONS,
        Command.ERROR,
        Command.REPLY,
        Command.AUTH,
        Command.CLIENT_EVENT,
        Command.ENABLE_SRBCHANNEL,
        Command.DISABLE_SRBCHANNEL,
        Command.REGISTER_MEMFD_SHMID,
    }
)
"""What no client sends after authentication, because a server sends it or because shared memory is off."""
_OWNED = {
    Command.GET_CLIENT_INFO: "client",
    Command.GET_SINK_INPUT_INFO: "sink-input",
    Command.GET_SOURCE_OUTPUT_INFO: "source-output",
    Command.SET_SINK_INPUT_VOLUME: "sink-input",
    Command.SET_SINK_INPUT_MUTE: "sink-input",
    Command.MOVE_SINK_INPUT: "sink-input",
    Command.SET_SOURCE_OUTPUT_VOLUME: "source-output",
    Command.SET_SOURCE_OUTPUT_MUTE: "source-output",
}
"""Commands about one object, and its kind; only the container's own objects count."""
_SOURCES = frozenset({Command.GET_SOURCE_INFO, Command.GET_SOURCE_INFO_LIST, Command.LOOKUP_SOURCE})
_DEVICES = frozenset({Command.GET_SINK_INFO, Command.GET_SOURCE_INFO})
_OWN_FACILITIES = {Facility.SINK_INPUT: "sink-input", Facility.SOURCE_OUTPUT: "source-output"}
_SUBSCRIPTIONS = sum(1 << facility for facility in Facility)
_UPDATES = {
    Command.UPDATE_CLIENT_PROPLIST: "",
    Command.UPDATE_PLAYBACK_STREAM_PROPLIST: "sink-input",
    Command.UPDATE_RECORD_STREAM_PROPLIST: "source-output",
}
_REMOVALS = frozenset(
    {
        Command.REMOVE_CLIENT_PROPLIST,
        Command.REMOVE_PLAYBACK_STREAM_PROPLIST,
        Command.REMOVE_RECORD_STREAM_PROPLIST,
    }
)
_NAMINGS = frozenset({Command.SET_PLAYBACK_STREAM_NAME, Command.SET_RECORD_STREAM_NAME})
_DELETIONS = frozenset({Command.DELETE_PLAYBACK_STREAM, Command.DELETE_RECORD_STREAM})
_CREATIONS = {Command.CREATE_PLAYBACK_STREAM: "sink-input", Command.CREATE_RECORD_STREAM: "source-output"}
_REQUEST, _REQUEST_HEAD = Struct(">11sIcI"), b"L" + pack(">I", Command.REQUEST) + b"L" + pack(">I", NONE) + b"L"
"""The form of the notification REQUEST."""
_REQUEST_FRAME = Struct(f">{HEADER.size + 11}sIcI")
_REQUEST_FRAME_HEAD = HEADER.pack(_REQUEST.size, NONE, 0, 0, 0) + _REQUEST_HEAD
"""The same with the header of its frame."""
_DEFAULT_SOURCE = b"@DEFAULT_SOURCE@"


class SoundRules(Protocol):
    """What a conversation asks its surroundings."""

    container: str
    """The container's name."""

    def sound(self) -> bool:
        """Whether the container may use the sound server at all."""

    def microphone(self) -> str:
        """The policy in force: ``allow``, ``deny``, or ``ask`` if the user has to be asked first."""

    def ask(self) -> None:
        """Ask the user; :meth:`Conversation.answered` gets the answer."""

    def refused(self, what: str, key: str) -> None:
        """A command was refused.

        :param what: what the container wanted to do.
        :param key: the policy that would allow it; ``""`` if none does.
        """


class _Pending(NamedTuple):
    """A command that the server has not answered.

    :ivar tag: the client's tag; ``None`` for a command of our own.
    :ivar done: for a command of our own, is called with the reply, or with ``None`` if the server refuses.
    """

    command: Command
    tag: int | None
    done: Callable[[PacketValues | None], None] | None = None


class Conversation:
    """One connection.

    :param rules: decide about the microphone.
    :param belongings: the container's objects at this server.
    :param cookie: returns what proves to the server that we are its user; the client's own is ignored.
    :ivar to_server: what to send to the server; ``to_client`` likewise.
    """

    def __init__(self, rules: SoundRules, belongings: Belongings, cookie: Callable[[], bytes]) -> None:
        self.to_server = SoundFrameWriter()
        self.to_client = SoundFrameWriter()
        self._rules = rules
        self._belongings = belongings
        self._cookie = cookie
        self._client_frames = SoundFrameReader(CLIENT_PACKET_LIMIT)
        self._server_frames = SoundFrameReader(SERVER_PACKET_LIMIT)
        self._block_passes = {"client": False, "server": False}
        self._sent_version = 0
        self._version = 0
        self._tags = itertools.count()
        self._pending: dict[int, _Pending] = {}
        self._playing: set[int] = set()
        self._recording: set[int] = set()
        self._moved: set[int] = set()
        self._streams = 0
        self._held: list[tuple[int, PacketValues]] = []
        self._client_properties: Properties = {}
        self._objects: deque[tuple[str, int]] = deque()

    @property
    def pending(self) -> int:
        """Commands that the server has not answered."""
        return len(self._pending)

    def from_client(self, data: bytes) -> int:
        """Process bytes of the client.

        :returns: how many commands they completed.
        :raises MalformedPacket: they break the protocol; the connection has to be closed.
        """
        commands = 0
        for event in self._client_frames.feed(data):
            if isinstance(event, bytes):
                commands += 1
                self._request(event)
            elif isinstance(event, BlockStart):
                self._begin_block("client", event, event.channel in self._playing)
            else:
                self._pass_data("client", event)
        return commands

    def from_server(self, data: bytes) -> None:
        """Process bytes of the server; raises as :meth:`from_client` does."""
        for event in self._server_frames.feed(data):
            if isinstance(event, bytes):
                self._message(event)
            elif isinstance(event, BlockStart):
                self._begin_block("server", event, event.channel in self._recording - self._moved)
            else:
                self._pass_data("server", event)

    def passes_to_server(self, data: bytes) -> bool:
        """Whether the client has sent one block of a stream that it plays, at a time when it can be sent as it is.

        Then nothing else is to be done. This and :meth:`passes_to_client` are for most of what crosses while a
        program plays: they check the same as :meth:`from_client`, with a third of the work.
        """
        return (
            channel_of_block(data) in self._playing
            and self._client_frames.is_between_frames
            and not self.to_server.pieces
        )

    def passes_to_client(self, data: bytes) -> bool:
        """Whether the server has sent one REQUEST for a stream of the client, which can be sent as it is."""
        if len(data) != _REQUEST_FRAME.size:
            return False
        head, channel, tag, _ = _REQUEST_FRAME.unpack(data)
        return (
            head == _REQUEST_FRAME_HEAD
            and tag == b"L"
            and channel in self._playing
            and self._server_frames.is_between_frames
            and not self.to_client.pieces
        )

    def answered(self, allowed: bool) -> None:
        """The user has answered whether the container may record."""
        held, self._held = self._held, []
        for tag, values in held:
            if allowed and self._rules.microphone() == ALLOW:
                self._find_source(tag, values)
            else:
                self._end_stream()
                self._error(tag, ErrorCode.ACCESS)

    def end_recording(self) -> bool:
        """Stop every recording, because the policy has changed.

        :returns: whether the server has been asked; if not, because the client has not completed a block, the
            connection has to be closed.
        """
        self.answered(False)
        channels = tuple(self._recording)
        for channel in channels:
            self._kill_recording(channel)
        return not (channels and self.to_server.waiting)

    def close(self) -> None:
        """The connection has closed, and so the server has removed its objects."""
        for _ in range(self._streams):
            self._belongings.give_stream()
        self._streams = 0
        for kind, index in self._objects:
            self._belongings.discard(kind, index)
        self._objects.clear()

    # -- audio data ------------------------------------------------------------------------------------------------

    def _begin_block(self, sender: str, block: BlockStart, passes: bool) -> None:
        self._block_passes[sender] = passes
        if passes:
            (self.to_server if sender == "client" else self.to_client).block(block.header)

    def _pass_data(self, sender: str, part: BlockData) -> None:
        if self._block_passes[sender]:
            (self.to_server if sender == "client" else self.to_client).data(part)

    # -- commands of the client ------------------------------------------------------------------------------------

    def _request(self, payload: bytes) -> None:
        reader = TagReader(payload, PROPERTY_COUNT_LIMIT)
        number, tag = reader.u32(), reader.u32()
        command = COMMAND_NAMES.get(number)
        if not self._version:
            if command is not Command.AUTH or self._sent_version:
                raise MalformedPacket(f"the command {number} before authentication")
            self._authenticate(tag, read_all(REQUESTS[command], 0, reader))
            return
        if command in _NEVER:
            raise MalformedPacket(f"the command {number} of a client")
        if command is None:
            self._error(tag, ErrorCode.COMMAND)
            return
        layout = REQUESTS.get(command)
        if layout is None:
            self._refuse(command, tag)
            return
        values = read_all(layout, self._version, reader)
        if len(self._pending) >= PENDING_LIMIT:
            self._error(tag, ErrorCode.BUSY)
        elif command is Command.CREATE_PLAYBACK_STREAM:
            self._create_playback(tag, values)
        elif command is Command.CREATE_RECORD_STREAM:
            self._create_record(tag, values)
        elif "channel" in values:
            self._stream_command(command, tag, values)
        else:
            self._plain_command(command, tag, values)

    def _authenticate(self, tag: int, values: PacketValues) -> None:
        version = values["version"] & VERSION_BITS
        if version < OLDEST_VERSION:
            self._error(tag, ErrorCode.VERSION)
            return
        if not self._rules.sound():
            self._deny(tag, "use the sound server", "sound")
            return
        self._sent_version = min(version, NEWEST_VERSION)
        self._forward(Command.AUTH, tag, {"version": self._sent_version, "cookie": self._cookie()})

    def _refuse(self, command: Command, tag: int) -> None:
        """Answer a command that no container may send."""
        if command in _NOTHING_THERE:
            self._error(tag, ErrorCode.NOENTITY)
        elif command in _EMPTY_LISTS:
            self._reply(tag)
        elif command is Command.EXTENSION:
            self._error(tag, ErrorCode.NOEXTENSION)
        else:
            self._deny(tag, f"send {command.name} to the sound server")

    def _deny(self, tag: int, what: str, key: str = "") -> None:
        self._rules.refused(what, key)
        self._error(tag, ErrorCode.ACCESS)

    def _create_playback(self, tag: int, values: PacketValues) -> None:
        formats = plain_formats(values["formats"])
        if values["formats"] and not formats:
            self._error(tag, ErrorCode.NOTSUPPORTED)
        elif not self._begin_stream():
            self._error(tag, ErrorCode.TOOLARGE)
        else:
            properties = self._stream_properties(values["properties"], "sink-input")
            # The host's user may move every stream.
            values.update(formats=formats, passthrough=False, no_move=False, properties=properties)
            if values["device"] == NONE and values["device_name"] is None:
                self._forward(Command.CREATE_PLAYBACK_STREAM, tag, values)
            else:
                self._find_sink(tag, values)

    def _find_sink(self, tag: int, wanted: PacketValues) -> None:
        """Ask the server which sink the client means: PipeWire would also play into other programs' streams."""

        def found(sink: PacketValues | None) -> None:
            if sink is None:
                self._end_stream()
                self._error(tag, ErrorCode.NOENTITY)
            else:
                self._forward(Command.CREATE_PLAYBACK_STREAM, tag, wanted | _exactly(sink))

        query = {"index": wanted["device"], "name": wanted["device_name"]}
        self._forward(Command.GET_SINK_INFO, None, query, found)

    def _create_record(self, tag: int, values: PacketValues) -> None:
        policy = self._rules.microphone()
        formats = plain_formats(values["formats"])
        if policy == DENY:
            self._deny(tag, "record", "microphone")
        elif values["direct_on_input"] != NONE:
            self._deny(tag, "record what another program plays")
        elif values["formats"] and not formats:
            self._error(tag, ErrorCode.NOTSUPPORTED)
        elif not self._begin_stream():
            self._error(tag, ErrorCode.TOOLARGE)
        else:
            properties = self._stream_properties(values["properties"], "source-output")
            values.update(formats=formats, passthrough=False, properties=properties)
            # A stream that moved could end on a monitor, which has what other programs play.
            values["no_move"] = True
            if policy == ASK:
                self._held.append((tag, values))
                self._rules.ask()
            else:
                self._find_source(tag, values)

    def _find_source(self, tag: int, wanted: PacketValues) -> None:
        """Ask the server which source the client means, and record from that one if it is no monitor."""
        index, name = wanted["device"], wanted["device_name"]
        query = {"index": index, "name": _DEFAULT_SOURCE if name is None and index == NONE else name}

        def found(source: PacketValues | None) -> None:
            if source is None:
                self._end_stream()
                self._error(tag, ErrorCode.NOENTITY)
            elif source["monitor"] != NONE:
                self._end_stream()
                self._deny(tag, "record what the host plays")
            elif self._rules.microphone() != ALLOW:
                self._end_stream()
                self._deny(tag, "record", "microphone")
            else:
                self._forward(Command.CREATE_RECORD_STREAM, tag, wanted | _exactly(source))

        self._forward(Command.GET_SOURCE_INFO, None, query, found)

    def _stream_properties(self, sent: Properties, kind: str) -> Properties:
        return for_server(sent, self._rules.container, kind, self._client_properties)

    def _stream_command(self, command: Command, tag: int, values: PacketValues) -> None:
        streams = self._recording if "RECORD" in command.name else self._playing
        channel = values["channel"]
        if channel not in streams:
            self._error(tag, ErrorCode.NOENTITY)
            return
        if command in _UPDATES:
            values["properties"] = self._stream_properties(values["properties"], _UPDATES[command])
        elif command in _REMOVALS:
            values["keys"] = [key for key in values["keys"] if may_set(key)]
        elif command in _NAMINGS:
            text = (values["name"] or b"").decode(errors="ignore")
            values["name"] = visible_line(text, _NAME_LIMIT).encode()
        elif command in _DELETIONS:
            streams.discard(channel)
        self._forward(command, tag, values)

    def _plain_command(self, command: Command, tag: int, values: PacketValues) -> None:
        if command in _SOURCES and self._rules.microphone() == DENY:
            if command in LISTS:
                self._reply(tag)
            else:
                self._error(tag, ErrorCode.NOENTITY)
            return
        kind = _OWNED.get(command)
        if kind is not None and not self._belongings.has(kind, values["index"]):
            if command in REPLIES:
                self._error(tag, ErrorCode.NOENTITY)
            else:
                self._deny(tag, f"send {command.name} for another program's stream")
            return
        if command is Command.SET_CLIENT_NAME:
            self._client_properties = application_names(values["properties"])
            values["properties"] = for_server(values["properties"], self._rules.container)
        elif command is Command.UPDATE_CLIENT_PROPLIST:
            values["properties"] = for_server(values["properties"], self._rules.container)
        elif command in _REMOVALS:
            values["keys"] = [key for key in values["keys"] if may_set(key)]
        elif command is Command.SUBSCRIBE:
            values["mask"] &= _SUBSCRIPTIONS
        self._forward(command, tag, values)

    # -- the server's answers --------------------------------------------------------------------------------------

    def _message(self, payload: bytes) -> None:
        if len(payload) == _REQUEST.size and self._version:
            # Most messages ask for more audio data. These have one form, which is compared byte by byte.
            head, channel, tag, _ = _REQUEST.unpack(payload)
            if head == _REQUEST_HEAD and tag == b"L":
                if channel in self._playing:
                    self.to_client.packet(payload)
                return
        reader = TagReader(payload)
        number, tag = reader.u32(), reader.u32()
        command = COMMAND_NAMES.get(number)
        if command in (Command.REPLY, Command.ERROR):
            pending = self._pending.pop(tag, None)
            if pending is None:
                raise MalformedPacket(f"a reply to the tag {tag}, which no command has")
            if command is Command.ERROR:
                self._failed(pending, reader.u32())
            else:
                self._succeeded(pending, reader)
        elif command is not None and self._version and (layout := NOTIFICATIONS.get(command)):
            self._notification(command, read_all(layout, self._version, reader))

    def _failed(self, pending: _Pending, code: int) -> None:
        if pending.command in _CREATIONS or pending.command in _DELETIONS:
            self._end_stream()
        if pending.done is not None:
            pending.done(None)
        if pending.tag is not None:
            self._error(pending.tag, code)

    def _succeeded(self, pending: _Pending, reader: TagReader) -> None:
        command, tag = pending.command, pending.tag
        if command in LISTS:
            if tag is not None:
                self._list(LISTS[command], tag, reader)
            return
        layout = REPLIES.get(command, ())
        values = read_all(layout, self._version, reader)
        if command is Command.AUTH:
            self._authenticated(values)
        elif command in _CREATIONS:
            if not self._created(command, tag, values):
                return
        elif command in _DELETIONS:
            self._end_stream()
        elif command is Command.SET_CLIENT_NAME:
            self._remember("client", values["index"])
        elif command is Command.GET_SERVER_INFO:
            self._trim_server(values)
        if pending.done is not None:
            pending.done(values)
        if tag is None:
            return
        if command in LISTS.values() and not self._trim(command, values):
            self._error(tag, ErrorCode.NOENTITY)
            return
        self._reply(tag, layout, values)

    def _authenticated(self, values: PacketValues) -> None:
        version = values["version"] & VERSION_BITS
        if version < OLDEST_VERSION:
            raise MalformedPacket(f"the server speaks version {version}, older than {OLDEST_VERSION}")
        self._version = min(version, self._sent_version)
        values["version"] = min(version, NEWEST_VERSION)

    def _created(self, command: Command, tag: int | None, values: PacketValues) -> bool:
        """A stream exists; returns whether the client may have it."""
        self._remember(_CREATIONS[command], values["index"])
        if command is Command.CREATE_PLAYBACK_STREAM:
            self._playing.add(values["channel"])
            return True
        if self._rules.microphone() == ALLOW:
            self._recording.add(values["channel"])
            return True
        self._end_recording_stream(values["channel"])
        if tag is not None:
            self._deny(tag, "record", "microphone")
        return False

    def _end_recording_stream(self, channel: int) -> None:
        self._forward(Command.DELETE_RECORD_STREAM, None, {"channel": channel})

    def _list(self, command: Command, tag: int, reader: TagReader) -> None:
        out = bytearray()
        while not reader.at_end:
            values = read(REPLIES[command], self._version, reader)
            if self._trim(command, values):
                put(REPLIES[command], self._version, out, values)
        self._reply(tag, entries=out)

    def _trim(self, command: Command, values: PacketValues) -> bool:
        """Remove what a container must not see of an object; returns whether it may see the object at all."""
        if command in _DEVICES:
            if command is Command.GET_SOURCE_INFO and (
                values["monitor"] != NONE or self._rules.microphone() == DENY
            ):
                return False
            values.update(module=NONE, card=NONE, monitor=NONE)
            values["properties"] = of_device(values["properties"])
            return True
        values.update(module=NONE, properties=for_client(values["properties"]))
        return self._belongings.has(_OWNED[command], values["index"])

    def _trim_server(self, values: PacketValues) -> None:
        values.update(user=b"guestlink", host=self._rules.container.encode(), cookie=0)
        source = values["default_source"]
        if self._rules.microphone() == DENY or (source is not None and source.endswith(b".monitor")):
            # Some programs crash without a name (SDL 2.26). PipeWire sends this one if there is no source.
            values["default_source"] = _DEFAULT_SOURCE

    def _notification(self, command: Command, values: PacketValues) -> None:
        if command is Command.SUBSCRIBE_EVENT:
            if not self._may_see(values):
                return
        else:
            streams = self._recording if "RECORD" in command.name else self._playing
            channel = values["channel"]
            if channel not in streams:
                return
            if command in (Command.PLAYBACK_STREAM_KILLED, Command.RECORD_STREAM_KILLED):
                streams.discard(channel)
                self._end_stream()
            elif command is Command.RECORD_STREAM_MOVED:
                self._check_moved(channel, values["device"])
            elif "properties" in values:
                values["properties"] = {}
        out = bytearray()
        put_u32(out, command)
        put_u32(out, NONE)
        put(NOTIFICATIONS[command], self._version, out, values)
        self.to_client.packet(out)

    def _check_moved(self, channel: int, device: int) -> None:
        """A recording stream has another source: pass nothing on until it is known to be no monitor."""
        self._moved.add(channel)

        def found(source: PacketValues | None) -> None:
            self._moved.discard(channel)
            if channel in self._recording and (source is None or source["monitor"] != NONE):
                self._rules.refused("record what the host plays", "")
                self._kill_recording(channel)

        self._forward(Command.GET_SOURCE_INFO, None, {"index": device, "name": None}, found)

    def _kill_recording(self, channel: int) -> None:
        """End a recording stream at the server, and let the client know."""
        self._recording.discard(channel)
        self._end_recording_stream(channel)
        killed = bytearray()
        put_u32(killed, Command.RECORD_STREAM_KILLED)
        put_u32(killed, NONE)
        put_u32(killed, channel)
        self.to_client.packet(killed)

    def _may_see(self, event: PacketValues) -> bool:
        facility = event["event"] & FACILITY_BITS
        kind = _OWN_FACILITIES.get(facility)
        if kind is not None:
            return self._belongings.has(kind, event["index"])
        if facility == Facility.SOURCE:
            return self._rules.microphone() != DENY
        return facility in (Facility.SINK, Facility.SERVER)

    # -- bookkeeping -----------------------------------------------------------------------------------------------

    def _begin_stream(self) -> bool:
        taken = self._belongings.take_stream()
        self._streams += taken
        return taken

    def _end_stream(self) -> None:
        if self._streams:
            self._streams -= 1
            self._belongings.give_stream()

    def _remember(self, kind: str, index: int) -> None:
        self._belongings.add(kind, index)
        self._objects.append((kind, index))
        if len(self._objects) > _REMEMBERED:
            self._belongings.discard(*self._objects.popleft())

    def _forward(
        self,
        command: Command,
        tag: int | None,
        values: PacketValues,
        done: Callable[[PacketValues | None], None] | None = None,
    ) -> None:
        """Send a command to the server under a tag of our own."""
        number = next(self._tags) % NONE
        self._pending[number] = _Pending(command, tag, done)
        out = bytearray()
        put_u32(out, command)
        put_u32(out, number)
        put(REQUESTS[command], self._version, out, values)
        self.to_server.packet(out)

    def _reply(
        self,
        tag: int,
        layout: PacketLayout = (),
        values: PacketValues | None = None,
        *,
        entries: bytes | bytearray = b"",
    ) -> None:
        out = bytearray()
        put_u32(out, Command.REPLY)
        put_u32(out, tag)
        put(layout, self._version, out, values or {})
        self.to_client.packet(out + entries)

    def _error(self, tag: int, code: int) -> None:
        out = bytearray()
        put_u32(out, Command.ERROR)
        put_u32(out, tag)
        put_u32(out, code)
        self.to_client.packet(out)


def _exactly(device: PacketValues) -> PacketValues:
    """The fields of a stream that name this device."""
    return {"device": device["index"], "device_name": None}

"""The core of the sound filter, with a server that the test plays."""

from __future__ import annotations

from typing import Any

import pytest

from guestlink_host.border.policies import ALLOW, ASK, DENY
from guestlink_host.border.sound.belongings import Belongings
from guestlink_host.border.sound.commands import NONE, Command, ErrorCode
from guestlink_host.border.sound.conversation import PENDING_LIMIT, Conversation
from guestlink_host.border.sound.frames import HEADER, SoundFrameReader, packet_frame
from guestlink_host.border.sound.layouts import NOTIFICATIONS, REPLIES, REQUESTS, PacketValues, put, read_all
from guestlink_host.border.sound.tagstruct import FormatInfo, MalformedPacket, TagReader
from support.raw_pulse import PLAYBACK, RECORD, SPEC, numbers

FORMAT = FormatInfo(1, {})
STREAM_ANSWER: PacketValues = {
    "spec": SPEC, "map": b"\1\2", "device": 0, "device_name": b"x", "suspended": False, "latency": 0,
    "format": FORMAT, "missing": 4096, "maxlength": 1, "tlength": 1, "prebuf": 1, "minreq": 1, "fragsize": 1,
}  # fmt: skip
SOURCE: PacketValues = {
    "index": 4, "name": b"mic", "description": b"", "spec": SPEC, "map": b"\1\2", "module": 1, "volume": bytes(8),
    "muted": False, "monitor": NONE, "monitor_name": None, "latency": 0, "driver": b"", "flags": 0,
    "properties": {}, "requested_latency": 0, "base_volume": 0, "state": 0, "volume_steps": 0, "card": 3,
    "ports": [], "active_port": None, "formats": [],
}  # fmt: skip


class Rules:
    """Policies that a test sets, and what the filter did with them."""

    container = "demo"

    def __init__(self) -> None:
        self.policy = DENY
        self.allows_sound = True
        self.questions = 0
        self.refusals: list[tuple[str, str]] = []

    def sound(self) -> bool:
        return self.allows_sound

    def microphone(self) -> str:
        return self.policy

    def ask(self) -> None:
        self.questions += 1

    def refused(self, what: str, key: str) -> None:
        self.refusals.append((what, key))


class Talk:
    """Both ends of a conversation."""

    def __init__(self, version: int = 35, server_version: int = 35, belongings: Belongings | None = None) -> None:
        self.rules = Rules()
        self.belongings = belongings or Belongings()
        self.core = Conversation(self.rules, self.belongings, lambda: b"c" * 256)
        self._server, self._client = SoundFrameReader(1 << 20), SoundFrameReader(1 << 20)
        self._tag = 100
        self.version = 0
        self.ask(Command.AUTH, version=version | 0xC0000000, cookie=bytes(256))
        command, tag, values = self.at_server()
        assert (command, values) == (Command.AUTH, {"version": min(version, 35), "cookie": b"c" * 256})
        self.reply(Command.AUTH, tag, version=server_version | 0xC0000000)
        self.version = min(version, server_version)
        _, _, reader = self.at_client()
        assert reader.u32() == min(server_version, 35)

    def ask(self, command: Command, **values: Any) -> int:
        """Send a command as the client; returns its tag."""
        self._tag += 1
        body = bytearray(numbers(command, self._tag))
        put(REQUESTS[command], self.version, body, values)
        self.core.from_client(packet_frame(body))
        return self._tag

    def at_server(self) -> tuple[Command, int, PacketValues]:
        """The only packet that has arrived at the server."""
        packets = [event for piece in self.core.to_server.take() for event in self._server.feed(bytes(piece))]
        (packet,) = packets
        assert isinstance(packet, bytes)
        reader = TagReader(packet)
        command, tag = Command(reader.u32()), reader.u32()
        return command, tag, read_all(REQUESTS[command], self.version, reader)

    def nothing_at_server(self) -> bool:
        return not self.core.to_server.take()

    def at_client(self) -> tuple[Command, int, TagReader]:
        """The only packet that has arrived at the client."""
        packets = [event for piece in self.core.to_client.take() for event in self._client.feed(bytes(piece))]
        (packet,) = packets
        assert isinstance(packet, bytes)
        reader = TagReader(packet)
        return Command(reader.u32()), reader.u32(), reader

    def error(self, tag: int) -> int:
        """The code of the error reply that has arrived at the client."""
        command, answered, reader = self.at_client()
        assert (command, answered) == (Command.ERROR, tag)
        return reader.u32()

    def reply(self, command: Command, tag: int, **values: Any) -> None:
        """Reply as the server."""
        body = bytearray(numbers(Command.REPLY, tag))
        put(REPLIES.get(command, ()), self.version, body, values)
        self.core.from_server(packet_frame(body))

    def fail(self, tag: int, code: int) -> None:
        """Refuse as the server."""
        self.core.from_server(packet_frame(numbers(Command.ERROR, tag, code)))

    def notify(self, command: Command, **values: Any) -> None:
        """Send a notification as the server."""
        body = bytearray(numbers(command, NONE))
        put(NOTIFICATIONS[command], self.version, body, values)
        self.core.from_server(packet_frame(body))

    def play(self, channel: int = 0, index: int = 9) -> None:
        """Create a playback stream."""
        self.ask(Command.CREATE_PLAYBACK_STREAM, **PLAYBACK)
        _, tag, _ = self.at_server()
        self.reply(Command.CREATE_PLAYBACK_STREAM, tag, channel=channel, index=index, **STREAM_ANSWER)
        self.core.to_client.take()

    def record(self, channel: int = 0, index: int = 8) -> None:
        """Create a recording stream."""
        self.ask(Command.CREATE_RECORD_STREAM, **RECORD)
        command, tag, _ = self.at_server()
        assert command is Command.GET_SOURCE_INFO
        self.reply(command, tag, **SOURCE)
        command, tag, values = self.at_server()
        assert (command, values["device"], values["device_name"]) == (Command.CREATE_RECORD_STREAM, 4, None)
        assert values["no_move"]
        self.reply(command, tag, channel=channel, index=index, **STREAM_ANSWER)
        self.core.to_client.take()


def test_a_conversation_is_the_same_wherever_it_is_cut() -> None:
    auth = bytearray(numbers(Command.AUTH, 1))
    put(REQUESTS[Command.AUTH], 0, auth, {"version": 35, "cookie": bytes(256)})
    create = bytearray(numbers(Command.CREATE_PLAYBACK_STREAM, 2))
    put(REQUESTS[Command.CREATE_PLAYBACK_STREAM], 35, create, PLAYBACK)
    created = bytearray(numbers(Command.REPLY, 1))
    put(REPLIES[Command.CREATE_PLAYBACK_STREAM], 35, created, STREAM_ANSWER | {"channel": 0, "index": 9})
    block = HEADER.pack(6, 0, 0, 0, 0) + b"sounds"
    client = [
        packet_frame(auth),
        packet_frame(create) + packet_frame(numbers(Command.LOAD_MODULE, 3)),
        block
        + packet_frame(numbers(Command.CORK_PLAYBACK_STREAM, 4, 0) + b"1")
        + HEADER.pack(3, 5, 0, 0, 0)
        + b"bad",
    ]
    server = [
        packet_frame(numbers(Command.REPLY, 0, 35)),
        packet_frame(created) + packet_frame(numbers(Command.REQUEST, NONE, 0, 4096)),
        packet_frame(numbers(Command.REPLY, 2)) + HEADER.pack(3, 0, 0, 0, 0) + b"bad",
    ]

    def outcome(step: int) -> tuple[bytes, bytes]:
        core = Conversation(Rules(), Belongings(), lambda: bytes(256))
        for asked, answered in zip(client, server, strict=True):
            for data, feed in ((asked, core.from_client), (answered, core.from_server)):
                for start in range(0, len(data), step):
                    feed(data[start : start + step])
        return b"".join(core.to_server.take()), b"".join(core.to_client.take())

    whole = outcome(1 << 20)
    assert block in whole[0]
    assert b"bad" not in whole[0] + whole[1]
    assert packet_frame(numbers(Command.ERROR, 3, ErrorCode.ACCESS)) in whole[1]
    for step in range(1, 40):
        assert outcome(step) == whole


@pytest.mark.parametrize(("client", "server"), [(35, 35), (22, 35), (35, 22), (30, 33), (99, 99)])
def test_the_version_is_the_lowest_of_three(client: int, server: int) -> None:
    talk = Talk(client, server)
    talk.version = min(client, server, 35)
    talk.play()


def test_versions_before_22_are_refused() -> None:
    rules = Rules()
    core = Conversation(rules, Belongings(), lambda: bytes(256))
    body = bytearray(numbers(Command.AUTH, 5))
    put(REQUESTS[Command.AUTH], 0, body, {"version": 21, "cookie": bytes(256)})
    core.from_client(packet_frame(body))
    assert b"".join(core.to_client.take()) == packet_frame(numbers(Command.ERROR, 5, ErrorCode.VERSION))
    with pytest.raises(MalformedPacket):
        Talk(35, 21)


def test_nothing_is_served_before_authentication_and_it_happens_once() -> None:
    core = Conversation(Rules(), Belongings(), lambda: bytes(256))
    with pytest.raises(MalformedPacket):
        core.from_client(packet_frame(numbers(Command.GET_SERVER_INFO, 1)))
    with pytest.raises(MalformedPacket):
        Talk().ask(Command.AUTH, version=35, cookie=bytes(256))


def test_a_container_without_sound_reaches_no_server() -> None:
    rules = Rules()
    rules.allows_sound = False
    core = Conversation(rules, Belongings(), lambda: bytes(256))
    body = bytearray(numbers(Command.AUTH, 5))
    put(REQUESTS[Command.AUTH], 0, body, {"version": 35, "cookie": bytes(256)})
    core.from_client(packet_frame(body))
    assert core.to_server.take() == []
    assert rules.refusals == [("use the sound server", "sound")]


def test_audio_data_pass_for_streams_that_exist() -> None:
    talk = Talk()
    data = HEADER.pack(4, 0, 0, 0, 0) + b"data"
    talk.core.from_client(data)
    assert talk.nothing_at_server()
    talk.play(channel=0)
    talk.core.from_client(data)
    assert b"".join(talk.core.to_server.take()) == data
    talk.ask(Command.DELETE_PLAYBACK_STREAM, channel=0)
    talk.core.to_server.take()
    talk.core.from_client(data)
    assert talk.nothing_at_server()


def test_another_encoding_than_pcm_does_not_take_the_device_for_itself() -> None:
    talk = Talk()
    tag = talk.ask(Command.CREATE_PLAYBACK_STREAM, **PLAYBACK | {"formats": [FormatInfo(2, {})]})
    assert talk.error(tag) == ErrorCode.NOTSUPPORTED
    formats = [FormatInfo(2, {}), FormatInfo(1, {b"format.rate": b"48000\0", b"evil": b"x"})]
    talk.ask(Command.CREATE_PLAYBACK_STREAM, **PLAYBACK | {"formats": formats, "passthrough": True})
    _, _, values = talk.at_server()
    assert values["formats"] == [FormatInfo(1, {b"format.rate": b"48000\0"})]
    assert not values["passthrough"]


def test_recording_waits_for_the_user_and_for_the_name_of_the_source() -> None:
    talk = Talk()
    talk.rules.policy = ASK
    tag = talk.ask(Command.CREATE_RECORD_STREAM, **RECORD)
    assert talk.nothing_at_server()
    assert talk.rules.questions == 1
    talk.core.answered(False)
    assert talk.error(tag) == ErrorCode.ACCESS
    tag = talk.ask(Command.CREATE_RECORD_STREAM, **RECORD)
    talk.rules.policy = ALLOW
    talk.core.answered(True)
    command, number, values = talk.at_server()
    assert (command, values) == (Command.GET_SOURCE_INFO, {"index": NONE, "name": b"@DEFAULT_SOURCE@"})
    talk.reply(command, number, **SOURCE | {"monitor": 3})
    assert talk.error(tag) == ErrorCode.ACCESS
    assert talk.nothing_at_server()
    assert talk.belongings.streams == 0


@pytest.mark.parametrize("when", ["source", "stream"])
def test_a_policy_that_changes_meanwhile_ends_what_was_allowed(when: str) -> None:
    talk = Talk()
    talk.rules.policy = ALLOW
    tag = talk.ask(Command.CREATE_RECORD_STREAM, **RECORD)
    command, number, _ = talk.at_server()
    if when == "source":
        talk.rules.policy = DENY
        talk.reply(command, number, **SOURCE)
        assert talk.nothing_at_server()
    else:
        talk.reply(command, number, **SOURCE)
        command, number, _ = talk.at_server()
        talk.rules.policy = DENY
        talk.reply(command, number, channel=5, index=8, **STREAM_ANSWER)
        command, number, values = talk.at_server()
        assert (command, values) == (Command.DELETE_RECORD_STREAM, {"channel": 5})
        talk.core.from_server(HEADER.pack(4, 5, 0, 0, 0) + b"data")
        talk.reply(command, number)
    assert talk.error(tag) == ErrorCode.ACCESS
    assert talk.belongings.streams == 0


def test_a_recording_that_moves_passes_nothing_until_its_source_is_known() -> None:
    talk = Talk()
    talk.rules.policy = ALLOW
    talk.record()
    data = HEADER.pack(4, 0, 0, 0, 0) + b"data"
    moved = {key: STREAM_ANSWER[key] for key in ("device_name", "suspended", "maxlength", "fragsize", "latency")}
    for monitor in (NONE, 3):
        talk.core.from_server(data)
        assert b"".join(talk.core.to_client.take()) == data
        talk.notify(Command.RECORD_STREAM_MOVED, channel=0, device=6, **moved)
        talk.core.to_client.take()
        talk.core.from_server(data)
        assert talk.core.to_client.take() == []
        command, number, values = talk.at_server()
        assert (command, values["index"]) == (Command.GET_SOURCE_INFO, 6)
        talk.reply(command, number, **SOURCE | {"monitor": monitor})
    assert talk.at_client()[0] is Command.RECORD_STREAM_KILLED
    assert talk.at_server()[0] is Command.DELETE_RECORD_STREAM


def test_a_recording_ends_although_the_client_does_not_complete_a_block() -> None:
    talk = Talk()
    talk.rules.policy = ALLOW
    talk.play(channel=0)
    talk.record(channel=0)
    assert talk.core.end_recording()
    assert talk.at_server()[0] is Command.DELETE_RECORD_STREAM
    talk.record(channel=1)
    talk.core.from_client(HEADER.pack(100, 0, 0, 0, 0) + b"data")
    assert not talk.core.end_recording()


def test_a_sink_is_one_of_the_servers_before_a_stream_plays_on_it() -> None:
    talk = Talk()
    for known in (True, False):
        tag = talk.ask(Command.CREATE_PLAYBACK_STREAM, **PLAYBACK | {"device_name": b"x", "no_move": True})
        command, number, values = talk.at_server()
        assert (command, values) == (Command.GET_SINK_INFO, {"index": NONE, "name": b"x"})
        if known:
            talk.reply(command, number, **SOURCE | {"index": 6})
            _, _, values = talk.at_server()
            assert (values["device"], values["device_name"], values["no_move"]) == (6, None, False)
        else:
            talk.fail(number, ErrorCode.INVALID)
            assert talk.error(tag) == ErrorCode.NOENTITY
    assert talk.belongings.streams == 1


def test_a_stream_counts_until_it_has_ended_however_it_ends() -> None:
    talk = Talk()
    for index in range(5):
        talk.play(channel=index, index=index)
    talk.ask(Command.DELETE_PLAYBACK_STREAM, channel=0)
    talk.reply(Command.DELETE_PLAYBACK_STREAM, talk.at_server()[1])
    talk.ask(Command.DELETE_PLAYBACK_STREAM, channel=1)
    number = talk.at_server()[1]
    talk.notify(Command.PLAYBACK_STREAM_KILLED, channel=1)  # it crosses with the deletion
    talk.fail(number, ErrorCode.NOENTITY)
    talk.notify(Command.PLAYBACK_STREAM_KILLED, channel=2)
    talk.ask(Command.CREATE_PLAYBACK_STREAM, **PLAYBACK)
    talk.fail(talk.at_server()[1], ErrorCode.NOENTITY)
    assert talk.belongings.streams == 2
    assert talk.belongings.has("sink-input", 0)  # its end is still an event
    talk.core.close()
    assert talk.belongings.streams == 0
    assert not talk.belongings.has("sink-input", 0)


def test_one_containers_streams_are_its_own_on_all_its_connections() -> None:
    belongings = Belongings()
    one, other, foreign = Talk(belongings=belongings), Talk(belongings=belongings), Talk()
    one.play(index=9)
    for talk, reaches in ((other, True), (foreign, False)):
        tag = talk.ask(Command.SET_SINK_INPUT_MUTE, index=9, muted=True)
        if reaches:
            assert talk.at_server()[0] is Command.SET_SINK_INPUT_MUTE
        else:
            assert talk.nothing_at_server()
            assert talk.error(tag) == ErrorCode.ACCESS


def test_commands_without_a_reply_are_bounded() -> None:
    talk = Talk()
    for _ in range(PENDING_LIMIT):
        talk.ask(Command.GET_SERVER_INFO)
    talk.core.to_server.take()
    tag = talk.ask(Command.GET_SERVER_INFO)
    assert talk.nothing_at_server()
    assert talk.error(tag) == ErrorCode.BUSY


def test_tags_of_the_client_are_free() -> None:
    """Two commands with one tag are two commands; so a client cannot take another one's reply for its own."""
    talk = Talk()
    for _ in range(2):
        talk.core.from_client(packet_frame(numbers(Command.GET_SERVER_INFO, NONE)))
    packets = b"".join(talk.core.to_server.take())
    tags = [
        TagReader(event).take(10)[6:] for event in SoundFrameReader(100).feed(packets) if isinstance(event, bytes)
    ]
    assert len(set(tags)) == 2


def test_what_a_server_sends_unasked_is_dropped_or_ends_the_connection() -> None:
    talk = Talk()
    for command in (Command.ENABLE_SRBCHANNEL, Command.REGISTER_MEMFD_SHMID, Command.CLIENT_EVENT, 999):
        talk.core.from_server(packet_frame(numbers(command, NONE, 1)))
    talk.notify(Command.REQUEST, channel=3, bytes=1)
    talk.notify(Command.SUBSCRIBE_EVENT, event=0x12, index=77)
    assert talk.core.to_client.take() == []
    with pytest.raises(MalformedPacket):
        talk.core.from_server(packet_frame(numbers(Command.REPLY, 4711)))


@pytest.mark.parametrize("change", [b"", b"more", b"cut"], ids=["exact", "longer", "shorter"])
def test_a_command_with_other_fields_ends_the_connection(change: bytes) -> None:
    talk = Talk()
    body = numbers(Command.SUBSCRIBE, 1, 0xFFFFFFFF)
    frame = packet_frame(body[:-1] if change == b"cut" else body + change)
    if change:
        with pytest.raises(MalformedPacket):
            talk.core.from_client(frame)
        return
    talk.core.from_client(frame)
    assert talk.at_server()[2] == {"mask": 0x8F}


def test_properties_are_removed_and_renamed_within_the_same_lists() -> None:
    talk = Talk()
    talk.play()
    talk.ask(Command.REMOVE_PLAYBACK_STREAM_PROPLIST, channel=0, keys=[b"guestlink.container", b"media.name", b"x"])
    assert talk.at_server()[2]["keys"] == [b"media.name"]
    talk.ask(Command.SET_PLAYBACK_STREAM_NAME, channel=0, name=b"a\x1b[31m\nsong\xff")
    assert talk.at_server()[2]["name"] == b"a[31m song"
    icons = {b"application.icon_name": b"/etc/passwd\0", b"media.icon_name": b"audio-card\0"}
    talk.ask(Command.UPDATE_CLIENT_PROPLIST, mode=2, properties=icons)
    kept = talk.at_server()[2]["properties"]
    assert b"application.icon_name" not in kept
    assert kept[b"media.icon_name"] == b"audio-card\0"

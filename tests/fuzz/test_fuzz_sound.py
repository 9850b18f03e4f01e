"""Whatever a container and a sound server send, the filter passes on only what its lists allow."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from guestlink_host.border.policies import ALLOW, ASK, DENY
from guestlink_host.border.sound.belongings import STREAM_LIMIT, Belongings
from guestlink_host.border.sound.commands import NONE, Command
from guestlink_host.border.sound.conversation import Conversation
from guestlink_host.border.sound.frames import HEADER, BlockStart, SoundFrameReader, packet_frame
from guestlink_host.border.sound.layouts import (
    LISTS,
    NOTIFICATIONS,
    REPLIES,
    REQUESTS,
    PacketLayout,
    PacketValues,
    put,
    read_all,
)
from guestlink_host.border.sound.properties import CONTAINER, may_set
from guestlink_host.border.sound.tagstruct import MalformedPacket, TagReader
from support.fuzzing import ROUND
from support.pulse_values import CHANGES, U32, plain, values
from support.raw_pulse import numbers

OURS = {CONTAINER.encode(), b"application.id", b"module-stream-restore.id"}
VERSIONS = st.integers(22, 35)


class Rules:
    """Policies that change while the conversation goes on."""

    container = "demo"

    def __init__(self) -> None:
        self.policy = DENY

    def sound(self) -> bool:
        return True

    def microphone(self) -> str:
        return self.policy

    def ask(self) -> None:
        pass

    def refused(self, what: str, key: str) -> None:
        pass


def body(layout: PacketLayout, fields: PacketValues, version: int) -> bytes:
    out = bytearray()
    put(layout, version, out, fields)
    return bytes(out)


Step = tuple[str, Any]
"""What happens next: who does it, and with what."""
COMMANDS = (*REQUESTS, *[Command.CREATE_PLAYBACK_STREAM, Command.CREATE_RECORD_STREAM] * 6)
REQUEST_STEPS = st.tuples(st.just("request"), st.tuples(st.sampled_from(COMMANDS), CHANGES))
NOTIFICATION_STEPS = st.tuples(st.just("notify"), st.tuples(st.sampled_from(list(NOTIFICATIONS)), CHANGES))
REPLY_STEPS = st.tuples(st.just("reply"), CHANGES)
BLOCKS = st.tuples(st.integers(0, 3), st.binary(min_size=1, max_size=20)).map(
    lambda block: HEADER.pack(len(block[1]), block[0], 0, 0, 0) + block[1]
)
RAW = st.tuples(U32, st.binary(max_size=30)).map(lambda raw: packet_frame(numbers(raw[0], 1) + raw[1]))
STEPS: st.SearchStrategy[Step] = st.one_of(
    REQUEST_STEPS,
    REQUEST_STEPS,
    NOTIFICATION_STEPS,
    REPLY_STEPS,
    REPLY_STEPS,
    st.tuples(st.just("fail"), U32),
    st.tuples(st.just("client"), BLOCKS),
    st.tuples(st.just("server"), BLOCKS),
    st.tuples(st.just("client"), RAW),
    st.tuples(st.just("policy"), st.sampled_from([ALLOW, ASK, DENY])),
    st.tuples(st.just("answer"), st.booleans()),
)  # fmt: skip


class Filter:
    """A conversation, and what the test knows about both sides."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.rules = Rules()
        self.belongings = Belongings()
        self.core = Conversation(self.rules, self.belongings, lambda: bytes(256))
        self._at_server, self._at_client = SoundFrameReader(1 << 20), SoundFrameReader(1 << 20)
        self.waiting: list[tuple[Command, int]] = []
        self.playing: set[int] = set()
        self.recording: set[int] = set()
        auth = body(REQUESTS[Command.AUTH], {"version": version, "cookie": bytes(256)}, 0)
        self.core.from_client(packet_frame(numbers(Command.AUTH, 0) + auth))
        self.check()
        self.core.from_server(packet_frame(numbers(Command.REPLY, self.waiting.pop()[1], 35)))
        self.check()

    def take(self, step: Step) -> None:
        """Do a step.

        :raises MalformedPacket: the filter closes the connection.
        """
        kind, what = step
        match kind:
            case "request":
                command, fields = what
                fields = plain(REQUESTS[command], fields)
                payload = numbers(command, 7) + body(REQUESTS[command], fields, self.version)
                self.core.from_client(packet_frame(payload))
            case "notify":
                command, fields = what
                fields = plain(NOTIFICATIONS[command], fields)
                payload = numbers(command, NONE) + body(NOTIFICATIONS[command], fields, self.version)
                self.core.from_server(packet_frame(payload))
            case "reply" if self.waiting:
                command, tag = self.waiting.pop(0)
                self.core.from_server(packet_frame(self._reply(command, tag, what)))
            case "fail" if self.waiting:
                _, tag = self.waiting.pop(0)
                self.core.from_server(packet_frame(numbers(Command.ERROR, tag, what)))
            case "client":
                self.core.from_client(what)
            case "server":
                self.core.from_server(what)
            case "policy":
                self.rules.policy = what
                if what == DENY:
                    self.core.end_recording()
            case "answer":
                self.core.answered(what)

    def _reply(self, command: Command, tag: int, changes: PacketValues) -> bytes:
        entry = LISTS.get(command, command)
        if entry not in REPLIES:
            return numbers(Command.REPLY, tag)
        found = plain(REPLIES[entry], changes)
        if command is Command.CREATE_PLAYBACK_STREAM:
            self.playing.add(found["channel"])
        elif command is Command.CREATE_RECORD_STREAM:
            self.recording.add(found["channel"])
        return numbers(Command.REPLY, tag) + body(REPLIES[entry], found, self.version)

    def check(self) -> None:
        """Check everything that has arrived at both sides."""
        for event in self._at_server.feed(b"".join(self.core.to_server.take())):
            if isinstance(event, bytes):
                self._check_request(event)
            elif isinstance(event, BlockStart):
                assert event.channel in self.playing
        for event in self._at_client.feed(b"".join(self.core.to_client.take())):
            if isinstance(event, BlockStart):
                assert event.channel in self.recording
        assert 0 <= self.belongings.streams <= STREAM_LIMIT

    def _check_request(self, packet: bytes) -> None:
        reader = TagReader(packet)
        command, tag = Command(reader.u32()), reader.u32()
        found = read_all(REQUESTS[command], self.version, reader)
        self.waiting.append((command, tag))
        if command is Command.CREATE_RECORD_STREAM:
            assert self.rules.policy == ALLOW
            assert found["device"] != NONE or found["device_name"] is None
            assert found["direct_on_input"] == NONE
        for key in found.get("properties", {}):
            assert may_set(key) or key in OURS
        for key in found.get("keys", ()):
            assert may_set(key)
        if "index" in found and command not in (Command.GET_SINK_INFO, Command.GET_SOURCE_INFO):
            assert any(
                self.belongings.has(kind, found["index"]) for kind in ("client", "sink-input", "source-output")
            )


@ROUND
@given(VERSIONS, st.lists(STEPS, max_size=40))
def test_whatever_both_sides_send_only_allowed_commands_and_data_pass(version: int, steps: list[Step]) -> None:
    tried = Filter(version)
    for step in steps:
        try:
            tried.take(step)
        except MalformedPacket:
            break
        tried.check()
    tried.core.close()
    assert tried.belongings.streams == 0


PIECES = st.one_of(
    st.binary(max_size=40), st.binary(max_size=40).map(packet_frame), BLOCKS,
    st.tuples(U32, U32, st.binary(max_size=30)).map(lambda raw: packet_frame(numbers(raw[0], raw[1]) + raw[2])),
)  # fmt: skip


@ROUND
@given(st.booleans(), st.lists(PIECES, max_size=8).map(b"".join), st.lists(st.integers(0, 2**16), max_size=6))
def test_any_bytes_are_the_same_conversation_wherever_they_are_cut(
    from_client: bool, data: bytes, cuts: list[int]
) -> None:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})

    def outcome(parts: list[bytes]) -> tuple[bytes, bytes, bool]:
        core = Filter(35).core
        feed: Callable[[bytes], object] = core.from_client if from_client else core.from_server
        try:
            for part in parts:
                feed(part)
        except MalformedPacket:
            return b"".join(core.to_server.take()), b"".join(core.to_client.take()), True
        return b"".join(core.to_server.take()), b"".join(core.to_client.take()), False

    assert outcome([data]) == outcome([data[start:end] for start, end in pairwise(places)])


@ROUND
@given(st.sampled_from([*REQUESTS.values(), *REPLIES.values(), *NOTIFICATIONS.values()]), VERSIONS, st.data())
def test_every_packet_is_written_as_it_was_read(layout: PacketLayout, version: int, data: st.DataObject) -> None:
    fields = data.draw(values(layout))
    written = body(layout, fields, version)
    read = read_all(layout, version, TagReader(written))
    assert version < 35 or read == fields
    assert body(layout, read, version) == written

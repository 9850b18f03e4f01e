"""A client of PulseAudio's native protocol that sends whatever a test wants."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from guestlink_host.border.sound.commands import NEWEST_VERSION, NONE, Command
from guestlink_host.border.sound.frames import HEADER
from guestlink_host.border.sound.layouts import LISTS, REPLIES, REQUESTS, PacketValues, put, read, read_all
from guestlink_host.border.sound.tagstruct import SampleSpec, TagReader, put_string, put_u32

LIMIT = 60.0
SPEC = SampleSpec(3, 2, 48000)
"""S16LE, stereo."""
_STEREO = {"spec": SPEC, "map": bytes((1, 2)), "volume": bytes((0, 1, 0, 0)) * 2}
PLAYBACK: PacketValues = _STEREO | {
    "device": NONE, "device_name": None, "maxlength": NONE, "corked": False, "tlength": NONE, "prebuf": NONE,
    "minreq": NONE, "sync_id": 0, "no_remap": False, "no_remix": False, "fix_format": False, "fix_rate": False,
    "fix_channels": False, "no_move": False, "variable_rate": False, "muted": False, "adjust_latency": False,
    "properties": {b"media.name": b"raw\0"}, "volume_set": False, "early_requests": False, "muted_set": False,
    "dont_inhibit_auto_suspend": False, "fail_on_suspend": False, "relative_volume": False, "passthrough": False,
    "formats": [],
}  # fmt: skip
RECORD: PacketValues = {
    key: value for key, value in PLAYBACK.items() if key not in ("tlength", "prebuf", "minreq", "sync_id")
} | {"fragsize": 4096, "peak_detect": False, "direct_on_input": NONE}


class Refused(Exception):
    """An error reply; its argument is the code."""


class RawPulse:
    """A connection, authenticated."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._tags = itertools.count(1)
        self.version = 0
        self.notifications: list[tuple[int, TagReader]] = []
        self.blocks: list[tuple[int, bytes]] = []

    @classmethod
    async def connect(
        cls, path: str, version: int = NEWEST_VERSION, name: str = "raw", *, cookie: bytes = b""
    ) -> RawPulse:
        """Connect, authenticate and give a name.

        :param cookie: the server's own; the filter needs none, and must not take the shared memory that is offered.
        """
        client = cls(*await asyncio.open_unix_connection(path))
        client.version = 0
        answer = await client.ask(
            Command.AUTH, version=version | (0 if cookie else 0xC0000000), cookie=cookie or bytes(256)
        )
        assert answer["version"] >> 16 == 0, "shared memory is on"
        client.version = min(answer["version"], version)
        await client.ask(Command.SET_CLIENT_NAME, properties={b"application.name": name.encode() + b"\0"})
        return client

    async def ask(self, command: Command, **values: Any) -> PacketValues:
        """Send a command that the filter knows; returns the reply.

        :raises Refused: the reply is an error.
        """
        body = bytearray()
        put(REQUESTS[command], self.version, body, values)
        reader = await self.raw(command, bytes(body))
        if command in LISTS:
            entries = []
            while not reader.at_end:
                entries.append(read(REPLIES[LISTS[command]], self.version, reader))
            return {"entries": entries}
        return read_all(REPLIES.get(command, ()), self.version, reader)

    async def raw(self, command: int, body: bytes = b"") -> TagReader:
        """Send a command with any body; returns the reply's reader.

        :raises Refused: the reply is an error.
        """
        tag = next(self._tags)
        head = bytearray()
        put_u32(head, command)
        put_u32(head, tag)
        self.send(bytes(head) + body)
        while True:
            kind, answered, reader = await self.message()
            if answered == tag:
                if kind == Command.ERROR:
                    raise Refused(reader.u32())
                return reader
            self.notifications.append((kind, reader))

    async def stream(self, **changes: Any) -> PacketValues:
        """Create a playback stream; returns the reply."""
        return await self.ask(Command.CREATE_PLAYBACK_STREAM, **PLAYBACK | {"sync_id": next(self._tags)} | changes)

    def send(self, payload: bytes) -> None:
        """Send a packet."""
        self.send_bytes(HEADER.pack(len(payload), NONE, 0, 0, 0) + payload)

    def play(self, channel: int, data: bytes) -> None:
        """Send a block."""
        self.send_bytes(HEADER.pack(len(data), channel, 0, 0, 0) + data)

    def send_bytes(self, data: bytes) -> None:
        """Send anything."""
        self._writer.write(data)

    async def message(self) -> tuple[int, int, TagReader]:
        """The next packet: command, tag and the rest; blocks before it are kept."""
        while True:
            async with asyncio.timeout(LIMIT):
                length, channel, _, _, flags = HEADER.unpack(await self._reader.readexactly(HEADER.size))
                payload = await self._reader.readexactly(length)
            assert flags < 4
            if channel != NONE:
                self.blocks.append((channel, payload))
                continue
            reader = TagReader(payload)
            return reader.u32(), reader.u32(), reader

    async def block(self) -> bytes:
        """The next block's data."""
        while not self.blocks:
            kind, _, reader = await self.message_or_block()
            if kind:
                self.notifications.append((kind, reader))
        return self.blocks.pop(0)[1]

    async def message_or_block(self) -> tuple[int, int, TagReader]:
        """The next packet, or zeros after a block."""
        async with asyncio.timeout(LIMIT):
            length, channel, _, _, _ = HEADER.unpack(await self._reader.readexactly(HEADER.size))
            payload = await self._reader.readexactly(length)
        if channel != NONE:
            self.blocks.append((channel, payload))
            return 0, 0, TagReader(b"")
        reader = TagReader(payload)
        return reader.u32(), reader.u32(), reader

    async def is_closed(self) -> bool:
        """Wait until the other side closes; what comes before is dropped."""
        async with asyncio.timeout(LIMIT):
            try:
                while await self._reader.read(65536):
                    pass
            except ConnectionError:
                pass
        return True

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass


def texts(*words: str | None) -> bytes:
    """A body of texts."""
    body = bytearray()
    for word in words:
        put_string(body, None if word is None else word.encode())
    return bytes(body)


def numbers(*values: int) -> bytes:
    """A body of numbers."""
    body = bytearray()
    for value in values:
        put_u32(body, value)
    return bytes(body)

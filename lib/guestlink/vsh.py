"""The vsh protocol, both roles, without I/O: received bytes in, events out; what to say in, bytes out (vsh.md §3).

The six messages are encoded and decoded here by hand: a session process that imports protobuf would start half as
fast, and the data frames are the hot path. The bytes equal protobuf's; `pb/vsh.proto` is the definition, and the
tests compare the two.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from guestlink.fields import Malformed, bytes_field, fields, int32, int_field, message_field, varint
from guestlink.framing import LENGTH, MESSAGE_LIMIT, FrameReader, FrameTooLong, frame

DATA_LIMIT = 4000
"""Bytes of data that we put in one frame, as the originals do; up to 4088 are accepted (vsh.md §3.1)."""
VM_SHELL = "/vm_shell"
"""The target that means the shell of the machine, not of a container (vsh.md §3.2)."""

Bytes: TypeAlias = bytes | bytearray | memoryview


class Status(enum.IntEnum):
    """ConnectionStatus."""

    UNKNOWN = 0
    READY = 1
    EXITED = 2
    FAILED = 3


class Stream(enum.IntEnum):
    """StdioStream."""

    INVALID = 0
    STDIN = 1
    STDOUT = 2
    STDERR = 3


class ProtocolError(ValueError):
    """The other side broke the protocol; the connection is of no more use.

    :ivar events: what it said before that.
    """

    def __init__(self, reason: str, events: Sequence[ServerEvent | ClientEvent] = ()) -> None:
        super().__init__(reason)
        self.events = tuple(events)


class SetupTooLarge(ValueError):
    """Arguments and variables do not fit into one message; nothing else can carry them (vsh.md §3.3)."""


class Setup(NamedTuple):
    """SetupConnectionRequest: what the client wants to run.

    :ivar user: login name; empty leaves it to the server.
    :ivar argv: program and arguments; empty asks for a login shell.
    :ivar rows: of the window; it counts only where rows and columns are 1 to 65535.
    :ivar nopty: three pipes instead of a terminal.
    :ivar cwd_pid: start where this process is; 0 for nothing.
    """

    target: str = ""
    user: bytes = b""
    env: Mapping[bytes, bytes] = {}
    argv: tuple[bytes, ...] = ()
    rows: int = 0
    cols: int = 0
    nopty: bool = False
    cwd: bytes = b""
    cwd_pid: int = 0


class SetupAnswer(NamedTuple):
    """SetupConnectionResponse.

    :ivar status: READY, or anything else for a refusal, which ``description`` explains.
    :ivar pid: of the target, with READY.
    """

    status: int
    description: str = ""
    pid: int = 0


class Data(NamedTuple):
    """Bytes of a stream; none of them end it."""

    stream: int
    data: Bytes


class StatusChange(NamedTuple):
    """ConnectionStatusMessage.

    :ivar code: exit status of the target, or the bare number of the signal that ended it (vsh.md §3.9).
    """

    status: int
    description: str = ""
    code: int = 0


class Resize(NamedTuple):
    """WindowResizeMessage."""

    rows: int
    cols: int


class SignalRequest(NamedTuple):
    """A signal that the client wants delivered."""

    number: int


class Unknown(NamedTuple):
    """A message with nothing in it that we know; to be passed over (vsh.md §3.11)."""


ServerEvent: TypeAlias = Setup | Data | StatusChange | Resize | SignalRequest | Unknown
"""What a client says."""
ClientEvent: TypeAlias = SetupAnswer | Data | StatusChange | Unknown
"""What a server says."""

_KILLED = "killed by signal "


def killed_by(number: int) -> str:
    """The description of an EXITED status for a death by signal.

    The code alone cannot tell ``exit 9`` from a death by SIGKILL; a description is text for people that no program
    of ChromeOS looks at, so that ours can tell each other here.
    """
    return f"{_KILLED}{number}"


def death_signal(change: StatusChange) -> int:
    """The signal that :func:`killed_by` told of; 0 for an ordinary end or another server's words."""
    text = change.description
    return change.code if text == killed_by(change.code) and 0 < change.code < 128 else 0


class ServerProtocol:
    """The server's end of one session: feed it what the client sends."""

    def __init__(self) -> None:
        self._frames = FrameReader()
        self.is_set_up = False

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Take received bytes and return what the client said; the first event of all is a :class:`Setup`.

        :raises ProtocolError: the client broke the protocol.
        """
        events: list[ServerEvent] = []
        try:
            if not self.is_set_up:
                for message in self._frames.feed(data, 1):
                    events.append(decode_setup(message))
                    self.is_set_up = True
                data = b""
            if self.is_set_up:
                while messages := self._frames.feed(data):
                    events.extend(map(decode_from_client, messages))
                    data = b""
        except (FrameTooLong, Malformed) as error:
            raise ProtocolError(str(error), events) from error
        return events


class ClientProtocol:
    """The client's end of one session: feed it what the server sends."""

    def __init__(self) -> None:
        self._frames = FrameReader()
        self.is_answered = False

    def feed(self, data: bytes) -> list[ClientEvent]:
        """Take received bytes and return what the server said; the first event of all is a :class:`SetupAnswer`.

        :raises ProtocolError: the server broke the protocol.
        """
        events: list[ClientEvent] = []
        try:
            if not self.is_answered:
                for message in self._frames.feed(data, 1):
                    events.append(decode_setup_answer(message))
                    self.is_answered = True
                data = b""
            if self.is_answered:
                while messages := self._frames.feed(data):
                    events.extend(map(decode_from_server, messages))
                    data = b""
        except (FrameTooLong, Malformed) as error:
            raise ProtocolError(str(error), events) from error
        return events


# What is sent.


def encode_setup(setup: Setup) -> bytes:
    """The client's first frame.

    :raises SetupTooLarge: it does not fit into a message.
    """
    parts = [bytes_field(1, setup.target.encode()), bytes_field(2, setup.user)]
    for key, value in setup.env.items():
        parts.append(message_field(3, bytes_field(1, key) + bytes_field(2, value)))
    parts.extend(message_field(5, word) for word in setup.argv)
    parts += [
        int_field(6, setup.rows),
        int_field(7, setup.cols),
        int_field(8, int(setup.nopty)),
        bytes_field(9, setup.cwd),
        int_field(10, setup.cwd_pid),
    ]
    message = b"".join(parts)
    if len(message) > MESSAGE_LIMIT:
        raise SetupTooLarge(f"arguments and variables take {len(message)} bytes, and only {MESSAGE_LIMIT} fit")
    return frame(message)


def encode_setup_answer(answer: SetupAnswer) -> bytes:
    """The server's first frame. A long description is cut."""
    description = _cut(answer.description)
    return frame(int_field(1, answer.status) + bytes_field(2, description) + int_field(3, answer.pid))


def encode_data(stream: int, data: Bytes) -> bytes:
    """One frame of data; empty data ends the stream.

    :raises FrameTooLong: there are more than 4088 bytes.
    """
    return data_header(stream, len(data)) + bytes(data)


def encode_much_data(stream: int, data: Bytes) -> list[Bytes]:
    """Frames for any amount of data, as buffers to be sent one after the other; the data is not copied."""
    view = memoryview(data)
    buffers: list[Bytes] = []
    for at in range(0, len(view), DATA_LIMIT):
        piece = view[at : at + DATA_LIMIT]
        buffers += (data_header(stream, len(piece)), piece)
    return buffers


def data_header(stream: int, size: int) -> bytes:
    """What stands in front of ``size`` bytes of data: length, field, and length again; 10 to 12 bytes.

    :raises FrameTooLong: there are more than 4088 bytes.
    """
    if size == DATA_LIMIT and stream in _FULL_HEADERS:
        return _FULL_HEADERS[stream]
    return _data_header(stream, size)


@lru_cache(256)
def _data_header(stream: int, size: int) -> bytes:
    inner = int_field(1, stream) + (b"\x12" + varint(size) if size else b"")
    outer = b"\x0a" + varint(len(inner) + size) + inner
    if len(outer) + size > MESSAGE_LIMIT:
        raise FrameTooLong(f"{size} bytes of data do not fit into a frame")
    return LENGTH.pack(len(outer) + size) + outer


def encode_status(change: StatusChange) -> bytes:
    """A status of either side. The code travels zig-zag."""
    inner = int_field(1, change.status) + bytes_field(2, _cut(change.description))
    if change.code:
        inner += b"\x18" + varint(((change.code << 1) ^ (change.code >> 31)) & 0xFFFFFFFF)
    return frame(message_field(2, inner))


def encode_resize(rows: int, cols: int) -> bytes:
    """The client's window has another size."""
    return frame(message_field(3, int_field(1, rows) + int_field(2, cols)))


def encode_signal(number: int) -> bytes:
    """The client wants a signal delivered."""
    return frame(b"\x20" + varint(number & 0xFFFFFFFFFFFFFFFF))


class DataBlock:
    """Room for many frames of data in a row, with their headers already in place.

    A read goes straight into the frames: ``os.readv(fd, block.spaces)``, then ``sendmsg(block.frames(count))``. No
    byte is copied in between. The buffers that :meth:`frames` returns are good until the next read.

    :param stream: the stream that the frames belong to.
    :param count: how many frames of :data:`DATA_LIMIT` bytes there is room for.
    :ivar spaces: where to read to.
    :ivar size: bytes that the spaces take together.
    """

    __slots__ = ("_step", "_stream", "_view", "size", "spaces")

    def __init__(self, stream: int, count: int) -> None:
        header = data_header(stream, DATA_LIMIT)
        self.size = count * DATA_LIMIT
        self._stream = stream
        self._step = len(header) + DATA_LIMIT
        self._view = memoryview(bytearray((header + bytes(DATA_LIMIT)) * count))
        starts = range(len(header), len(self._view), self._step)
        self.spaces = [self._view[at : at + DATA_LIMIT] for at in starts]

    def frames(self, count: int) -> list[memoryview]:
        """The frames of the first ``count`` bytes of the spaces, as one or two buffers to be sent."""
        full, rest = divmod(count, DATA_LIMIT)
        buffers = [self._view[: full * self._step]] if full else []
        if rest:
            # The last one's header is of another size: it ends where the data begins, and is repaired for the next.
            header = data_header(self._stream, rest)
            space = self.spaces[full]
            buffers += (memoryview(header), space[:rest])
        return buffers


# What is received.

_FULL_SIZE = DATA_LIMIT + 8


def decode_setup(message: memoryview) -> Setup:
    """Read SetupConnectionRequest.

    :raises Malformed: it is not one.
    """
    target, user, cwd = "", b"", b""
    env: dict[bytes, bytes] = {}
    argv: list[bytes] = []
    rows = cols = cwd_pid = 0
    nopty = False
    for number, value in fields(message):
        if isinstance(value, int):
            match number:
                case 6:
                    rows = int32(value)
                case 7:
                    cols = int32(value)
                case 8:
                    nopty = value != 0
                case 10:
                    cwd_pid = int32(value)
            continue
        match number:
            case 1:
                target = _text(value)
            case 2:
                user = bytes(value)
            case 3:
                key = content = b""
                for part, entry in fields(value):
                    if not isinstance(entry, int) and part == 1:
                        key = bytes(entry)
                    elif not isinstance(entry, int) and part == 2:
                        content = bytes(entry)
                env[key] = content
            case 5:
                argv.append(bytes(value))
            case 9:
                cwd = bytes(value)
    return Setup(target, user, env, tuple(argv), rows, cols, nopty, cwd, cwd_pid)


def decode_setup_answer(message: memoryview) -> SetupAnswer:
    """Read SetupConnectionResponse.

    :raises Malformed: it is not one.
    """
    status = pid = 0
    description = ""
    for number, value in fields(message):
        if isinstance(value, int):
            if number == 1:
                status = int32(value)
            elif number == 3:
                pid = int32(value)
        elif number == 2:
            description = _text(value)
    return SetupAnswer(status, description, pid)


def decode_from_client(message: memoryview) -> ServerEvent:
    """Read GuestMessage.

    :raises Malformed: it is not one.
    """
    size = len(message)
    if size == _FULL_SIZE and message[:8] == _FULL_STDIN:
        return Data(1, message[8:])
    if size in _SMALL_STDIN and message[:6] == _SMALL_STDIN[size]:
        return Data(1, message[6:])
    event: ServerEvent = Unknown()
    for number, value in fields(message):
        if isinstance(value, int):
            if number == 4:
                event = SignalRequest(int32(value))
        elif number == 1:
            event = _data(value, event)
        elif number == 2:
            event = _status(value, event)
        elif number == 3:
            event = _resize(value, event)
    return event


def decode_from_server(message: memoryview) -> ClientEvent:
    """Read HostMessage.

    :raises Malformed: it is not one.
    """
    if len(message) == _FULL_SIZE and message[:8] == _FULL_STDOUT:
        return Data(2, message[8:])
    event: ClientEvent = Unknown()
    for number, value in fields(message):
        if isinstance(value, int):
            continue
        if number == 1:
            event = _data(value, event)
        elif number == 2:
            event = _status(value, event)
    return event


# A member that is there twice is merged, and another member takes its place: protobuf's rules for a oneof.


def _data(message: memoryview, before: object) -> Data:
    stream, data = before if isinstance(before, Data) else Data(0, b"")
    for number, value in fields(message):
        if isinstance(value, int):
            if number == 1:
                stream = int32(value)
        elif number == 2:
            data = value
    return Data(stream, data)


def _status(message: memoryview, before: object) -> StatusChange:
    status, description, code = before if isinstance(before, StatusChange) else StatusChange(0)
    for number, value in fields(message):
        if isinstance(value, int):
            if number == 1:
                status = int32(value)
            elif number == 3:
                low = value & 0xFFFFFFFF
                code = (low >> 1) ^ -(low & 1)
        elif number == 2:
            description = _text(value)
    return StatusChange(status, description, code)


def _resize(message: memoryview, before: object) -> Resize:
    rows, cols = before if isinstance(before, Resize) else Resize(0, 0)
    for number, value in fields(message):
        if isinstance(value, int):
            if number == 1:
                rows = int32(value)
            elif number == 2:
                cols = int32(value)
    return Resize(rows, cols)


def _text(value: Bytes) -> str:
    return bytes(value).decode(errors="replace")


def _cut(description: str) -> bytes:
    return description.encode(errors="replace")[:2048].decode(errors="ignore").encode()


_FULL_HEADERS: dict[int, bytes] = {int(stream): _data_header(stream, DATA_LIMIT) for stream in Stream if stream}
_SMALL_STDIN: dict[int, bytes] = {
    len(header) - 4 + size: header[4:] for size in range(1, 124) for header in (_data_header(Stream.STDIN, size),)
}
"""How messages with a few keystrokes begin, by their size."""
_FULL_STDIN = _FULL_HEADERS[Stream.STDIN][4:]
_FULL_STDOUT = _FULL_HEADERS[Stream.STDOUT][4:]

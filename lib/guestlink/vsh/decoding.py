"""Decodes messages; skips unknown fields as protobuf does (chromeos-vsh.md §3.1, §3.11)."""

from __future__ import annotations

from guestlink.vsh.encoding import DATA_LIMIT, SMALL_STDIN_HEADERS, data_header
from guestlink.vsh.framing import LENGTH
from guestlink.vsh.messages import (
    REQUIRES_CWD,
    Bytes,
    Data,
    FromClient,
    FromServer,
    Resize,
    Setup,
    SetupAnswer,
    SignalRequest,
    StatusChange,
    Stream,
    Unknown,
)
from guestlink.vsh.protobuf_wire import fields, int32

_STDIN, _STDOUT = int(Stream.STDIN), int(Stream.STDOUT)
_FULL_PREFIX, _SMALL_PREFIX = 8, 6
"""Bytes before the data in a message with :data:`DATA_LIMIT` bytes of it, and in one with a few keystrokes."""
_FULL_SIZE = _FULL_PREFIX + DATA_LIMIT


def decode_setup(message: memoryview) -> Setup:
    """Decode SetupConnectionRequest.

    :raises Malformed: the message is not one.
    """
    target, user, cwd = "", b"", b""
    env: dict[bytes, bytes] = {}
    argv: list[bytes] = []
    rows = cols = cwd_pid = 0
    nopty = requires_cwd = False
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
            case 4:
                requires_cwd = value == REQUIRES_CWD
            case 5:
                argv.append(bytes(value))
            case 9:
                cwd = bytes(value)
    return Setup(target, user, env, tuple(argv), rows, cols, nopty, cwd, cwd_pid, requires_cwd)


def decode_setup_answer(message: memoryview) -> SetupAnswer:
    """Decode SetupConnectionResponse.

    :raises Malformed: the message is not one.
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


def decode_from_client(message: memoryview) -> FromClient:
    """Decode GuestMessage.

    :raises Malformed: the message is not one.
    """
    size = len(message)
    if size == _FULL_SIZE and message[:_FULL_PREFIX] == _FULL_STDIN:
        return Data(_STDIN, message[_FULL_PREFIX:])
    if size in _SMALL_STDIN and message[:_SMALL_PREFIX] == _SMALL_STDIN[size]:
        return Data(_STDIN, message[_SMALL_PREFIX:])
    event: FromClient = Unknown()
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


def decode_from_server(message: memoryview) -> FromServer:
    """Decode HostMessage.

    :raises Malformed: the message is not one.
    """
    if len(message) == _FULL_SIZE and message[:_FULL_PREFIX] == _FULL_STDOUT:
        return Data(_STDOUT, message[_FULL_PREFIX:])
    event: FromServer = Unknown()
    for number, value in fields(message):
        if isinstance(value, int):
            continue
        if number == 1:
            event = _data(value, event)
        elif number == 2:
            event = _status(value, event)
    return event


# protobuf's rules for a oneof: a member that occurs twice is merged; another member replaces it.


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


_SMALL_STDIN = {_SMALL_PREFIX + size: header[LENGTH.size :] for size, header in SMALL_STDIN_HEADERS.items()}
"""The first bytes of messages with a few keystrokes, by the message's size."""
_FULL_STDIN = data_header(Stream.STDIN, DATA_LIMIT)[LENGTH.size :]
_FULL_STDOUT = data_header(Stream.STDOUT, DATA_LIMIT)[LENGTH.size :]

"""The vsh protocol: the frames of chromeos-vsh.md §11.1, both roles, and a comparison with protobuf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from guestlink.pb import vsh_pb2 as pb
from guestlink.vsh import (
    DATA_LIMIT,
    ClientProtocol,
    Data,
    OutgoingBlock,
    ProtocolError,
    Resize,
    ServerProtocol,
    Setup,
    SetupAnswer,
    SetupTooLarge,
    SignalRequest,
    Status,
    StatusChange,
    Stream,
    Unknown,
    data_header,
    death_signal,
    decode_from_client,
    decode_from_server,
    decode_setup,
    encode_data,
    encode_much_data,
    encode_resize,
    encode_setup,
    encode_setup_answer,
    encode_signal,
    encode_status,
    killed_by,
)
from guestlink.vsh.framing import FrameTooLong
from guestlink.vsh.protobuf_wire import Malformed

SETUPS = {
    "a terminal": (
        Setup("penguin", env={b"TERM": b"xterm-256color"}, rows=24, cols=80),
        "25 00 00 00 0a 07 70 65 6e 67 75 69 6e 1a 16 0a 04 54 45 52 4d 12 0e 78 74 65 72 6d 2d 32 35 36 63 6f 6c"
        " 6f 72 30 18 38 50",
    ),
    "a command of a user": (
        Setup("penguin", b"ana", {b"LANG": b"C"}, (b"wc", b"-c"), nopty=True, cwd_pid=4321),
        "26 00 00 00 0a 07 70 65 6e 67 75 69 6e 12 03 61 6e 61 1a 09 0a 04 4c 41 4e 47 12 01 43 2a 02 77 63 2a 02"
        " 2d 63 40 01 50 e1 21",
    ),
    "a virtual machine": (
        Setup("/vm_shell", b"chronos", {}, (b"id",), nopty=True, cwd=b"/srv"),
        "20 00 00 00 0a 09 2f 76 6d 5f 73 68 65 6c 6c 12 07 63 68 72 6f 6e 6f 73 2a 02 69 64 40 01 4a 04 2f"
        " 73 72 76",
    ),
}
ANSWERS = {
    "ready": (SetupAnswer(1, "vsh ready", 712), "10 00 00 00 08 01 12 09 76 73 68 20 72 65 61 64 79 18 c8 05"),
    "refused": (
        SetupAnswer(3, "no such user: zed"),
        "15 00 00 00 08 03 12 11 6e 6f 20 73 75 63 68 20 75 73 65 72 3a 20 7a 65 64",
    ),
}
FROM_CLIENT = {
    "input": (Data(1, b"ls\r"), "09 00 00 00 0a 07 08 01 12 03 6c 73 0d"),
    "end of input": (Data(1, b""), "04 00 00 00 0a 02 08 01"),
    "a resize": (Resize(50, 132), "07 00 00 00 1a 05 08 32 10 84 01"),
    "SIGINT": (SignalRequest(2), "02 00 00 00 20 02"),
    "SIGTERM": (SignalRequest(15), "02 00 00 00 20 0f"),
    "the client's end": (StatusChange(2), "04 00 00 00 12 02 08 02"),
    "signal 0": (SignalRequest(0), "02 00 00 00 20 00"),
    "a resize to nothing": (Resize(0, 0), "02 00 00 00 1a 00"),
}
FROM_SERVER = {
    "output": (Data(2, b"hi\n"), "09 00 00 00 0a 07 08 02 12 03 68 69 0a"),
    "error bytes": (Data(3, b"\xff\0E"), "09 00 00 00 0a 07 08 03 12 03 ff 00 45"),
    "end of output": (Data(2, b""), "04 00 00 00 0a 02 08 02"),
    "exit without a code": (StatusChange(2, "done"), "0a 00 00 00 12 08 08 02 12 04 64 6f 6e 65"),
    "exit 3": (StatusChange(2, "done", 3), "0c 00 00 00 12 0a 08 02 12 04 64 6f 6e 65 18 06"),
    "exit 130": (StatusChange(2, "", 130), "07 00 00 00 12 05 08 02 18 84 02"),
    "exit -1": (StatusChange(2, "", -1), "06 00 00 00 12 04 08 02 18 01"),
}


def server() -> ServerProtocol:
    """A server after the setup frame."""
    protocol = ServerProtocol()
    protocol.feed(encode_setup(Setup()))
    return protocol


def client() -> ClientProtocol:
    """A client after the server's answer."""
    protocol = ClientProtocol()
    protocol.feed(encode_setup_answer(SetupAnswer(1)))
    return protocol


def everywhere(make: Callable[[], Any], data: bytes) -> list[Any]:
    """The events of the input; asserts that any cut in two, or cuts after every byte, give the same."""
    whole = make().feed(data)
    for cut in range(len(data)):
        protocol = make()
        assert protocol.feed(data[:cut]) + protocol.feed(data[cut:]) == whole
    protocol = make()
    assert [event for byte in data for event in protocol.feed(bytes([byte]))] == whole
    return whole


def encoded(event: object) -> bytes:
    match event:
        case Data(stream, data):
            return encode_data(stream, data)
        case StatusChange():
            return encode_status(event)
        case Resize(rows, cols):
            return encode_resize(rows, cols)
        case SignalRequest(number):
            return encode_signal(number)
    raise AssertionError(event)


@pytest.mark.parametrize(("setup", "frame"), SETUPS.values(), ids=SETUPS)
def test_setups_are_encoded_and_decoded(setup: Setup, frame: str) -> None:
    """Cases F1 to F3 (chromeos-vsh.md §11.1)."""
    data = bytes.fromhex(frame)
    assert encode_setup(setup) == data
    assert everywhere(ServerProtocol, data) == [setup]


@pytest.mark.parametrize(("answer", "frame"), ANSWERS.values(), ids=ANSWERS)
def test_answers_are_encoded_and_decoded(answer: SetupAnswer, frame: str) -> None:
    """Cases F4 and F5 (chromeos-vsh.md §11.1)."""
    data = bytes.fromhex(frame)
    assert encode_setup_answer(answer) == data
    assert everywhere(ClientProtocol, data) == [answer]


@pytest.mark.parametrize(("event", "frame"), FROM_CLIENT.values(), ids=FROM_CLIENT)
def test_messages_of_clients_are_encoded_and_decoded(event: object, frame: str) -> None:
    """Cases F6 to F10 and F18 to F20 (chromeos-vsh.md §11.1)."""
    data = bytes.fromhex(frame)
    assert encoded(event) == data
    assert everywhere(server, data) == [event]


@pytest.mark.parametrize(("event", "frame"), FROM_SERVER.values(), ids=FROM_SERVER)
def test_messages_of_servers_are_encoded_and_decoded(event: object, frame: str) -> None:
    """Cases F11 to F17 (chromeos-vsh.md §11.1)."""
    data = bytes.fromhex(frame)
    assert encoded(event) == data
    assert everywhere(client, data) == [event]


@pytest.mark.parametrize(
    ("stream", "size", "start", "total"),
    [
        (2, 4000, "a8 0f 00 00 0a a5 1f 08 02 12 a0 1f", 4012),
        (1, 4088, "00 10 00 00 0a fd 1f 08 01 12 f8 1f", 4100),
    ],
    ids=["from a server", "the largest"],
)
def test_large_frames_are_encoded_and_decoded(stream: int, size: int, start: str, total: int) -> None:
    """Cases F21 and F22 (chromeos-vsh.md §11.1)."""
    frame = encode_data(stream, bytes(size))
    assert frame[:12] == bytes.fromhex(start)
    assert len(frame) == total
    assert (server() if stream == 1 else client()).feed(frame) == [Data(stream, bytes(size))]


def test_an_empty_message_says_nothing() -> None:
    """Case F23 (chromeos-vsh.md §11.1)."""
    assert everywhere(server, bytes(4)) == [Unknown()]
    assert everywhere(client, bytes(4)) == [Unknown()]


def test_an_empty_first_message_is_a_setup_of_defaults() -> None:
    assert ServerProtocol().feed(bytes(4)) == [Setup()]


@pytest.mark.parametrize("size", [*range(1, 260), 3999, 4000, 4001, 4088])
def test_headers_have_the_documented_size(size: int) -> None:
    assert len(data_header(1, size)) - 4 == (6 if size <= 123 else 7 if size <= 127 else 8)


def test_more_than_4088_bytes_do_not_fit() -> None:
    with pytest.raises(FrameTooLong):
        encode_data(1, bytes(4089))


@pytest.mark.parametrize("size", [0, 1, 3999, 4000, 4001, 12345])
def test_much_data_is_cut_into_frames_of_4000(size: int) -> None:
    data = bytes(range(256)) * 49
    events = client().feed(b"".join(encode_much_data(2, data[:size])))
    assert b"".join(bytes(event.data) for event in events if isinstance(event, Data)) == data[:size]
    assert all(isinstance(event, Data) and len(event.data) <= 4000 for event in events)


@pytest.mark.parametrize("size", [1, 100, 123, 124, 127, 128, 3999, 4000, 4001, 8000, 8050, 12000])
def test_a_block_holds_frames_that_were_read_into_place(size: int) -> None:
    block = OutgoingBlock(Stream.STDOUT, 3)
    data = bytes(range(256)) * 47
    for length in (12000, size, size):  # the previous contents leave no trace
        left = memoryview(data)[:length]
        for space in block.spaces:
            space[: len(left)] = left[:4000]
            left = left[4000:]
            if not left:
                break
        sent = b"".join(block.frames(length))
        assert sent == b"".join(encode_much_data(Stream.STDOUT, data[:length]))


@pytest.mark.parametrize("sizes", [(4095, 1, 95, 3905), (4000, 8000), (12000,), (1, 1, 1)])
def test_a_block_is_filled_by_several_reads(sizes: tuple[int, ...]) -> None:
    block = OutgoingBlock(Stream.STDOUT, 3)
    data = bytes(range(256)) * 47
    count = 0
    for size in sizes:
        left = data[count : count + size]
        count += size
        for space in block.spaces_after(count - size, 3):
            space[: len(left)] = left[: len(space)]
            left = left[len(space) :]
        assert not left
    assert b"".join(block.frames(count)) == b"".join(encode_much_data(Stream.STDOUT, data[:count]))
    assert not block.spaces_after(block.size, 3)


def test_a_setup_that_does_not_fit_is_refused_here() -> None:
    with pytest.raises(SetupTooLarge, match="4096"):
        encode_setup(Setup(argv=(b"x" * 4096,)))


def test_bytes_that_are_no_text_pass() -> None:
    setup = Setup(user=b"\xff", env={b"A\xfe": b"\xff\n"}, argv=(b"\xff", b""), cwd=b"/\xff")
    assert ServerProtocol().feed(encode_setup(setup)) == [setup]


def test_of_equal_variables_the_last_wins() -> None:
    message = pb.SetupConnectionRequest()
    for value in (b"1", b"2"):
        message.env.add(key=b"A", value=value)
    assert decode_setup(memoryview(message.SerializeToString())).env == {b"A": b"2"}


def test_both_roles_back_to_back() -> None:
    one, other = ClientProtocol(), ServerProtocol()
    setup = Setup("c", argv=(b"cat",))
    said = encode_setup(setup) + encode_data(1, b"early") + encode_data(1, b"")
    assert other.feed(said) == [setup, Data(1, b"early"), Data(1, b"")]
    answer = SetupAnswer(Status.READY, "ready", 5)
    ended = StatusChange(Status.EXITED, killed_by(9), 9)
    heard = one.feed(encode_setup_answer(answer) + encode_data(2, b"early") + encode_status(ended))
    assert heard == [answer, Data(2, b"early"), ended]


def test_a_death_by_signal_is_told_from_an_exit_status() -> None:
    assert death_signal(StatusChange(2, killed_by(9), 9)) == 9
    assert death_signal(StatusChange(2, "", 9)) == 0
    assert death_signal(StatusChange(2, killed_by(9), 15)) == 0


@pytest.mark.parametrize("length", [4097, 2**31])
def test_too_long_a_frame_ends_the_conversation(length: int) -> None:
    for protocol in (ServerProtocol(), server(), ClientProtocol(), client()):
        with pytest.raises(ProtocolError):
            protocol.feed(length.to_bytes(4, "little"))


@pytest.mark.parametrize("bad", [(4097).to_bytes(4, "little"), bytes.fromhex("01000000ff")])
def test_what_was_said_before_an_error_is_not_lost(bad: bytes) -> None:
    answer = SetupAnswer(1, "", 7)
    with pytest.raises(ProtocolError) as caught:
        ClientProtocol().feed(encode_setup_answer(answer) + encode_data(2, b"last") + bad)
    assert caught.value.events == (answer, Data(2, b"last"))
    with pytest.raises(ProtocolError) as caught:
        server().feed(encode_data(1, b"last") + bad)
    assert caught.value.events == (Data(1, b"last"),)


MALFORMED = {
    "number of eleven bytes": "20 ff ff ff ff ff ff ff ff ff ff 01",
    "number without an end": "20 80",
    "field longer than its message": "0a 05 08 01",
    "length longer than its message": "0a ff ff ff ff 0f",
    "field 0": "00 01",
    "kind 7": "0f",
    "group without an end": "2b",
    "end of a group that has not begun": "2c",
    "four bytes that are three": "2d 00 00 00",
    "broken message inside": "0a 02 08 80",
    "only ff": "ff ff ff ff",
}


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_message_is_an_error_of_the_protocol(message: str) -> None:
    data = memoryview(bytes.fromhex(message))
    with pytest.raises(Malformed):
        decode_from_client(data)


def test_a_second_setup_is_no_message() -> None:
    frame = bytes.fromhex(SETUPS["a terminal"][1])
    with pytest.raises(ProtocolError):
        server().feed(frame)


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ("28 01", Unknown()),  # an unknown number
        ("2b 08 01 2c 20 02", SignalRequest(2)),  # unknown groups are skipped
        ("2d 00 00 00 00 31 00 00 00 00 00 00 00 00 20 02", SignalRequest(2)),  # and so are fixed-width fields
        ("22 02 08 01", Unknown()),  # a message where a number is expected
        ("0a 02 08 07", Data(7, b"")),  # an unknown value
        ("0a 02 08 01 0a 03 12 01 78", Data(1, b"x")),  # merged, because the field comes twice
        ("0a 02 08 01 20 02", SignalRequest(2)),  # the last one counts
        ("20 ff ff ff ff ff ff ff ff ff 01", SignalRequest(-1)),
    ],
)
def test_odd_but_legal_messages(message: str, event: object) -> None:
    data = bytes.fromhex(message)
    assert decode_from_client(memoryview(data)) == event
    pb.GuestMessage.FromString(data)


def test_a_long_description_is_cut_at_a_character() -> None:
    (answer,) = ClientProtocol().feed(encode_setup_answer(SetupAnswer(3, "é" * 3000)))
    assert isinstance(answer, SetupAnswer)
    assert answer.description == "é" * 1024


def test_decoding_from_the_server_knows_no_signals() -> None:
    assert decode_from_server(memoryview(bytes.fromhex("20 02"))) == Unknown()


@pytest.mark.parametrize("size", [1, 4, 20])
def test_one_small_frame_is_decoded_on_the_fast_path(size: int) -> None:
    frame = encode_data(1, b"k" * size)
    protocol = server()
    assert protocol.keys(frame) == b"k" * size
    for other in (frame + b"x", frame[:-1], b"", encode_data(2, b"k" * size), encode_resize(1, 2)):
        assert protocol.keys(other) == b""
    protocol.feed(frame[:3])
    assert protocol.keys(frame) == b"", "it follows the beginning of a frame"
    assert ServerProtocol().keys(frame) == b"", "the first message is a setup"


def test_what_resembles_keys_in_a_flood_is_none() -> None:
    protocol = server()
    protocol.feed(encode_data(1, bytes(DATA_LIMIT)) * 64)
    spaces = protocol.spaces()
    assert spaces is not None
    begun = encode_data(1, bytes(DATA_LIMIT))[:100]
    rest = begun
    for space in spaces:
        space[: len(rest)] = rest[: len(space)]
        rest = rest[len(space) :]
    assert not rest
    protocol.received(len(begun))
    assert protocol.keys(encode_data(1, b"keys")) == b""


@pytest.mark.parametrize("decode", [decode_from_client, decode_from_server])
@pytest.mark.parametrize("stream", [0, 1, 2, 3, 100])
def test_full_frames_keep_their_stream(decode: Callable[[memoryview], object], stream: int) -> None:
    """Frames of 4000 bytes of the expected stream take a fast path."""
    message = memoryview(encode_data(stream, bytes(4000)))[4:]
    assert decode(message) == Data(stream, bytes(4000))
    with pytest.raises(Malformed):
        decode(message[:-1])

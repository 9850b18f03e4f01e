"""sommelier_shim.xwayland.x11.connection without a server: set-up, sequence numbers, errors, lengths."""

from __future__ import annotations

import struct

import pytest

from sommelier_shim.xwayland.x11.connection import Error, Event, Ready, Reply, ServerRefused, X11Connection
from sommelier_shim.xwayland.x11.layout import X11WireError, encode
from sommelier_shim.xwayland.x11.messages import (
    LAYOUTS,
    ChangeProperty,
    GetInputFocusReply,
    InternAtom,
    InternAtomReply,
    MapRequest,
    MapWindow,
    RandRGetMonitors,
    ShapeNotify,
    UnmapWindow,
)
from support.x_stand_in import BEGIN, SCREEN, SHAPE, reply


@pytest.fixture
def client() -> X11Connection:
    client = X11Connection()
    [ready] = client.receive(BEGIN)
    assert isinstance(ready, Ready)
    assert ready.extensions == {"SHAPE", "BIG-REQUESTS"}
    client.data_to_send()
    return client


def test_the_set_up_may_be_cut_at_every_byte() -> None:
    for place in range(len(BEGIN)):
        client = X11Connection()
        found = client.receive(BEGIN[:place]) + client.receive(BEGIN[place:])
        assert [type(message) for message in found] == [Ready]
    assert client.setup is not None
    assert client.setup.roots == (SCREEN,)


def test_a_refusal_says_why() -> None:
    reason = b"No protocol specified\n\0\0"
    with pytest.raises(ServerRefused, match="refuses the connection: No protocol specified"):
        X11Connection().receive(struct.pack("<BBHHH", 0, 22, 11, 0, 6) + reason)
    with pytest.raises(ServerRefused, match="another authorization"):
        X11Connection().receive(struct.pack("<BxHHH", 2, 11, 0, 0))


def test_the_cookie_goes_into_the_set_up() -> None:
    sent = X11Connection((b"MIT-MAGIC-COOKIE-1", b"x" * 16)).data_to_send()
    assert sent == b"l\0\x0b\0\0\0\x12\0\x10\0\0\0MIT-MAGIC-COOKIE-1\0\0" + b"x" * 16


def test_requests_of_core_and_extensions(client: X11Connection) -> None:
    assert client.new_id() == 0x200000
    assert client.new_id() == 0x200001
    client.request(InternAtom(True, b"WM_S0"))
    assert client.data_to_send() == b"\x10\x01\x04\0\x05\0\0\0WM_S0\0\0\0"
    assert client.data_to_send() == b""
    with pytest.raises(X11WireError, match="no RANDR"):
        client.request(RandRGetMonitors(77, True))


def test_replies_events_and_errors_name_their_requests(client: X11Connection) -> None:
    first = client.request(InternAtom(False, b"A"))
    second = client.request(MapWindow(5))
    data = reply(first, struct.pack("<xI", 42))
    data += struct.pack("<BBHII", 20, 0, second & 0xFFFF, 77, 5) + bytes(20)
    data += struct.pack("<BBHIHB", 0, 3, second & 0xFFFF, 5, 0, 8) + bytes(21)
    data += struct.pack("<BBHIhhHHIBB", SHAPE[1] | 0x80, 1, second & 0xFFFF, 5, -1, 2, 3, 4, 9, 1, 0) + bytes(10)
    assert client.receive(data) == [
        Reply(first, InternAtomReply(42)),
        Event(second, MapRequest(77, 5), False),
        Error(second, 3, 5, MapWindow),
        Event(second, ShapeNotify(1, 5, -1, 2, 3, 4, 9, True), True),
    ]


def test_an_unknown_event_is_passed_over_with_all_of_its_bytes(client: X11Connection) -> None:
    number = client.request(MapWindow(5)) & 0xFFFF
    generic = struct.pack("<BBHI", 35, 200, number, 3) + bytes(24 + 12)
    assert client.receive(generic + struct.pack("<BBH", 11, 0, 0xABCD) + bytes(28)) == []
    [event] = client.receive(struct.pack("<BBHII", 20, 0, number, 77, 6) + bytes(20))
    assert isinstance(event, Event)


def test_sequence_numbers_continue_after_65536_requests(client: X11Connection) -> None:
    """The wire has 16 bits of them, so the client asks for a reply in time."""
    first = client.request(MapWindow(5))
    for _ in range(100_000):
        number = client.request(MapWindow(5))
    requests = client.data_to_send()
    focus = bytes(encode(GetInputFocusReply(0, 77), LAYOUTS))
    place, handled, replies = 0, first, 0
    while place < len(requests):
        if requests[place] == 43:
            assert client.receive(reply(handled, focus)) == []
            replies += 1
        place += 4 * int.from_bytes(requests[place + 2 : place + 4], "little")
        handled += 1
    assert (replies, handled) == (3, number + 1)
    [error] = client.receive(struct.pack("<BBHIHB", 0, 3, number & 0xFFFF, 5, 0, 8) + bytes(21))
    assert error == Error(number, 3, 5, MapWindow)


def test_a_server_that_lies_about_sequence_numbers_is_no_server(client: X11Connection) -> None:
    number = client.request(InternAtom(False, b"A"))
    with pytest.raises(X11WireError, match="we have sent"):
        client.receive(reply(number + 1, bytes(5)))


def test_a_reply_that_was_left_out_is_noticed(client: X11Connection) -> None:
    client.request(InternAtom(False, b"A"))
    number = client.request(UnmapWindow(5))
    with pytest.raises(X11WireError, match="not answered InternAtom"):
        client.receive(struct.pack("<BBHIHB", 0, 3, number, 5, 0, 10) + bytes(21))


def test_a_reply_to_a_request_without_one_is_refused(client: X11Connection) -> None:
    number = client.request(MapWindow(5))
    with pytest.raises(X11WireError, match="has no reply"):
        client.receive(reply(number, bytes(5)))


def test_a_reply_that_is_too_long_is_not_awaited(client: X11Connection) -> None:
    number = client.request(InternAtom(False, b"A"))
    with pytest.raises(X11WireError, match="has 4294967324 bytes"):
        client.receive(struct.pack("<BBHI", 1, 0, number, 0x3FFFFFFF) + bytes(24))


def test_a_long_request_uses_big_requests_and_has_a_limit(client: X11Connection) -> None:
    client.request(ChangeProperty(0, 5, 1, 1, 8, 300_000, bytes(300_000)))
    sent = client.data_to_send()
    assert struct.unpack_from("<BBHI", sent) == (18, 0, 0, len(sent) // 4)
    with pytest.raises(X11WireError, match="longer than the server takes"):
        client.request(ChangeProperty(0, 5, 1, 1, 8, 17_000_000, bytes(17_000_000)))
    assert client.data_to_send() == b""


def test_values_that_do_not_fit_are_refused_before_anything_is_sent(client: X11Connection) -> None:
    with pytest.raises(ValueError, match=r"ChangeProperty.data has 3 items instead of 8"):
        client.request(ChangeProperty(0, 5, 1, 1, 32, 2, b"abc"))
    with pytest.raises(struct.error):
        client.request(MapWindow(-1))
    assert client.data_to_send() == b""

"""Messages of the channel for ports, and whose a descriptor is."""

from __future__ import annotations

import pytest

from guestlink.port_channel import LINE_LIMIT, LISTENING_LIMIT, ChannelReader, listening_from, pack


def test_messages_may_arrive_in_any_pieces() -> None:
    reader = ChannelReader()
    stream = pack({"id": 1}) + pack({"id": 2, "error": "ä"})
    found = []
    for at in range(len(stream)):
        messages, unused = reader.feed(stream[at : at + 1], [])
        assert not unused
        found += messages
    assert found == [({"id": 1}, -1), ({"id": 2, "error": "ä"}, -1)]


def test_a_descriptor_belongs_to_the_last_message_that_has_begun() -> None:
    reader = ChannelReader()
    assert reader.feed(pack({"id": 1}) + pack({"id": 2}), [7]) == ([({"id": 1}, -1), ({"id": 2}, 7)], [])
    assert reader.feed(pack({"id": 3}) + b'{"id"', [8]) == ([({"id": 3}, -1)], [])
    assert reader.feed(b":4}\n", []) == ([({"id": 4}, 8)], [])


def test_descriptors_that_belong_to_no_message_are_closed() -> None:
    reader = ChannelReader()
    assert sorted(reader.feed(b"", [5, 6])[1]) == [5, 6]
    assert reader.feed(b'{"id":1', [7, 8, 9]) == ([], [8, 9])
    assert reader.feed(b"", [10])[1] == [10]
    assert reader.close() == [7]
    assert reader.close() == []


@pytest.mark.parametrize(
    "line", [b"x", b"[]", b"1", b'"a"', b"{", b"\xff", b"[" * 100_000, b"x" * (LINE_LIMIT + 1)]
)
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        ChannelReader().feed(line + b"\n", [])


def test_an_endless_message_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        ChannelReader().feed(b"x" * (LINE_LIMIT + 1), [])


@pytest.mark.parametrize(
    "value",
    [None, {}, [1], [[]], [["127.0.0.1", 1]], [["127.0.0.1", 0, ""]], [["127.0.0.1", 65536, ""]], [["a\n", 1, ""]],
     [["127.0.0.1", 1, "\x1b[2J"]], [["127.0.0.1", 1, "x" * 65]], [["h", 1, ""]] * (LISTENING_LIMIT + 1)],
)  # fmt: skip
def test_listening_ports_are_checked(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        listening_from(value)


def test_listening_ports_arrive() -> None:
    assert listening_from([["::1", 80, "nginx"]]) == [("::1", 80, "nginx")]

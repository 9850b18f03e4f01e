"""The wire format: the byte vectors of chromeos-sommelier.md appendix B, and input cut at every offset."""

from __future__ import annotations

import pytest

from sommelier_shim.core.wire import WireError, decode, encode, error_event, skip, to_fixed


def test_get_registry_is_the_known_bytes() -> None:
    assert encode(1, 1, "n", 2) == bytes.fromhex("01000000 01000c00 02000000")


def test_bind_is_the_known_bytes() -> None:
    expected = bytes.fromhex(
        "02000000 00002800 01000000 0e000000 776c5f636f6d706f7369746f72000000 04000000 03000000"
    )
    assert encode(2, 0, "usun", 1, "wl_compositor", 4, 3) == expected
    assert decode("usun", expected) == [1, b"wl_compositor", 4, 3]


@pytest.mark.parametrize(
    ("signature", "values"),
    [
        ("", []),
        ("iu", [-1, 0xFFFFFFFF]),
        ("f", [1.5]),
        ("f", [-0.00390625]),
        ("s", [b""]),
        ("s", [b"abc"]),
        ("s", [b"abcd"]),
        ("s", [None]),
        ("a", [b""]),
        ("a", [b"12345"]),
        ("usaoni", [1, b"text", b"\0\1", 5, 6, -7]),
    ],
)
def test_what_is_encoded_is_decoded(signature: str, values: list[object]) -> None:
    message = encode(3, 4, signature, *values)  # type: ignore[arg-type]
    assert len(message) % 4 == 0
    assert decode(signature, message) == values


def test_descriptors_take_no_bytes() -> None:
    assert encode(3, 0, "nhi", 9, 4096) == encode(3, 0, "ni", 9, 4096)
    assert decode("nhi", encode(3, 0, "ni", 9, 4096)) == [9, None, 4096]


def test_a_message_cut_anywhere_is_refused() -> None:
    message = encode(2, 0, "usun", 1, "wl_compositor", 4, 3)
    for end in range(8, len(message)):
        with pytest.raises(WireError):
            decode("usun", message[:end])
    with pytest.raises(WireError):
        decode("usun", message + bytes(4))


@pytest.mark.parametrize("length", [5, 0xFFFFFFFF, 0x80000000, 0x7FFFFFFF])
def test_a_string_longer_than_its_message_is_refused(length: int) -> None:
    message = bytearray(encode(2, 0, "s", "abc"))
    message[8:12] = length.to_bytes(4, "little")
    with pytest.raises(WireError):
        decode("s", message)
    with pytest.raises(WireError):
        skip("s", message, 8, len(message))


def test_arguments_are_skipped_up_to_their_end() -> None:
    message = encode(2, 0, "usahi", 1, "text", b"12345", 7)
    assert [skip(signature, message, 8, len(message)) for signature in ("", "u", "us", "usa", "usah", "usahi")] == [
        8, 12, 24, 36, 36, 40,
    ]  # fmt: skip
    with pytest.raises(WireError):
        skip("usahi", message, 8, len(message) - 4)
    with pytest.raises(WireError):
        skip("s", message[:8], 8, 8)


def test_a_string_without_end_is_refused() -> None:
    message = bytearray(encode(2, 0, "s", "abc"))
    message[-1] = 0x41
    with pytest.raises(WireError):
        decode("s", message)


def test_fixed_point_stays_in_its_range() -> None:
    assert to_fixed(1e30) == 0x7FFFFFFF
    assert to_fixed(-1e30) == -0x80000000


def test_an_error_fits_into_every_clients_buffer() -> None:
    event = error_event(3, "ä" * 10_000 + "\0")
    assert len(event) <= 4096
    assert decode("ous", event)[:2] == [1, 3]


def test_a_message_that_no_header_can_express_is_not_made() -> None:
    with pytest.raises(ValueError, match="bytes"):
        encode(1, 0, "s", "x" * 70_000)

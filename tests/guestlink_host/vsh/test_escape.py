"""Escape sequences: which input the filter removes and which passes, wherever the input is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestlink_host.vsh.escape import DISCONNECT, HELP, SUSPEND, EscapeFilter, help_text


def cut(data: bytes, size: int, character: int | None = ord("~")) -> list[bytes | str]:
    """The filter's output for input in pieces of this size; adjacent bytes are joined."""
    escape = EscapeFilter(character)
    found: list[bytes | str] = []
    for start in range(0, len(data), size):
        for part in escape.feed(data[start : start + size]):
            if isinstance(part, bytes) and found and isinstance(found[-1], bytes):
                found[-1] += part
            else:
                found.append(part)
    return found


CASES: list[tuple[bytes, list[bytes | str]]] = [
    (b"~.", [DISCONNECT]),
    (b"ls\r~.", [b"ls\r", DISCONNECT]),
    (b"ls\n~.", [b"ls\n", DISCONNECT]),
    (b"ls~.", [b"ls~."]),
    (b"~~.", [b"~."]),
    (b"~~\r~.", [b"~\r", DISCONNECT]),
    (b"~a", [b"~a"]),
    (b"~\r~.", [b"~\r", DISCONNECT]),
    (b"~?~.", [HELP, DISCONNECT]),
    (b"~\x1als", [SUSPEND, b"ls"]),
    (b"a~\r~~b~.\r~.", [b"a~\r~b~.\r", DISCONNECT]),
    (b"ls\r\x03\x04\x1a~.", [b"ls\r\x03\x04\x1a~."]),  # After other keys a ~ does not begin a line
]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(("typed", "wanted"), CASES)
def test_sequences_count_at_the_beginning_of_a_line(typed: bytes, wanted: list[bytes | str], size: int) -> None:
    assert cut(typed, size) == wanted


def test_without_a_character_everything_passes() -> None:
    assert cut(b"~.\r~.", 1, None) == [b"~.\r~."]


def test_another_character_can_be_used() -> None:
    assert cut(b"~.\r\x02.", 1, 2) == [b"~.\r", DISCONNECT]
    assert "^B." in help_text(2)
    assert "~." in help_text(ord("~"))


@given(st.lists(st.sampled_from([b"~", b".", b"?", b"\r", b"\n", b"a", b"\x1a"])).map(b"".join), st.integers(1, 7))
def test_where_the_input_is_cut_makes_no_difference(typed: bytes, size: int) -> None:
    assert cut(typed, size) == cut(typed, len(typed) or 1)


@given(st.binary())
def test_bytes_without_the_character_pass_unchanged(typed: bytes) -> None:
    typed = typed.replace(b"~", b"")
    assert b"".join(part for part in EscapeFilter(ord("~")).feed(typed) if isinstance(part, bytes)) == typed

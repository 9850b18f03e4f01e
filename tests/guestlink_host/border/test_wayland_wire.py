"""The messages that guestlink-host exchanges with the compositor, in pieces and malformed."""

from __future__ import annotations

import random
import struct

import pytest

from guestlink_host.border.wayland_wire import (
    GLOBAL_LIMIT,
    CompositorAnswers,
    CompositorError,
    create_security_context,
    list_globals,
)
from sommelier_shim.core import layouts
from sommelier_shim.core.wire import decode, encode

_REGISTRY, _LISTED, _COMMITTED = 2, 3, 6


def _messages(data: bytes) -> list[tuple[int, int, bytes]]:
    found = []
    while data:
        object_id, word = struct.unpack_from("=II", data)
        found.append((object_id, word & 0xFFFF, data[: word >> 16]))
        data = data[word >> 16 :]
    return found


def test_the_requests_are_those_of_the_protocols_descriptions() -> None:
    display, registry = layouts.interface_layout("wl_display"), layouts.interface_layout("wl_registry")
    manager = layouts.interface_layout("wp_security_context_manager_v1")
    context = layouts.interface_layout("wp_security_context_v1")
    sent = _messages(list_globals() + create_security_context(7, "wörk", "one"))
    kinds = {1: display, 2: registry, 4: manager, 5: context}
    requests = []
    for object_id, opcode, message in sent:
        layout = next(one for one in kinds[object_id].requests if one.opcode == opcode)
        requests.append((layout.name, *decode(layout.signature, message)))
    assert requests == [
        ("get_registry", _REGISTRY),
        ("sync", _LISTED),
        ("bind", 7, b"wp_security_context_manager_v1", 1, 4),
        ("create_listener", 5, None, None),
        ("set_sandbox_engine", b"org.guestlink"),
        ("set_app_id", "wörk".encode()),
        ("set_instance_id", b"one"),
        ("commit",),
        ("destroy",),
        ("destroy",),
        ("sync", _COMMITTED),
    ]


def test_answers_are_understood_in_any_pieces() -> None:
    data = b"".join(encode(_REGISTRY, 0, "usu", name, f"interface_{name}", 1) for name in range(1, 40))
    data += encode(_REGISTRY, 1, "u", 7) + encode(_LISTED, 0, "u", 1) + encode(_COMMITTED, 0, "u", 1)
    for size in (1, 3, 8, 100, len(data)):
        answers = CompositorAnswers()
        for at in range(0, len(data), size):
            answers.feed(data[at : at + size])
        assert answers.is_listed
        assert answers.is_committed
        assert answers.name_of("interface_39") == 39
        assert answers.name_of("interface_7") is None


def test_an_error_is_told_in_visible_characters() -> None:
    with pytest.raises(CompositorError, match="has refused: nested again"):
        CompositorAnswers().feed(encode(1, 0, "ous", 4, 2, "nested\x1b\n again"))


def test_globals_without_end_are_bounded() -> None:
    answers = CompositorAnswers()
    for name in range(GLOBAL_LIMIT + 100):
        answers.feed(encode(_REGISTRY, 0, "usu", name, "x" * 1000, 1))
    assert len(answers.globals) == GLOBAL_LIMIT
    assert max(map(len, answers.globals.values())) <= 256


def test_random_bytes_are_an_error_or_nothing() -> None:
    dice = random.Random(1)
    for _ in range(2000):
        answers = CompositorAnswers()
        header = struct.pack(
            "=II", dice.choice((1, 2, 3, 6)), dice.choice((8, 12, 16, 24)) << 16 | dice.randrange(3)
        )
        try:
            answers.feed(header + dice.randbytes(40))
        except CompositorError:
            pass

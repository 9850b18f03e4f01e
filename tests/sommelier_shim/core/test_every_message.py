"""Every request and event of the tables, whole and damaged: the only exception is WireError, and nothing leaks."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sommelier_shim.core.layouts import MessageLayout, interface_layout
from sommelier_shim.core.tables import INTERFACES
from sommelier_shim.core.wire import WireError
from support.talk import Talk

DIRECTIONS = pytest.mark.parametrize("is_request", [True, False], ids=["requests", "events"])
KINDS = pytest.mark.parametrize("kind", ["plain", "everything"])


def _every(is_request: bool) -> Iterator[tuple[str, int, MessageLayout]]:
    for interface in INTERFACES:
        if interface in ("wl_display", "wl_registry"):
            continue  # The relay has these from the start, and other tests cover them.
        shape = interface_layout(interface)
        for opcode, message in enumerate(shape.requests if is_request else shape.events):
            yield interface, opcode, message


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= before


@KINDS
@DIRECTIONS
def test_a_message_that_has_come_in_part_waits(kind: str, is_request: bool) -> None:
    for interface, opcode, shape in _every(is_request):
        talk = Talk(kind, interface, is_request=is_request)
        message = talk.message(opcode, shape, is_request=is_request)
        for size in range(len(message)):
            assert talk.feed(message[:size]) == 0, f"{interface}.{shape.name}"
        assert not talk.output
        talk.relay.close()


@KINDS
@DIRECTIONS
def test_a_message_whose_header_says_less_harms_nobody(kind: str, is_request: bool) -> None:
    for interface, opcode, shape in _every(is_request):
        for size in range(8, 8 + 4 * len(shape.signature), 4):
            talk = Talk(kind, interface, is_request=is_request)
            message = bytearray(talk.message(opcode, shape, is_request=is_request)[:size])
            message[4:8] = (len(message) << 16 | opcode).to_bytes(4, "little")
            needs_all = bool(shape.new or shape.descriptors) and len(message) < shape.min_size
            try:
                assert talk.feed(bytes(message), shape.descriptors) == len(message)
                assert not needs_all, f"{interface}.{shape.name} was followed in {len(message)} bytes"
            except WireError:
                assert bytes(message) not in talk.output
            talk.relay.close()


@KINDS
@DIRECTIONS
@pytest.mark.parametrize("surplus", [-1, 0, 3], ids=["missing", "right", "surplus"])
def test_descriptors_are_passed_on_or_closed(kind: str, is_request: bool, surplus: int) -> None:
    seen = 0
    for interface, opcode, shape in _every(is_request):
        talk = Talk(kind, interface, is_request=is_request)
        message = talk.message(opcode, shape, is_request=is_request)
        try:
            talk.feed(message, max(0, shape.descriptors + surplus))
            assert surplus >= 0 or not shape.descriptors, f"{interface}.{shape.name} needs a descriptor"
            seen += shape.descriptors
        except WireError:
            assert surplus < 0 or kind != "plain", f"{interface}.{shape.name}"
        talk.relay.close()
    assert surplus < 0 or seen > 5

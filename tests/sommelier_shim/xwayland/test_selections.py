"""A selection between the host's clipboard and X programs, on a real X server. The test plays the host."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from sommelier_shim.xwayland.selections import (
    PIECE,
    TRANSFER_LIMIT,
    EndTransfer,
    Receive,
    WriteData,
)
from sommelier_shim.xwayland.x11.messages import (
    ConvertSelection,
    DestroyWindow,
    SelectionNotify,
    SelectionRequest,
)
from support.x_selections import PLAIN, Host, Program
from support.x_server import x_server


@pytest.fixture
def display(tmp_path: Path) -> Iterator[str]:
    with x_server(tmp_path) as display:
        yield display


@pytest.fixture
def host(display: str) -> Iterator[Host]:
    host = Host(display)
    yield host
    host.close()


@pytest.fixture
def program(display: str, host: Host) -> Iterator[Program]:
    program = Program(display)
    yield program
    program.close()


def test_multiple_converts_what_it_can_and_names_the_rest(host: Host, program: Program) -> None:
    host.ours.host_offers((PLAIN, "image/png"))
    host.until(lambda: len(host.ours._targets) == 2)
    wanted = ["UTF8_STRING", "A", "TIMESTAMP", "B", "image/gif", "C", "image/png", "D", "MULTIPLE", "E"]
    atoms = [program.atom(name) for name in wanted]
    program.write(program.window, program.atom("PAIRS"), program.atom("ATOM_PAIR"), 32, struct.pack("<10I", *atoms))
    program.convert("MULTIPLE", "PAIRS")
    host.until(lambda: len(host.actions(Receive)) == 2)
    for action in host.actions(Receive):
        assert isinstance(action, Receive)
        host.ours.data(action.transfer, action.type.encode())
        host.ours.data(action.transfer, b"")
    host.until(lambda: True)
    assert program.event(SelectionNotify).property == program.atom("PAIRS")
    atoms[5] = atoms[9] = 0
    assert program.read("PAIRS").value == struct.pack("<10I", *atoms)
    assert (program.read("A").value, program.read("D").value) == (PLAIN.encode(), b"image/png")
    assert program.read("B").format == 32
    assert program.read("C").type == program.read("E").type == 0


@pytest.mark.parametrize(
    ("form", "value"), [(8, b"abcdefgh"), (32, b""), (32, bytes(4)), (32, bytes(8 * 200)), (32, bytes(8))]
)
def test_a_multiple_that_makes_no_sense_is_refused(host: Host, program: Program, form: int, value: bytes) -> None:
    host.ours.host_offers((PLAIN,))
    host.until(lambda: len(host.ours._targets) == 1)
    program.write(program.window, program.atom("PAIRS"), program.atom("ATOM_PAIR"), form, value)
    program.convert("MULTIPLE", "PAIRS")
    host.settle()
    host.settle()
    # A pair of nothing is a request in which everything is refused.
    assert program.event(SelectionNotify).property == 0 or program.read("PAIRS").value == bytes(len(value))
    assert not host.actions(Receive)


def test_a_thousand_requests_at_once_are_all_answered(host: Host, program: Program) -> None:
    host.ours.host_offers((PLAIN,))
    host.until(lambda: len(host.ours._targets) == 1)
    count, answered = 1000, 0
    clipboard, text = program.atom("CLIPBOARD"), program.atom("UTF8_STRING")
    into = [program.atom(f"INTO_{number}") for number in range(count)]
    for each in into:
        program.wire.request(ConvertSelection(program.window, clipboard, text, each, 0))
    assert program.sync() == []
    host.until(lambda: len(host.ours._waiting) == count - TRANSFER_LIMIT)
    while answered < count:
        (action, *_) = host.actions(Receive)
        host.done.remove(action)
        assert isinstance(action, Receive)
        host.ours.data(action.transfer, b"text")
        host.ours.data(action.transfer, b"")
        answered += 1
        assert len(host.ours._to_programs) <= TRANSFER_LIMIT
    host.until(lambda: True)
    assert all(program.event(SelectionNotify).property for _ in range(count))
    assert program.read("INTO_999").value == b"text"


def test_a_program_that_dies_while_it_pastes_frees_its_place(host: Host, program: Program) -> None:
    host.ours.host_offers((PLAIN,))
    host.until(lambda: len(host.ours._targets) == 1)
    program.convert("UTF8_STRING", "INTO")
    host.until(lambda: host.actions(Receive))
    (action,) = host.actions(Receive)
    assert isinstance(action, Receive)
    host.ours.data(action.transfer, bytes(PIECE + 1))
    host.until(lambda: True)
    assert program.event(SelectionNotify).property == program.atom("INTO")
    program.wire.request(DestroyWindow(program.window))
    assert program.sync() == []
    host.until(lambda: host.actions(EndTransfer))
    assert not host.ours._to_programs


def test_an_owner_that_dies_in_the_middle_ends_its_transfers(display: str, host: Host) -> None:
    program = Program(display)
    program.offer(host, "UTF8_STRING")
    host.ours.send(1, PLAIN)
    host.ours.send(2, PLAIN)
    host.until(lambda: len([one for one in host.ours._to_host.values() if one.property]) == 2)
    request = program.event(SelectionRequest)
    program.write(request.requestor, request.property, program.atom("INCR"), 32, bytes(4))
    program.answer_to(request, request.property)
    host.until(lambda: host.ours._to_host[1].is_incremental)
    program.write(request.requestor, request.property, program.atom("UTF8_STRING"), 8, b"first")
    assert program.sync() == []
    host.until(lambda: host.actions(WriteData))
    host.ours.written(1)
    program.close()
    host.until(lambda: len(host.actions(EndTransfer)) == 2)
    assert host.actions(WriteData) == [WriteData(1, b"first")]
    assert not host.ours._to_host


def test_a_refusal_ends_the_transfer_of_its_target(host: Host, program: Program) -> None:
    program.offer(host, "UTF8_STRING", "image/png")
    host.ours.send(1, PLAIN)
    host.ours.send(2, "image/png")
    host.until(lambda: len([one for one in host.ours._to_host.values() if one.property]) == 2)
    first, second = program.event(SelectionRequest), program.event(SelectionRequest)
    program.answer_to(second, 0)
    host.until(lambda: host.actions(EndTransfer))
    assert host.actions(EndTransfer) == [EndTransfer(2)]
    program.write(first.requestor, first.property, program.atom("UTF8_STRING"), 8, b"text")
    program.answer_to(first, first.property)
    host.until(lambda: host.actions(WriteData))
    assert host.actions(WriteData) == [WriteData(1, b"text")]


def test_more_pipes_than_transfers_wait_for_their_turn(host: Host, program: Program) -> None:
    program.offer(host, "UTF8_STRING")
    count = TRANSFER_LIMIT + 8
    for number in range(count):
        host.ours.send(number, PLAIN)
    for number in range(count):
        host.settle()
        request = program.event(SelectionRequest)
        program.write(request.requestor, request.property, request.target, 8, b"%d" % number)
        program.answer_to(request, request.property)
        host.settle()
        host.settle()
        host.ours.written(number)
    assert host.actions(WriteData) == [WriteData(number, b"%d" % number) for number in range(count)]


def test_a_program_takes_an_endless_text_in_pieces_of_one_size(host: Host, program: Program) -> None:
    host.ours.host_offers((PLAIN,))
    host.until(lambda: len(host.ours._targets) == 1)
    program.convert("UTF8_STRING", "INTO")
    host.until(lambda: host.actions(Receive))
    (action,) = host.actions(Receive)
    assert isinstance(action, Receive)
    sent, got, total = 0, b"", 16 * PIECE
    transfer = host.ours._to_programs[action.transfer]
    while not host.actions(EndTransfer):
        while host.ours.wants(action.transfer):
            host.ours.data(action.transfer, bytes(PIECE) if sent < total else b"")
            sent += PIECE
        assert len(transfer.data) <= 2 * PIECE
        host.settle()
        reply = program.read("INTO")
        got += reply.value if reply.format == 8 else b""
        host.settle()
    assert got == bytes(total)

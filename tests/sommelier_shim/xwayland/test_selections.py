"""A selection between the host's clipboard and X programs, on a real X server. The test plays the host."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sommelier_shim.xwayland.selections import (
    PIECE,
    TRANSFER_LIMIT,
    EndTransfer,
    Offer,
    Receive,
    SelectionAction,
    WriteData,
    XSelection,
)
from sommelier_shim.xwayland.window_manager.atoms import NAMES, Atoms
from sommelier_shim.xwayland.x11.connection import Error, Event, Ready, Reply, X11Connection
from sommelier_shim.xwayland.x11.layout import encode
from sommelier_shim.xwayland.x11.messages import (
    EVENTS,
    LAYOUTS,
    ChangeProperty,
    ChangeWindowAttributes,
    ConvertSelection,
    CreateWindow,
    DestroyNotify,
    DestroyWindow,
    EventMask,
    GetProperty,
    GetPropertyReply,
    InternAtom,
    InternAtomReply,
    PropertyNotify,
    PropMode,
    SelectionNotify,
    SelectionRequest,
    SendEvent,
    SetSelectionOwner,
    WindowClass,
    XFixesSelectionEvent,
    XFixesSelectionEventMask,
    XFixesSelectionNotify,
    XFixesSelectSelectionInput,
)
from support.x_server import LIMIT, XClient, x_server

PLAIN = "text/plain;charset=utf-8"


class Host:
    """The clipboard of a host whose programs are the test."""

    def __init__(self, display: str) -> None:
        self._x = X11Connection()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(LIMIT)
        self._socket.connect(f"/tmp/.X11-unix/X{display[1:]}")
        self._asked: dict[int, str] = {}
        self.atoms = Atoms()
        self.selection: XSelection | None = None
        self.done: list[SelectionAction] = []
        self.until(lambda: self.selection is not None)

    def close(self) -> None:
        self._socket.close()

    @property
    def ours(self) -> XSelection:
        assert self.selection is not None
        return self.selection

    def actions(self, kind: type[SelectionAction]) -> list[SelectionAction]:
        self.done += self.ours.actions
        self.ours.actions.clear()
        return [one for one in self.done if isinstance(one, kind)]

    def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self._socket.sendall(self._x.data_to_send())
            received = self._socket.recv(65536)
            assert received, "the server has closed the connection"
            for message in self._x.receive(received):
                self._take(message)
        self._socket.sendall(self._x.data_to_send())

    def settle(self) -> None:
        """Work until everything that the server has said so far is taken."""
        number = self._x.request(InternAtom(False, b"settled"))
        self._asked[number] = "settled"
        self.until(lambda: number not in self._asked)

    def _take(self, message: Ready | Reply | Event | Error) -> None:
        if isinstance(message, Ready):
            for name in NAMES:
                self._asked[self._x.request(InternAtom(False, name.encode()))] = name
        elif isinstance(message, Reply) and message.number in self._asked:
            assert isinstance(message.message, InternAtomReply)
            self.atoms.add(self._asked.pop(message.number), message.message.atom)
            if self.atoms.are_known and self.selection is None:
                self._begin()
        elif self.selection is not None and isinstance(message, Reply):
            self.selection.reply(message.number, message.message)
        elif self.selection is not None and isinstance(message, Event):
            self._event(self.selection, message)

    def _event(self, selection: XSelection, event: Event) -> None:
        match event.message:
            case XFixesSelectionNotify() as one:
                is_gone = one.subtype != XFixesSelectionEvent.SET_SELECTION_OWNER
                selection.owner_changed(one.owner, one.selection_timestamp, is_gone=is_gone)
            case SelectionNotify() as one:
                selection.notified(one)
            case SelectionRequest() as one:
                selection.requested(one)
            case DestroyNotify() as one:
                selection.window_gone(one.window)
            case PropertyNotify() as one:
                selection.property_changed(one.atom, is_deleted=one.state == 1, window=one.window)

    def _begin(self) -> None:
        assert self._x.setup is not None
        window, root = self._x.new_id(), self._x.setup.roots[0].root
        mask = {"event_mask": EventMask.PROPERTY_CHANGE}
        self._x.request(CreateWindow(0, window, root, -1, -1, 1, 1, 0, WindowClass.INPUT_ONLY, 0, mask))
        self._x.request(ChangeWindowAttributes(root, {"event_mask": EventMask.SUBSTRUCTURE_NOTIFY}))
        masks = XFixesSelectionEventMask
        watched = masks.SET_SELECTION_OWNER | masks.SELECTION_WINDOW_DESTROY | masks.SELECTION_CLIENT_CLOSE
        self._x.request(XFixesSelectSelectionInput(window, self.atoms["CLIPBOARD"], watched))
        self.selection = XSelection(self._x, self.atoms, "CLIPBOARD", window)


class Program(XClient):
    """An X program with one window."""

    def __init__(self, display: str) -> None:
        super().__init__(display)
        self.window = self.wire.new_id()
        mask = {"event_mask": EventMask.PROPERTY_CHANGE}
        self.wire.request(CreateWindow(0, self.window, self.root, 0, 0, 1, 1, 0, WindowClass.INPUT_ONLY, 0, mask))
        assert self.sync() == []

    def atom(self, name: str) -> int:
        return self.call(InternAtom(False, name.encode()), InternAtomReply).atom

    def read(self, name: str) -> GetPropertyReply:
        return self.call(GetProperty(True, self.window, self.atom(name), 0, 0, 1 << 22), GetPropertyReply)

    def write(self, window: int, into: int, kind: int, form: int, data: bytes) -> None:
        count = len(data) * 8 // form
        self.wire.request(ChangeProperty(PropMode.REPLACE, window, into, kind, form, count, data))

    def convert(self, target: str, into: str) -> None:
        names = self.atom("CLIPBOARD"), self.atom(target), self.atom(into)
        self.wire.request(ConvertSelection(self.window, *names, 0))
        assert self.sync() == []

    def own(self) -> None:
        self.wire.request(SetSelectionOwner(self.window, self.atom("CLIPBOARD"), 0))
        assert self.sync() == []

    def answer_to(self, request: SelectionRequest, into: int) -> None:
        notify = SelectionNotify(request.time, request.requestor, request.selection, request.target, into)
        body = bytes(encode(notify, LAYOUTS))
        packet = bytes([EVENTS[SelectionNotify].code]) + body[:1] + bytes(2) + body[1:]
        self.wire.request(SendEvent(False, request.requestor, 0, packet.ljust(32, b"\0")))
        assert self.sync() == []

    def offer(self, host: Host, *names: str) -> None:
        """Own the selection, and answer the request for its targets."""
        self.own()
        host.until(lambda: host.ours._time)
        request = self.event(SelectionRequest)
        data = struct.pack(f"<{len(names)}I", *map(self.atom, names))
        self.write(request.requestor, request.property, self.atom("ATOM"), 32, data)
        self.answer_to(request, request.property)
        host.until(lambda: host.actions(Offer))


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

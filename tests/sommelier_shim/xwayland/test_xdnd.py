"""The host's drag over an X program's window, on a real X server."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from sommelier_shim.xwayland.selections import Receive
from sommelier_shim.xwayland.x11.messages import ClientMessage, DestroyWindow, SelectionNotify
from sommelier_shim.xwayland.xdnd import ASK, COPY, MOVE, DragAnswer, DragFinished, XdndDrag, final_action
from support.x_selections import PLAIN, Host, Program
from support.x_server import x_server

ACTIONS = {COPY: "XdndActionCopy", MOVE: "XdndActionMove", ASK: "XdndActionAsk"}


@pytest.fixture
def display(tmp_path: Path) -> Iterator[str]:
    with x_server(tmp_path) as display:
        yield display


@pytest.fixture
def host(display: str) -> Iterator[Host]:
    host = Host(display, "XdndSelection")
    yield host
    host.close()


@pytest.fixture
def program(display: str, host: Host) -> Iterator[Program]:
    program = Program(display)
    yield program
    program.close()


def accepts(program: Program, version: int) -> None:
    """Say that the program's window takes drops."""
    program.write(program.window, program.atom("XdndAware"), program.atom("ATOM"), 32, struct.pack("<I", version))
    assert program.sync() == []


def heard(host: Host, program: Program, name: str) -> tuple[int, ...]:
    """Wait until the program has got a message; earlier ones are dropped. Returns its numbers."""
    while True:
        host.settle()
        assert program.sync() == []
        while program.events:
            message = program.events.pop(0).message
            if isinstance(message, ClientMessage) and message.type == program.atom(name):
                assert host.drag is not None
                assert message.window == host.drag.window
                return struct.unpack("<5I", message.data)


def say(host: Host, program: Program, name: str, *numbers: int) -> None:
    """Send a message to the drag's source."""
    assert host.drag is not None
    data = struct.pack("<5I", host.drag.window, *numbers, *(0,) * (4 - len(numbers)))
    program.tell(host.ours.window, name, data)
    host.settle()


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_drop_is_finished_when_the_program_has_it(
    host: Host, program: Program, version: int, action: int
) -> None:
    accepts(program, version)
    drag = host.enter(program.window, PLAIN, "image/png", "text/uri-list")
    drag.suggested(action)
    drag.moved(-5, 70)
    entered = heard(host, program, "XdndEnter")
    assert entered[:2] == (host.ours.window, version << 24 | 1)
    assert entered[2] == program.atom(PLAIN)
    position = heard(host, program, "XdndPosition")
    assert (position[2], position[4]) == (0xFFFB << 16 | 70, program.atom(ACTIONS[action]))
    say(host, program, "XdndStatus", 1, 0, 0, program.atom(ACTIONS[action]))
    assert drag.actions == [DragAnswer(True, action)]
    drag.dropped()
    heard(host, program, "XdndDrop")
    program.convert("UTF8_STRING", "INTO", "XdndSelection")
    host.until(lambda: host.actions(Receive))
    (wanted,) = host.actions(Receive)
    assert isinstance(wanted, Receive)
    host.ours.data(wanted.transfer, b"dragged")
    host.ours.data(wanted.transfer, b"")
    host.settle()
    assert program.event(SelectionNotify).property
    assert program.read("INTO").value == b"dragged"
    say(host, program, "XdndFinished", *((1, program.atom(ACTIONS[action])) if version == 5 else ()))
    assert drag.actions[1:] == [DragFinished(True, action)]


def test_positions_wait_for_the_answer_to_the_last_one(host: Host, program: Program) -> None:
    accepts(program, 5)
    drag = host.enter(program.window, PLAIN)
    for x in range(100):
        drag.moved(x, 1)
        host.settle()
    first = heard(host, program, "XdndPosition")[2] >> 16
    say(host, program, "XdndStatus", 0)
    assert heard(host, program, "XdndPosition")[2] >> 16 == 99 > first
    assert drag.actions == [DragAnswer(False, COPY)]


def test_a_refused_drop_is_a_leave(host: Host, program: Program) -> None:
    accepts(program, 5)
    drag = host.enter(program.window, PLAIN)
    drag.moved(1, 1)
    heard(host, program, "XdndPosition")
    drag.dropped()
    say(host, program, "XdndStatus", 0)
    heard(host, program, "XdndLeave")
    assert drag.actions == [DragAnswer(False, COPY), DragFinished(False, 0)]


@pytest.mark.parametrize("version", [None, 2])
def test_a_window_that_takes_no_drops_refuses(host: Host, program: Program, version: int | None) -> None:
    if version is not None:
        accepts(program, version)
    drag = host.enter(program.window, PLAIN)
    drag.moved(1, 1)
    host.until(lambda: drag.actions)
    assert drag.actions == [DragAnswer(False, COPY), DragFinished(False, 0)]
    drag.left()
    host.settle()
    assert program.sync() == []
    assert not [event for event in program.events if isinstance(event.message, ClientMessage)]


def test_a_program_that_dies_under_the_drag_ends_it(host: Host, program: Program) -> None:
    accepts(program, 5)
    drag = host.enter(program.window, PLAIN)
    drag.moved(1, 1)
    heard(host, program, "XdndPosition")
    say(host, program, "XdndStatus", 1, 0, 0, program.atom("XdndActionCopy"))
    drag.dropped()
    heard(host, program, "XdndDrop")
    program.wire.request(DestroyWindow(program.window))
    assert program.sync() == []
    host.until(lambda: DragFinished(False, 0) in drag.actions)


def proxied(display: str, program: Program, *, is_alive: bool) -> Program:
    """Name a window of another program as the proxy of a window."""
    proxy = Program(display)
    numbers = struct.pack("<I", proxy.window)
    for window in (program.window, *([proxy.window] if is_alive else [])):
        program.write(window, program.atom("XdndProxy"), program.atom("WINDOW"), 32, numbers)
    assert program.sync() == []
    return proxy


def test_a_proxy_window_gets_the_messages(display: str, host: Host, program: Program) -> None:
    proxy = proxied(display, program, is_alive=True)
    accepts(proxy, 5)
    drag = host.enter(program.window, PLAIN)
    drag.moved(1, 1)
    heard(host, proxy, "XdndPosition")
    say(host, proxy, "XdndStatus", 1, 0, 0, program.atom("XdndActionCopy"))
    assert drag.actions == [DragAnswer(True, COPY)]
    proxy.close()


def test_a_proxy_that_is_left_over_is_not_used(display: str, host: Host, program: Program) -> None:
    proxied(display, program, is_alive=False).close()
    accepts(program, 5)
    drag: XdndDrag = host.enter(program.window, PLAIN)
    drag.moved(1, 1)
    heard(host, program, "XdndPosition")


def test_messages_of_others_change_nothing(host: Host, program: Program) -> None:
    accepts(program, 5)
    drag = host.enter(program.window, PLAIN)
    drag.moved(1, 1)
    heard(host, program, "XdndPosition")
    for name in ("XdndFinished", "XdndDrop", "XdndEnter"):
        say(host, program, name, 1)
    program.tell(host.ours.window, "XdndStatus", struct.pack("<5I", 12345, 1, 0, 0, 0))
    host.settle()
    assert drag.actions == []


def test_a_drag_ends_with_an_action_that_its_source_offers() -> None:
    assert final_action(MOVE, COPY | MOVE | ASK) == MOVE
    assert final_action(MOVE, COPY | ASK) == COPY
    assert final_action(COPY, MOVE | ASK) == MOVE
    assert final_action(ASK, COPY | MOVE | ASK) == COPY
    assert final_action(COPY, ASK) == 0

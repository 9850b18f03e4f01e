"""The window that takes the drags of X programs for the host, on a real X server."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from sommelier_shim.xwayland.selections import Offer
from sommelier_shim.xwayland.x11.messages import ClientMessage
from sommelier_shim.xwayland.xdnd import COPY, MOVE
from sommelier_shim.xwayland.xdnd_cover import XdndCover
from support.x_selections import PLAIN, Host, Program
from support.x_server import x_server

TYPES = [PLAIN, "image/png", "text/uri-list", "text/html"]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with x_server(tmp_path) as display:
        host = Host(display, "XdndSelection")
        host.cover()
        yield host
        host.close()


@pytest.fixture
def program(host: Host) -> Iterator[Program]:
    program = Program(host.display)
    yield program
    program.close()


def cover(host: Host) -> XdndCover:
    assert host.covering is not None
    return host.covering


def say(host: Host, program: Program, name: str, *numbers: int) -> None:
    """Send a message to the cover."""
    data = struct.pack("<5I", program.window, *numbers, *(0,) * (4 - len(numbers)))
    program.tell(cover(host).window, name, data)
    host.settle()


def heard(host: Host, program: Program, name: str) -> tuple[int, ...]:
    """The numbers of the last message that the program has got."""
    host.settle()
    assert program.sync() == []
    messages = [event.message for event in program.events if isinstance(event.message, ClientMessage)]
    program.events.clear()
    assert messages
    assert messages[-1].type == program.atom(name)
    return struct.unpack("<5I", messages[-1].data)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_the_types_of_a_drag_are_offered(host: Host, program: Program, count: int) -> None:
    atoms = [program.atom(name) for name in TYPES[:count]]
    program.write(
        program.window, program.atom("XdndTypeList"), program.atom("ATOM"), 32, struct.pack(f"<{count}I", *atoms)
    )
    say(host, program, "XdndEnter", 5 << 24 | (count > 3), *([*atoms, 0, 0][:3] if count < 4 else []))
    host.until(lambda: host.actions(Offer))
    assert host.actions(Offer) == [Offer(tuple(reversed(TYPES[:count])))]


def test_the_program_hears_what_the_host_would_do(host: Host, program: Program) -> None:
    say(host, program, "XdndEnter", 5 << 24, program.atom(PLAIN))
    say(host, program, "XdndPosition", 0, 0, 0, program.atom("XdndActionMove"))
    assert cover(host).action == MOVE
    assert heard(host, program, "XdndStatus")[1] & 1 == 0
    cover(host).allow(is_accepted=True, action=MOVE)
    status = heard(host, program, "XdndStatus")
    assert (status[0], status[1] & 1, status[4]) == (cover(host).window, 1, program.atom("XdndActionMove"))
    say(host, program, "XdndDrop", 0, 0)
    assert cover(host).is_dropped
    cover(host).finish(is_done=True)
    assert heard(host, program, "XdndFinished")[1:3] == (1, program.atom("XdndActionMove"))
    assert not cover(host).is_dropped


def test_a_drop_that_goes_nowhere_is_finished_as_refused(host: Host, program: Program) -> None:
    say(host, program, "XdndEnter", 5 << 24, program.atom(PLAIN))
    cover(host).allow(is_accepted=True, action=COPY)
    say(host, program, "XdndDrop", 0, 0)
    cover(host).finish(is_done=False)
    assert heard(host, program, "XdndFinished")[1:3] == (0, 0)


def test_another_program_cannot_drop_for_the_one_that_drags(host: Host, program: Program) -> None:
    say(host, program, "XdndEnter", 5 << 24, program.atom(PLAIN))
    other = Program(host.display)
    say(host, other, "XdndDrop", 0, 0)
    say(host, other, "XdndLeave")
    assert (cover(host).source, cover(host).is_dropped) == (program.window, False)
    other.close()

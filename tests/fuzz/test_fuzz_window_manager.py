"""For any events of an X server and of the host, the window manager goes on, and surfaces never share a role."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sommelier_shim.xwayland.selections import XSelection
from sommelier_shim.xwayland.window_manager.actions import Hide, ShowPopup, ShowToplevel
from sommelier_shim.xwayland.window_manager.manager import WindowManager
from sommelier_shim.xwayland.x11.connection import Error, Event, Reply, X11Connection
from sommelier_shim.xwayland.x11.layout import Message
from sommelier_shim.xwayland.x11.messages import (
    EVENTS,
    REQUESTS,
    ClientMessage,
    GetPropertyReply,
    InternAtomReply,
    SelectionNotify,
    SelectionRequest,
)
from support.fuzzing import ROUND
from support.x_stand_in import meet
from support.x_values import messages

ROOT = 77
IDS = st.one_of(st.sampled_from((ROOT, 5, 6, 7, 0x200001)), st.integers(0, 2**32 - 1))
SURFACES = st.integers(1, 4)
SIZES = st.integers(-(2**31), 2**31 - 1)
STATES = st.frozensets(st.sampled_from(("fullscreen", "maximized", "activated", "resizing")))
_OF_WINDOWS = ("window", "parent", "event", "requestor", "owner", "above_sibling")


def _near(event: Message, draw: Any) -> Any:
    """The same event about windows and atoms that there may be."""
    values = {name: getattr(event, name) for name in event._fields}
    for name in values.keys() & set(_OF_WINDOWS):
        values[name] = draw(IDS)
    for name in values.keys() & {"atom", "type", "target", "property", "selection"}:
        values[name] = draw(st.integers(0, 140))
    if isinstance(event, ClientMessage):
        values["format"] = 32
        values["data"] = struct.pack("<5I", *(draw(st.integers(0, 140)) for _ in range(5)))
    return type(event)(**values)


def _ready() -> tuple[X11Connection, WindowManager]:
    x = X11Connection()
    manager = WindowManager(x)
    for message in meet(x):
        manager.receive(message)
    for number in list(manager._replies):
        manager.receive(Reply(number, InternAtomReply(70 + number)))
    assert manager.is_ready
    return x, manager


@ROUND
@given(data=st.data())
def test_the_window_manager_goes_on(data: st.DataObject) -> None:
    x, manager = _ready()
    roles: dict[int, str] = {}
    calls: list[tuple[Callable[..., None], tuple[st.SearchStrategy[Any], ...]]] = [
        (manager.surface_created, (SURFACES,)),
        (manager.surface_serial, (SURFACES, st.integers(0, 3))),
        (manager.surface_destroyed, (SURFACES,)),
        (manager.toplevel_configured, (SURFACES, SIZES, SIZES, STATES)),
        (manager.close, (SURFACES,)),
        (manager.contents_shown, (SURFACES,)),
        (manager.wake, ()),
    ]
    for _ in range(data.draw(st.integers(1, 40))):
        what = data.draw(st.integers(0, 9))
        if what < 5:
            kind = data.draw(st.sampled_from(sorted(EVENTS, key=lambda kind: kind.__name__)))
            event = _near(data.draw(messages(kind)), data.draw)
            manager.receive(Event(0, event, data.draw(st.booleans())))
        elif what < 8 and manager._replies:
            number = data.draw(st.sampled_from(sorted(manager._replies)))
            if data.draw(st.integers(0, 9)) == 0:
                manager.receive(Error(number, 3, 0, None))
            else:
                manager.receive(Reply(number, data.draw(messages(GetPropertyReply))))
        else:
            call, values = data.draw(st.sampled_from(calls))
            call(*(data.draw(one) for one in values))
        for action in manager.actions:
            if isinstance(action, (ShowToplevel, ShowPopup)):
                assert not roles.get(action.surface), action
                roles[action.surface] = type(action).__name__
            elif isinstance(action, Hide):
                assert roles.pop(action.surface, ""), action
        manager.actions.clear()
        x.data_to_send()


@ROUND
@given(data=st.data())
def test_a_selection_goes_on(data: st.DataObject) -> None:
    x, manager = _ready()
    selection = XSelection(x, manager.atoms, "CLIPBOARD", 9)
    for _ in range(data.draw(st.integers(1, 40))):
        transfers = sorted({*selection._to_host, *selection._to_programs, 1})
        match data.draw(st.integers(0, 8)):
            case 0:
                selection.owner_changed(data.draw(st.sampled_from((0, 5, 9))), 1)
            case 1:
                selection.notified(_near(data.draw(messages(SelectionNotify)), data.draw))
            case 2:
                selection.requested(_near(data.draw(messages(SelectionRequest)), data.draw))
            case 3:
                number = data.draw(st.integers(0, 140))
                selection.property_changed(number, is_deleted=data.draw(st.booleans()), window=data.draw(IDS))
            case 4 if selection._asked:
                number = data.draw(st.sampled_from(sorted(selection._asked)))
                kind = data.draw(st.sampled_from([one.reply for one in REQUESTS.values() if one.reply]))
                selection.reply(number, data.draw(st.one_of(st.none(), messages(kind))))
            case 5:
                selection.host_offers(tuple(data.draw(st.lists(st.text(max_size=9), max_size=4))))
            case 6:
                selection.send(data.draw(st.integers(1, 5)), data.draw(st.sampled_from(("text/plain", "x"))))
            case 7:
                selection.data(data.draw(st.sampled_from(transfers)), data.draw(st.binary(max_size=9)))
            case _:
                call = data.draw(st.sampled_from((selection.written, selection.cancel)))
                call(data.draw(st.sampled_from(transfers)))
        selection.actions.clear()
        x.data_to_send()

"""The X11 wire against a real server: Xvfb, and the X tools as independent readers of what we wrote."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest

from sommelier_shim.xwayland.x11.connection import EXTENSIONS
from sommelier_shim.xwayland.x11.layout import Inner, Items, Message, Switch, encode
from sommelier_shim.xwayland.x11.messages import (
    LAYOUTS,
    REQUESTS,
    Atom,
    ChangeProperty,
    ChangeWindowAttributes,
    ClientMessage,
    CompositeQueryVersion,
    CompositeQueryVersionReply,
    ConfigureRequest,
    ConfigureWindow,
    ConvertSelection,
    CreateWindow,
    DestroyNotify,
    DestroyWindow,
    EventMask,
    GetAtomName,
    GetAtomNameReply,
    GetGeometry,
    GetGeometryReply,
    GetProperty,
    GetPropertyReply,
    InternAtom,
    InternAtomReply,
    MapRequest,
    MapWindow,
    PropMode,
    QueryTree,
    QueryTreeReply,
    RandRGetMonitors,
    RandRGetMonitorsReply,
    ResClientIdMask,
    ResClientIdSpec,
    ResQueryClientIds,
    ResQueryClientIdsReply,
    SelectionRequest,
    SendEvent,
    SetSelectionOwner,
    SyncAlarmNotify,
    SyncCreateAlarm,
    SyncCreateCounter,
    SyncInt64,
    SyncSetCounter,
    SyncTESTTYPE,
    SyncVALUETYPE,
    WindowClass,
    XFixesSelectionNotify,
    XFixesSelectSelectionInput,
)
from support.needs import need
from support.x_server import XClient, x_server

_BAD_REQUEST, _BAD_LENGTH = 1, 16


@pytest.fixture(scope="module")
def display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with x_server(tmp_path_factory.mktemp("x")) as display:
        yield display


@pytest.fixture
def client(display: str) -> Iterator[XClient]:
    client = XClient(display)
    try:
        yield client
    finally:
        client.close()


def _window(client: XClient, **values: int) -> int:
    window = client.wire.new_id()
    client.wire.request(
        CreateWindow(0, window, client.root, 10, 20, 300, 200, 1, WindowClass.INPUT_OUTPUT, 0, values)
    )
    return window


def _atom(client: XClient, name: str) -> int:
    return client.call(InternAtom(False, name.encode()), InternAtomReply).atom


def _tool(display: str, *argv: str) -> str:
    need(argv[0], packages="x11-utils")
    done = subprocess.run([*argv, "-display", display], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_the_server_has_every_extension(client: XClient) -> None:
    assert client.ready is not None
    assert client.ready.extensions == set(EXTENSIONS)


def test_the_tools_read_the_window_that_we_made(client: XClient, display: str) -> None:
    window = _window(client)
    utf8 = _atom(client, "UTF8_STRING")
    title = "Größe – 日本".encode()
    for name, kind, form, data in (
        (_atom(client, "_NET_WM_NAME"), utf8, 8, title),
        (Atom.WM_CLASS, Atom.STRING, 8, b"box\0Box\0"),
        (_atom(client, "_NET_WM_PID"), Atom.CARDINAL, 32, (4711).to_bytes(4, "little")),
    ):
        count = len(data) * 8 // form
        client.wire.request(ChangeProperty(PropMode.REPLACE, window, name, kind, form, count, data))
    client.wire.request(ConfigureWindow(window, {"width": 320, "x": -5}))
    assert client.sync() == []
    read = _tool(display, "xwininfo", "-id", hex(window))
    assert "Absolute upper-left X:  -5" in read
    assert "Width: 320\n  Height: 200" in read
    properties = _tool(display, "xprop", "-id", hex(window), "WM_CLASS", "_NET_WM_PID")
    assert properties.splitlines() == ['WM_CLASS(STRING) = "box", "Box"', "_NET_WM_PID(CARDINAL) = 4711"]
    reply = client.call(GetProperty(False, window, _atom(client, "_NET_WM_NAME"), 0, 0, 100), GetPropertyReply)
    assert (reply.type, reply.format, reply.value) == (utf8, 8, title)
    geometry = client.call(GetGeometry(window), GetGeometryReply)
    assert (geometry.x, geometry.y, geometry.width, geometry.height) == (-5, 20, 320, 200)
    assert client.call(GetAtomName(utf8), GetAtomNameReply).name == b"UTF8_STRING"
    tree = client.call(QueryTree(client.root), QueryTreeReply)
    assert window in tree.children


def test_a_property_of_a_megabyte_travels_whole(client: XClient) -> None:
    window, data = _window(client), bytes(range(256)) * 4096
    client.wire.request(ChangeProperty(PropMode.REPLACE, window, Atom.CARDINAL, Atom.CARDINAL, 32, 2**18, data))
    reply = client.call(GetProperty(False, window, Atom.CARDINAL, 0, 0, 2**20), GetPropertyReply)
    assert reply.value == data


def test_a_window_manager_is_asked(client: XClient, display: str) -> None:
    mask = EventMask.SUBSTRUCTURE_REDIRECT | EventMask.SUBSTRUCTURE_NOTIFY
    client.wire.request(ChangeWindowAttributes(client.root, {"event_mask": mask}))
    assert client.sync() == []
    with contextlib.closing(XClient(display)) as program:
        window = _window(program)
        program.wire.request(ConfigureWindow(window, {"height": 77}))
        program.wire.request(MapWindow(window))
        assert program.sync() == []
        asked = client.event(ConfigureRequest)
        assert (asked.window, asked.height, asked.value_mask) == (window, 77, 8)
        assert client.event(MapRequest).window == window
        program.wire.request(DestroyWindow(window))
        assert program.sync() == []
        assert client.event(DestroyNotify).window == window


def test_a_message_of_another_client_arrives(client: XClient, display: str) -> None:
    window = _window(client)
    message = ClientMessage(32, window, Atom.WM_HINTS, bytes(range(20)))
    assert client.sync() == []
    body = encode(message, LAYOUTS)
    event = bytes([33, body[0], 0, 0]) + bytes(body[1:])
    with contextlib.closing(XClient(display)) as other:
        other.wire.request(SendEvent(False, window, EventMask.NO_EVENT, event))
        assert other.sync() == []
    assert client.event(ClientMessage) == message


def test_selections_tell_their_owners_and_their_watchers(client: XClient, display: str) -> None:
    with contextlib.closing(XClient(display)) as owner:
        clipboard, window = _atom(client, "CLIPBOARD"), _window(owner)
        client.wire.request(XFixesSelectSelectionInput(client.root, clipboard, 7))
        assert client.sync() == []
        owner.wire.request(SetSelectionOwner(window, clipboard, 0))
        assert owner.sync() == []
        assert client.event(XFixesSelectionNotify).owner == window
        client.wire.request(ConvertSelection(_window(client), clipboard, Atom.STRING, Atom.CUT_BUFFER0, 0))
        assert client.sync() == []
        assert owner.event(SelectionRequest).target == Atom.STRING


def test_the_server_names_our_process(client: XClient) -> None:
    window = _window(client)
    request = ResQueryClientIds((ResClientIdSpec(window, ResClientIdMask.LOCAL_CLIENT_PID),))
    [found] = client.call(request, ResQueryClientIdsReply).ids
    assert found.value == (os.getpid(),)


def test_an_alarm_of_a_counter(client: XClient) -> None:
    counter, alarm = client.wire.new_id(), client.wire.new_id()
    client.wire.request(SyncCreateCounter(counter, SyncInt64(0, 0)))
    client.wire.request(
        SyncCreateAlarm(
            alarm,
            {
                "counter": counter,
                "valueType": SyncVALUETYPE.ABSOLUTE,
                "value": SyncInt64(0, 5),
                "testType": SyncTESTTYPE.POSITIVE_COMPARISON,
                "delta": SyncInt64(0, 1),
                "events": 1,
            },
        )
    )
    client.wire.request(SyncSetCounter(counter, SyncInt64(0, 6)))
    assert client.sync() == []
    notified = client.event(SyncAlarmNotify)
    assert (notified.alarm, notified.counter_value.lo) == (alarm, 6)


def test_the_outputs_are_those_that_xrandr_reads(client: XClient) -> None:
    assert client.call(CompositeQueryVersion(0, 4), CompositeQueryVersionReply).minor_version >= 3
    [monitor] = client.call(RandRGetMonitors(client.root, True), RandRGetMonitorsReply).monitors
    assert (monitor.x, monitor.y, monitor.width, monitor.height) == (0, 0, 800, 600)


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_the_server_knows_every_request_by_its_length(display: str, kind: type[Message]) -> None:
    """With zeros for all values most requests fail, but none for its opcode or its length."""
    with contextlib.closing(XClient(display)) as client:
        client.wire.request(kind(**{name: _empty(kind, name) for name in kind._fields}))
        assert [error for error in client.sync() if error.code in (_BAD_REQUEST, _BAD_LENGTH)] == []


def _empty(kind: type[Message], name: str) -> object:
    for item in LAYOUTS[kind]:
        if isinstance(item, Items) and item.name == name:
            size = item.length if isinstance(item.length, int) and item.length > 0 else 0
            return bytes(size) if not item.item else ()
        if isinstance(item, Switch) and item.name == name:
            return {}
        if isinstance(item, Inner) and item.name == name:
            return item.kind(**dict.fromkeys(item.kind._fields, 0))
    return 0

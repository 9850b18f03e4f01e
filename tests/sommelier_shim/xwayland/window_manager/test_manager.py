"""sommelier_shim.xwayland.window_manager.manager on a real X server; the X tools read what it did."""

from __future__ import annotations

import contextlib
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sommelier_shim.xwayland.window_manager.actions import (
    Accept,
    ChangeToplevel,
    Hide,
    MovePopup,
    RequestState,
    ShowPopup,
    ShowToplevel,
)
from sommelier_shim.xwayland.window_manager.closing import PATIENCE
from sommelier_shim.xwayland.window_manager.manager import AnotherWindowManager
from sommelier_shim.xwayland.window_manager.window import Rectangle
from sommelier_shim.xwayland.x11.layout import encode
from sommelier_shim.xwayland.x11.messages import (
    EVENTS,
    LAYOUTS,
    Atom,
    ChangeProperty,
    ClientMessage,
    ConfigureNotify,
    ConfigureWindow,
    CreateNotify,
    CreateWindow,
    DestroyWindow,
    EventMask,
    FocusIn,
    GetInputFocus,
    GetInputFocusReply,
    GetProperty,
    GetPropertyReply,
    InternAtom,
    InternAtomReply,
    MapWindow,
    PropMode,
    ReparentNotify,
    SendEvent,
    SyncCreateCounter,
    SyncInt64,
    SyncSetCounter,
    UnmapWindow,
    WindowClass,
)
from support.needs import need
from support.x_manager import FIRST_SURFACE, ManagedScreen, managed_screen
from support.x_server import LIMIT, XClient, x_server


@pytest.fixture(scope="module")
def display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with x_server(tmp_path_factory.mktemp("x")) as display:
        yield display


@pytest.fixture
def screen(display: str) -> Iterator[ManagedScreen]:
    with managed_screen(display) as screen:
        yield screen


@pytest.fixture
def program(display: str) -> Iterator[XClient]:
    with contextlib.closing(XClient(display)) as program:
        yield program


def _atom(client: XClient, name: str) -> int:
    return client.call(InternAtom(False, name.encode()), InternAtomReply).atom


def _window(client: XClient, x: int = 30, y: int = 40, width: int = 200, height: int = 100, **values: int) -> int:
    window = client.wire.new_id()
    mask = {"event_mask": EventMask.STRUCTURE_NOTIFY | EventMask.FOCUS_CHANGE}
    client.wire.request(
        CreateWindow(0, window, client.root, x, y, width, height, 3, WindowClass.INPUT_OUTPUT, 0, values | mask)
    )
    return window


def _set(client: XClient, window: int, name: str, kind: str, *numbers: int) -> None:
    data = struct.pack(f"<{len(numbers)}I", *numbers)
    kind_atom = _atom(client, kind)
    client.wire.request(
        ChangeProperty(PropMode.REPLACE, window, _atom(client, name), kind_atom, 32, len(numbers), data)
    )


def _map(client: XClient, screen: ManagedScreen, window: int) -> int:
    """Map a window; returns its surface."""
    client.wire.request(MapWindow(window))
    assert client.sync() == []
    screen.until(lambda: window in screen.windows() and bool(screen.windows()[window].role))
    return screen.windows()[window].surface


def _tell(client: XClient, screen: ManagedScreen, window: int, kind: str, *numbers: int) -> None:
    """Send the window manager a message, as programs do."""
    data = struct.pack("<5I", *numbers, *(0,) * (5 - len(numbers)))
    body = bytes(encode(ClientMessage(32, window, _atom(client, kind), data), LAYOUTS))
    event = bytes([33]) + body[:1] + bytes(2) + body[1:]
    mask = EventMask.SUBSTRUCTURE_NOTIFY | EventMask.SUBSTRUCTURE_REDIRECT
    client.wire.request(SendEvent(False, client.root, mask, event))
    assert client.sync() == []
    screen.settle()


def _tool(screen: ManagedScreen, *argv: str) -> str:
    need(argv[0], packages="x11-utils")
    screen.settle()
    done = subprocess.run(
        [argv[0], "-display", screen.display, *argv[1:]], capture_output=True, text=True, timeout=LIMIT, check=True
    )
    return done.stdout


def test_the_tools_see_a_window_manager(screen: ManagedScreen) -> None:
    said = _tool(screen, "xprop", "-root", "_NET_SUPPORTING_WM_CHECK", "_NET_SUPPORTED", "_NET_CLIENT_LIST")
    assert "_NET_WM_STATE_FULLSCREEN" in said
    check = said.splitlines()[0].rpartition(" ")[2]
    assert '_NET_WM_NAME(UTF8_STRING) = "LG3D"' in _tool(screen, "xprop", "-id", check, "_NET_WM_NAME")


def test_a_second_window_manager_is_told(screen: ManagedScreen, display: str) -> None:
    with pytest.raises(AnotherWindowManager), managed_screen(display):
        pass


def test_xterm_becomes_a_toplevel_with_its_title_and_class(screen: ManagedScreen, tmp_path: Path) -> None:
    need("xterm", packages="xterm")
    screen.start("xterm", "-title", "Shell in a box", home=tmp_path)
    screen.until(lambda: bool(screen.actions(ShowToplevel)))
    [shown] = screen.actions(ShowToplevel)
    assert isinstance(shown, ShowToplevel)
    assert (shown.surface, shown.toplevel.title, shown.toplevel.identity.name) == (
        FIRST_SURFACE,
        "Shell in a box",
        "XTerm",
    )
    assert shown.toplevel.is_decorated
    assert min(shown.toplevel.minimum) > 0
    [window] = [one for one in screen.windows().values() if one.role]
    said = _tool(screen, "xprop", "-id", hex(window.number), "WM_STATE")
    assert "window state: Normal" in said


def test_a_window_without_a_place_of_its_own_is_centered(screen: ManagedScreen, program: XClient) -> None:
    window = _window(program)
    _map(program, screen, window)
    assert screen.windows()[window].place == Rectangle(300, 250, 200, 100)
    read = _tool(screen, "xwininfo", "-id", hex(window))
    assert "upper-left X:  300" in read
    assert "Border width: 0" in read
    assert "_NET_WORKAREA(CARDINAL) = 0, 0, 800, 600" in _tool(screen, "xprop", "-root", "_NET_WORKAREA")


def test_a_menu_is_a_popup_at_its_place_in_its_window(screen: ManagedScreen, program: XClient) -> None:
    parent = _window(program)
    surface = _map(program, screen, parent)
    place = screen.windows()[parent].place
    menu = _window(program, place.x + 7, place.y - 9, 50, 60, override_redirect=1)
    popup = _map(program, screen, menu)
    assert screen.done[-1] == ShowPopup(popup, surface, 7, -9, 56, 66, True)
    program.wire.request(ConfigureWindow(menu, {"x": place.x + 70, "height": 80}))
    assert program.sync() == []
    screen.until(lambda: bool(screen.actions(MovePopup)))
    assert screen.actions(MovePopup) == [MovePopup(popup, 70, -9, 56, 86, True)]
    program.wire.request(UnmapWindow(menu))
    assert program.sync() == []
    screen.until(lambda: bool(screen.actions(Hide)))
    assert screen.actions(Hide) == [Hide(popup)]


def test_a_popup_belongs_to_the_window_of_its_program_that_the_user_has_touched(
    screen: ManagedScreen, program: XClient, display: str
) -> None:
    first, second = _map(program, screen, _window(program)), _map(program, screen, _window(program))
    with contextlib.closing(XClient(display)) as other:
        theirs = _map(other, screen, _window(other))
        screen.apply(theirs, 0, 0, frozenset({"activated"}), call=screen.manager.toplevel_configured)
        for touched, expected in ((first, first), (second, second), (theirs, second)):
            screen.apply(touched, call=screen.manager.touched)
            screen.settle()
            _map(program, screen, menu := _window(program, override_redirect=1))
            [*_, shown] = screen.actions(ShowPopup)
            assert isinstance(shown, ShowPopup)
            assert shown.parent == expected
            submenu = _map(program, screen, _window(program, override_redirect=1))
            screen.apply(submenu, call=screen.manager.touched)
            _set(program, tooltip := _window(program, override_redirect=1), "WM_TRANSIENT_FOR", "WINDOW", menu)
            _map(program, screen, tooltip)
            [*_, shown] = screen.actions(ShowPopup)
            assert isinstance(shown, ShowPopup)
            assert shown.parent == expected


def test_a_popup_without_any_window_is_a_toplevel_without_the_focus(
    screen: ManagedScreen, program: XClient
) -> None:
    alone = _map(program, screen, menu := _window(program, override_redirect=1))
    assert [action.surface for action in screen.actions(ShowToplevel)] == [alone]
    screen.apply(alone, 0, 0, frozenset({"activated"}), call=screen.manager.toplevel_configured)
    assert program.call(GetInputFocus(), GetInputFocusReply).focus != menu


def test_the_server_learns_where_the_host_has_moved_a_popup(screen: ManagedScreen, program: XClient) -> None:
    _map(program, screen, parent := _window(program))
    place = screen.windows()[parent].place
    menu = _window(program, place.x + 190, place.y + 90, 50, 60, override_redirect=1)
    popup = _map(program, screen, menu)
    screen.apply(popup, 150, 80, call=screen.manager.popup_configured)
    wanted = (menu, place.x + 150, place.y + 80)
    while ((told := program.event(ConfigureNotify)).window, told.x, told.y) != wanted:
        pass
    screen.settle()
    assert screen.actions(MovePopup) == []
    # A program that insists gets its place.
    program.wire.request(ConfigureWindow(menu, {"x": place.x + 190, "y": place.y + 90}))
    assert program.sync() == []
    screen.settle()
    assert screen.actions(MovePopup) == [MovePopup(popup, 190, 90, 56, 66, False)]


def test_a_window_that_is_hidden_outside_and_a_drag_icon_stay_where_they_are(
    screen: ManagedScreen, program: XClient
) -> None:
    _map(program, screen, _window(program))
    _map(program, screen, _window(program, -100, -100, 10, 10, override_redirect=1))
    icon = _window(program, override_redirect=1)
    _set(program, icon, "_NET_WM_WINDOW_TYPE", "ATOM", _atom(program, "_NET_WM_WINDOW_TYPE_DND"))
    _map(program, screen, icon)
    shown = screen.actions(ShowPopup)
    assert [one.is_movable for one in shown if isinstance(one, ShowPopup)] == [False, False]


def test_a_popup_stays_where_it_is_when_its_window_moves(screen: ManagedScreen, program: XClient) -> None:
    _map(program, screen, parent := _window(program))
    place = screen.windows()[parent].place
    popup = _map(program, screen, _window(program, place.x + 7, place.y + 9, 50, 60, override_redirect=1))
    program.wire.request(ConfigureWindow(parent, {"x": place.x - 10, "y": place.y - 20}))
    assert program.sync() == []
    screen.settle()
    assert screen.actions(MovePopup) == [MovePopup(popup, 17, 29, 56, 66, True)]


def test_the_window_under_the_pointer_is_above_those_that_the_server_sees_there(
    screen: ManagedScreen, program: XClient
) -> None:
    lower = _map(program, screen, first := _window(program))
    _map(program, screen, second := _window(program))
    _map(program, screen, menu := _window(program, override_redirect=1))
    assert screen.manager._windows.stacking[:2] == [first, second]
    screen.apply(lower, call=screen.manager.touched)
    assert screen.manager._windows.stacking == [second, menu, first]


def test_a_window_is_on_the_output_that_shows_it(screen: ManagedScreen, program: XClient) -> None:
    surface = _map(program, screen, window := _window(program, 700, 500))
    areas = [Rectangle(0, 0, 1000, 800), Rectangle(1000, 100, 300, 250)]
    screen.manager._areas.replace(areas)
    place = screen.windows()[window].place
    screen.apply(surface, areas, call=screen.manager.outputs_entered)
    assert screen.windows()[window].place == place
    screen.apply(surface, areas[1:], call=screen.manager.outputs_entered)
    assert screen.windows()[window].place == Rectangle(1100, 250, 200, 100)
    screen.apply(surface, 300, 250, frozenset({"fullscreen"}), call=screen.manager.toplevel_configured)
    assert screen.windows()[window].place == Rectangle(1000, 100, 300, 250)
    screen.apply(surface, areas[:1], call=screen.manager.outputs_entered)
    assert screen.windows()[window].place[:2] == (0, 0)
    # Its place from before is on the other output.
    screen.apply(surface, 200, 100, frozenset(), call=screen.manager.toplevel_configured)
    assert screen.windows()[window].place == Rectangle(100, 150, 200, 100)


def test_a_window_is_sharp_on_the_host_unless_it_has_one_size(screen: ManagedScreen, program: XClient) -> None:
    screen.manager.fit = lambda size: size + 1
    _map(program, screen, window := _window(program))
    assert screen.windows()[window].place[2:] == (201, 101)
    fixed = _window(program)
    _set(program, fixed, "WM_NORMAL_HINTS", "WM_SIZE_HINTS", 16 | 32, 0, 0, 0, 0, 200, 100, 200, 100, *(0,) * 9)
    _map(program, screen, fixed)
    assert screen.windows()[fixed].place[2:] == (200, 100)


def test_programs_read_the_density(screen: ManagedScreen) -> None:
    said = _tool(screen, "xprop", "-root", "RESOURCE_MANAGER")
    assert said.strip() == 'RESOURCE_MANAGER(STRING) = "Xft.dpi:\\t96\\nXcursor.size:\\t24\\n"'


def test_popups_disappear_before_their_window(screen: ManagedScreen, program: XClient) -> None:
    parent = _window(program)
    surface = _map(program, screen, parent)
    popups = [_map(program, screen, _window(program, override_redirect=1)) for _ in range(3)]
    program.wire.request(DestroyWindow(parent))
    assert program.sync() == []
    screen.until(lambda: len(screen.actions(Hide)) == 4)
    hidden = [action.surface for action in screen.actions(Hide) if isinstance(action, Hide)]
    assert sorted(hidden[:3]) == sorted(popups)
    assert hidden[3] == surface


def test_an_override_redirect_window_without_another_is_a_toplevel(screen: ManagedScreen, program: XClient) -> None:
    surface = _map(program, screen, _window(program, override_redirect=1))
    [shown] = screen.actions(ShowToplevel)
    assert isinstance(shown, ShowToplevel)
    assert shown.surface == surface


def test_a_dialog_has_its_parent(screen: ManagedScreen, program: XClient) -> None:
    parent, dialog = _window(program), _window(program)
    surface = _map(program, screen, parent)
    _set(program, dialog, "WM_TRANSIENT_FOR", "WINDOW", parent)
    _map(program, screen, dialog)
    shown = screen.actions(ShowToplevel)[-1]
    assert isinstance(shown, ShowToplevel)
    assert shown.toplevel.parent == surface


def test_windows_that_are_dialogs_of_each_other_do_no_harm(screen: ManagedScreen, program: XClient) -> None:
    first, second = _window(program), _window(program)
    _set(program, first, "WM_TRANSIENT_FOR", "WINDOW", second)
    _set(program, second, "WM_TRANSIENT_FOR", "WINDOW", first)
    one, other = _map(program, screen, first), _map(program, screen, second)
    for surface in (one, other, one):
        screen.apply(surface, 0, 0, frozenset({"activated"}), call=screen.manager.toplevel_configured)
    screen.settle()
    parents: dict[int, int] = {}
    for action in screen.done:
        if isinstance(action, ShowToplevel | ChangeToplevel):
            parents[action.surface] = action.toplevel.parent
            assert parents.get(parents[action.surface]) != action.surface, "each is the parent of the other"


def test_a_dialog_whose_window_is_gone_has_no_parent(screen: ManagedScreen, program: XClient) -> None:
    parent, dialog = _window(program), _window(program)
    _set(program, dialog, "WM_TRANSIENT_FOR", "WINDOW", parent)
    _map(program, screen, parent)
    surface = _map(program, screen, dialog)
    program.wire.request(DestroyWindow(parent))
    assert program.sync() == []
    screen.until(lambda: parent not in screen.windows())
    last = screen.actions(ChangeToplevel)[-1]
    assert isinstance(last, ChangeToplevel)
    assert (last.surface, last.toplevel.parent) == (surface, 0)


def test_no_window_takes_the_surface_of_another(screen: ManagedScreen, program: XClient) -> None:
    window, liar = _window(program), _window(program)
    surface = _map(program, screen, window)
    _tell(program, screen, liar, "WL_SURFACE_ID", surface)
    screen.apply(surface, 0, 0, frozenset({"activated"}), call=screen.manager.toplevel_configured)
    assert "focused" in screen.windows()[window].states
    program.wire.request(DestroyWindow(liar))
    assert program.sync() == []
    screen.settle()
    screen.apply(surface, 0, 0, frozenset(), call=screen.manager.toplevel_configured)
    assert "focused" not in screen.windows()[window].states
    assert screen.actions(Hide) == []


def test_a_new_title_reaches_the_host(screen: ManagedScreen, program: XClient) -> None:
    window = _window(program)
    _map(program, screen, window)
    program.wire.request(ChangeProperty(PropMode.REPLACE, window, Atom.WM_NAME, Atom.STRING, 8, 3, b"new"))
    assert program.sync() == []
    screen.until(lambda: bool(screen.actions(ChangeToplevel)))
    changed = screen.actions(ChangeToplevel)[-1]
    assert isinstance(changed, ChangeToplevel)
    assert changed.toplevel.title == "new"


def test_the_host_resizes_a_window_and_gets_its_acceptance(screen: ManagedScreen, program: XClient) -> None:
    window = _window(program)
    surface = _map(program, screen, window)
    screen.done.clear()
    screen.apply(surface, 0, 0, frozenset({"activated"}), call=screen.manager.toplevel_configured)
    assert screen.done == [Accept(surface)]
    states = frozenset({"activated", "maximized"})
    screen.apply(surface, 640, 480, states, call=screen.manager.toplevel_configured)
    assert screen.done == [Accept(surface)]
    screen.until(lambda: len(screen.done) == 2)
    while (event := program.event(ConfigureNotify)).width != 640:
        pass
    assert (event.width, event.height) == (640, 480)
    said = _tool(screen, "xprop", "-id", hex(window), "_NET_WM_STATE")
    assert all(f"_NET_WM_STATE_{state}" in said for state in ("MAXIMIZED_VERT", "MAXIMIZED_HORZ", "FOCUSED"))
    program.wire.request(ConfigureWindow(window, {"width": 50}))
    assert program.sync() == []
    screen.settle()
    assert screen.windows()[window].place.width == 640


def test_a_window_returns_to_its_size_and_place(screen: ManagedScreen, program: XClient) -> None:
    window = _window(program)
    surface = _map(program, screen, window)
    before = screen.windows()[window].place
    for state in ("fullscreen", "maximized"):
        screen.apply(surface, 800, 600, frozenset({state}), call=screen.manager.toplevel_configured)
        screen.until(lambda: screen.windows()[window].size == (800, 600))
        assert screen.windows()[window].place == Rectangle(0, 0, 800, 600)
    screen.apply(surface, 0, 0, frozenset(), call=screen.manager.toplevel_configured)
    screen.until(lambda: screen.windows()[window].size == (200, 100))
    assert screen.windows()[window].place == before
    # Sway takes an answer with the old contents as the window's wish to keep the old size.
    assert screen.done[-1] == Accept(surface, 0, (200, 100))


def test_the_focus_follows_the_host(screen: ManagedScreen, program: XClient) -> None:
    first, second = _window(program), _window(program)
    one, other = _map(program, screen, first), _map(program, screen, second)
    for surface, window in ((one, first), (other, second)):
        screen.apply(surface, 0, 0, frozenset({"activated"}), call=screen.manager.toplevel_configured)
        screen.settle()
        assert program.event(FocusIn).event == window
        assert program.call(GetInputFocus(), GetInputFocusReply).focus == window
        assert f"window id # {hex(window)}" in _tool(screen, "xprop", "-root", "_NET_ACTIVE_WINDOW")
    screen.apply(other, 0, 0, frozenset(), call=screen.manager.toplevel_configured)
    screen.settle()
    assert program.call(GetInputFocus(), GetInputFocusReply).focus == 0


def test_a_window_with_an_input_model_of_its_own_gets_a_message(screen: ManagedScreen, program: XClient) -> None:
    """ICCCM's globally active model: no focus, but WM_TAKE_FOCUS, with which Java's programs take it themselves."""
    window = _window(program)
    _set(program, window, "WM_HINTS", "WM_HINTS", 1, 0, 0, 0, 0, 0, 0, 0, 0)
    take = _atom(program, "WM_TAKE_FOCUS")
    _set(program, window, "WM_PROTOCOLS", "ATOM", take)
    surface = _map(program, screen, window)
    screen.apply(surface, 0, 0, frozenset({"activated"}), call=screen.manager.toplevel_configured)
    screen.settle()
    assert struct.unpack("<I", program.event(ClientMessage).data[:4]) == (take,)
    assert program.call(GetInputFocus(), GetInputFocusReply).focus != window


def test_a_window_is_closed_as_it_wishes_or_else_killed(
    screen: ManagedScreen, program: XClient, display: str
) -> None:
    window = _window(program)
    delete = _atom(program, "WM_DELETE_WINDOW")
    _set(program, window, "WM_PROTOCOLS", "ATOM", delete)
    screen.apply(_map(program, screen, window), call=screen.manager.close)
    assert struct.unpack("<I", program.event(ClientMessage).data[:4]) == (delete,)
    with contextlib.closing(XClient(display)) as stubborn:
        screen.apply(_map(stubborn, screen, _window(stubborn)), call=screen.manager.close)
        with pytest.raises((AssertionError, ConnectionError)):
            stubborn.event(FocusIn)


def _answer_ping(client: XClient, screen: ManagedScreen) -> None:
    """Send the message of a ping back to the root window (EWMH, _NET_WM_PING)."""
    while (message := client.event(ClientMessage)).data[:4] != struct.pack("<I", _atom(client, "_NET_WM_PING")):
        pass
    body = bytes(encode(ClientMessage(32, client.root, message.type, message.data), LAYOUTS))
    mask = EventMask.SUBSTRUCTURE_NOTIFY | EventMask.SUBSTRUCTURE_REDIRECT
    client.wire.request(SendEvent(False, client.root, mask, bytes([33]) + body[:1] + bytes(2) + body[1:]))
    assert client.sync() == []
    screen.settle()


@pytest.mark.parametrize("kind", [CreateNotify, ReparentNotify])
def test_windows_that_a_program_makes_up_are_not_remembered(
    screen: ManagedScreen, program: XClient, kind: type[CreateNotify | ReparentNotify]
) -> None:
    before = set(screen.windows())
    made_up = program.wire.new_id()
    place = (1, 1, 10, 10, 0, False) if kind is CreateNotify else (1, 1, False)
    names = (program.root, made_up) if kind is CreateNotify else (program.root, made_up, program.root)
    body = bytes(encode(kind(*names, *place), LAYOUTS))
    event = (bytes([EVENTS[kind].code]) + body[:1] + bytes(2) + body[1:]).ljust(32, b"\0")
    program.wire.request(SendEvent(False, program.root, EventMask.SUBSTRUCTURE_NOTIFY, event))
    window = _window(program)
    _map(program, screen, window)
    assert set(screen.windows()) - before == {window}


@pytest.mark.parametrize("answers", [True, False])
def test_a_program_that_answers_no_ping_is_ended_by_the_next_click(
    screen: ManagedScreen, display: str, *, answers: bool
) -> None:
    with contextlib.closing(XClient(display)) as program:
        window = _window(program)
        protocols = [_atom(program, name) for name in ("WM_DELETE_WINDOW", "_NET_WM_PING")]
        _set(program, window, "WM_PROTOCOLS", "ATOM", *protocols)
        surface = _map(program, screen, window)
        for _ in range(2):  # An impatient user clicks twice.
            screen.apply(surface, call=screen.manager.close)
            assert program.sync() == []
        if answers:
            _answer_ping(program, screen)
        screen.now += PATIENCE
        screen.apply(surface, call=screen.manager.close)
        if answers:
            _answer_ping(program, screen)
        else:
            with pytest.raises((AssertionError, ConnectionError)):
                program.event(FocusIn)


def _with_counter(program: XClient) -> tuple[int, int]:
    """A window whose program synchronizes its resizes, and the program's counter."""
    window, counter = _window(program), program.wire.new_id()
    program.wire.request(SyncCreateCounter(counter, SyncInt64(0, 5)))
    _set(program, window, "WM_PROTOCOLS", "ATOM", _atom(program, "_NET_WM_SYNC_REQUEST"))
    _set(program, window, "_NET_WM_SYNC_REQUEST_COUNTER", "CARDINAL", counter)
    return window, counter


def _may_commit(program: XClient, window: int) -> bool:
    name = _atom(program, "_XWAYLAND_ALLOW_COMMITS")
    return program.call(GetProperty(False, window, name, 0, 0, 1), GetPropertyReply).value != bytes(4)


def test_the_host_sees_a_new_size_when_the_program_has_drawn_it(screen: ManagedScreen, program: XClient) -> None:
    window, counter = _with_counter(program)
    surface = _map(program, screen, window)
    screen.done.clear()
    for serial, size in ((11, (640, 480)), (12, (700, 500)), (13, (720, 510))):
        screen.apply(surface, *size, frozenset({"resizing"}), serial, call=screen.manager.toplevel_configured)
    screen.settle()
    assert (screen.windows()[window].size, screen.done) == ((640, 480), [])
    assert not _may_commit(program, window)
    program.wire.request(SyncSetCounter(counter, SyncInt64(0, 1)))
    assert program.sync() == []
    screen.until(lambda: bool(screen.done))
    assert screen.done == [Accept(surface, 11, (640, 480))]
    screen.settle()
    assert _may_commit(program, window)
    # The host has got these contents; only the last size counts.
    screen.apply(surface, call=screen.manager.contents_shown)
    screen.settle()
    assert screen.windows()[window].size == (720, 510)
    program.wire.request(SyncSetCounter(counter, SyncInt64(0, 2)))
    assert program.sync() == []
    screen.until(lambda: len(screen.done) == 2)
    assert screen.done[-1] == Accept(surface, 13, (720, 510))
    screen.apply(surface, call=screen.manager.contents_shown)
    assert screen.manager.deadline is None


def test_a_program_that_draws_too_late_holds_nothing_up(screen: ManagedScreen, program: XClient) -> None:
    window, counter = _with_counter(program)
    surface = _map(program, screen, window)
    screen.done.clear()
    screen.apply(surface, 640, 480, frozenset(), 11, call=screen.manager.toplevel_configured)
    assert screen.manager.deadline is not None
    screen.now = screen.manager.deadline
    screen.apply(call=screen.manager.wake)
    screen.settle()
    assert (screen.done, screen.manager.deadline) == ([Accept(surface)], None)
    assert _may_commit(program, window)
    screen.apply(surface, 700, 500, frozenset(), 12, call=screen.manager.toplevel_configured)
    assert screen.manager.deadline is None, "the program is not asked again"
    screen.settle()
    assert screen.done == [Accept(surface)] * 2
    # Once it draws again, the host waits for it again.
    program.wire.request(SyncSetCounter(counter, SyncInt64(0, 1)))
    assert program.sync() == []
    screen.settle()
    screen.apply(surface, 640, 480, frozenset(), 13, call=screen.manager.toplevel_configured)
    assert screen.manager.deadline is not None


STATES = [
    ("_NET_WM_STATE", (1, "_NET_WM_STATE_FULLSCREEN"), ["set_fullscreen"]),
    ("_NET_WM_STATE", (0, "_NET_WM_STATE_FULLSCREEN"), []),
    ("_NET_WM_STATE", (2, "_NET_WM_STATE_FULLSCREEN"), ["set_fullscreen"]),
    (
        "_NET_WM_STATE",
        (1, "_NET_WM_STATE_MAXIMIZED_VERT", "_NET_WM_STATE_MAXIMIZED_HORZ"),
        ["set_maximized"],
    ),
    ("_NET_WM_STATE", (1, "_NET_WM_STATE_MAXIMIZED_VERT"), []),
    ("_NET_WM_STATE", (1, "_NET_WM_STATE_DEMANDS_ATTENTION"), ["demand_attention"]),
    ("_NET_WM_STATE", (7, "_NET_WM_STATE_FULLSCREEN"), []),
    ("_NET_ACTIVE_WINDOW", (2,), ["activate"]),
    ("WM_CHANGE_STATE", (3,), ["set_minimized"]),
    ("WM_CHANGE_STATE", (1,), []),
    ("_NET_WM_MOVERESIZE", (10, 10, 8), ["move"]),
    ("_NET_WM_MOVERESIZE", (10, 10, 4), ["resize"]),
    ("_NET_WM_MOVERESIZE", (10, 10, 11), []),
]


@pytest.mark.parametrize(("kind", "words", "expected"), STATES, ids=range(len(STATES)))
def test_a_program_asks_for_a_state(
    screen: ManagedScreen, program: XClient, kind: str, words: tuple[int | str, ...], expected: list[str]
) -> None:
    window = _window(program)
    surface = _map(program, screen, window)
    numbers = [word if isinstance(word, int) else _atom(program, word) for word in words]
    _tell(program, screen, window, kind, *numbers)
    assert screen.actions(RequestState) == [
        RequestState(surface, what, 10 if what == "resize" else 0) for what in expected
    ]


def test_a_window_of_one_size_has_no_limits_while_it_is_fullscreen(screen: ManagedScreen, program: XClient) -> None:
    """Mutter shows a fullscreen window in the greatest size that it may have."""
    window = _window(program)
    minimum_and_maximum, unused = 16 | 32, (0,) * 9
    hints = (minimum_and_maximum, *unused[:4], 200, 100, 200, 100, *unused)
    _set(program, window, "WM_NORMAL_HINTS", "WM_SIZE_HINTS", *hints)
    surface = _map(program, screen, window)

    def limits() -> list[tuple[int, int]]:
        return [one.toplevel.maximum for one in screen.done if isinstance(one, (ShowToplevel, ChangeToplevel))]

    assert limits() == [(200, 100)]
    _tell(program, screen, window, "_NET_WM_STATE", 1, _atom(program, "_NET_WM_STATE_FULLSCREEN"))
    assert limits() == [(200, 100), (0, 0)]
    assert isinstance(screen.done[-1], RequestState)
    fullscreen, restored = (800, 600, frozenset({"fullscreen"})), (0, 0, frozenset[str]())
    for configured in (restored, fullscreen, restored):
        screen.apply(surface, *configured, call=screen.manager.toplevel_configured)
    assert limits() == [(200, 100), (0, 0), (200, 100)]


def test_a_window_is_iconic_while_the_host_has_minimized_it(screen: ManagedScreen, program: XClient) -> None:
    window = _window(program)
    surface = _map(program, screen, window)

    def says(states: frozenset[str]) -> str:
        screen.apply(surface, 0, 0, states, call=screen.manager.toplevel_configured)
        return _tool(screen, "xprop", "-id", hex(window), "WM_STATE", "_NET_WM_STATE")

    assert "Normal" in says(frozenset({"activated"}))
    _tell(program, screen, window, "WM_CHANGE_STATE", 3)
    assert "Normal" in says(frozenset({"activated"})), "the host has not answered yet"
    hidden = says(frozenset())
    assert "Iconic" in hidden
    assert "_NET_WM_STATE_HIDDEN" in hidden
    shown = says(frozenset({"activated"}))
    assert "Normal" in shown
    assert "HIDDEN" not in shown


def test_a_launch_is_known_by_the_window_or_its_leader(screen: ManagedScreen, program: XClient) -> None:
    leader, window, own = _window(program), _window(program), _window(program)
    for one, startup_id in ((leader, b"of-leader"), (own, b"of-window")):
        kind, name = _atom(program, "UTF8_STRING"), _atom(program, "_NET_STARTUP_ID")
        program.wire.request(ChangeProperty(PropMode.REPLACE, one, name, kind, 8, len(startup_id), startup_id))
    for one in (window, own):
        _set(program, one, "WM_CLIENT_LEADER", "WINDOW", leader)
        _map(program, screen, one)
    shown = [action for action in screen.done if isinstance(action, ShowToplevel)]
    assert [action.startup_id for action in shown] == ["of-leader", "of-window"]


def test_a_dialog_is_modal_while_its_state_says_so(screen: ManagedScreen, program: XClient) -> None:
    window, modal = _window(program), _atom(program, "_NET_WM_STATE_MODAL")
    _set(program, window, "_NET_WM_STATE", "ATOM", modal)
    _map(program, screen, window)
    _tell(program, screen, window, "_NET_WM_STATE", 0, modal)
    toplevels = [one.toplevel for one in screen.done if isinstance(one, ShowToplevel | ChangeToplevel)]
    assert [one.is_modal for one in toplevels] == [True, False]


def test_every_edge_of_a_resize(screen: ManagedScreen, program: XClient) -> None:
    window = _window(program)
    _map(program, screen, window)
    for direction in range(8):
        _tell(program, screen, window, "_NET_WM_MOVERESIZE", 0, 0, direction)
    edges = [action.edge for action in screen.actions(RequestState) if isinstance(action, RequestState)]
    top, bottom, left, right = 1, 2, 4, 8
    assert edges == [top | left, top, top | right, right, bottom | right, bottom, bottom | left, left]


def test_a_window_begins_as_it_asked(screen: ManagedScreen, program: XClient) -> None:
    window = _window(program)
    _set(program, window, "_NET_WM_STATE", "ATOM", _atom(program, "_NET_WM_STATE_FULLSCREEN"))
    _map(program, screen, window)
    shown = screen.actions(ShowToplevel)[-1]
    assert isinstance(shown, ShowToplevel)
    assert shown.is_fullscreen


def test_a_window_comes_back_after_it_was_hidden(screen: ManagedScreen, program: XClient) -> None:
    window = _window(program)
    _map(program, screen, window)
    program.wire.request(UnmapWindow(window))
    assert program.sync() == []
    screen.until(lambda: bool(screen.actions(Hide)))
    assert "Withdrawn" in _tool(screen, "xprop", "-id", hex(window), "WM_STATE")
    again = _map(program, screen, window)
    assert again == FIRST_SURFACE + 1
    assert len(screen.actions(ShowToplevel)) == 2


def test_the_lists_on_the_root_window(screen: ManagedScreen, program: XClient) -> None:
    first, second = _window(program), _window(program)
    one = _map(program, screen, first)
    _map(program, screen, second)
    screen.apply(one, 0, 0, frozenset({"activated"}), call=screen.manager.toplevel_configured)
    said = _tool(screen, "xprop", "-root", "_NET_CLIENT_LIST", "_NET_CLIENT_LIST_STACKING").splitlines()
    assert said[0].endswith(f"# {hex(first)}, {hex(second)}")
    assert said[1].endswith(f"# {hex(second)}, {hex(first)}")


def test_hostile_windows_end_nothing(screen: ManagedScreen, program: XClient) -> None:
    """Sizes of 1 and 65535, places beyond the screen, lies about surfaces, and windows that are gone at once."""
    for x, y, width, height in ((-32768, -32768, 1, 1), (32767, 0, 32767, 32767), (0, 0, 65535, 1)):
        window = _window(program, x, y, width, height)
        _map(program, screen, window)
        _tell(program, screen, window, "WL_SURFACE_ID", 0xFFFFFFFF)
        _tell(program, screen, window, "WL_SURFACE_SERIAL", 1, 2)
        _tell(program, screen, window, "_NET_WM_STATE", 1, 0xFFFFFFFF, 0xFFFFFFFF)
    for _ in range(50):
        window = _window(program)
        program.wire.request(MapWindow(window))
        program.wire.request(DestroyWindow(window))
    assert program.sync() == []
    screen.settle()
    screen.settle()
    assert len([one for one in screen.windows().values() if one.is_managed]) == 3

"""The window manager: X events and the host's events in, X requests and actions out. Pure.

X requests go to the :class:`~sommelier_shim.xwayland.x11.connection.X11Connection`; what the Wayland side has to do
is in :attr:`WindowManager.actions`. Windows stay children of the root window: the host draws their frames.
ICCCM 2.0 §4, EWMH 1.5, chromeos-sommelier.md §2.7 to §2.10.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence

from sommelier_shim.xwayland.window_manager.actions import (
    Accept,
    Action,
    ChangeToplevel,
    Hide,
    MovePopup,
    RequestState,
    ShowPopup,
    ShowToplevel,
    TellStartup,
    Toplevel,
    WindowIdentity,
)
from sommelier_shim.xwayland.window_manager.atoms import STATES, Atoms
from sommelier_shim.xwayland.window_manager.client_messages import send_event
from sommelier_shim.xwayland.window_manager.closing import Closing
from sommelier_shim.xwayland.window_manager.desktop_settings import UNSCALED, DesktopSettings
from sommelier_shim.xwayland.window_manager.focus import Focus
from sommelier_shim.xwayland.window_manager.output_areas import OutputAreas
from sommelier_shim.xwayland.window_manager.properties import PIXEL_LIMIT, Property
from sommelier_shim.xwayland.window_manager.resizing import Configured, Resizing
from sommelier_shim.xwayland.window_manager.root_window import TIME_PROPERTY, RootWindow
from sommelier_shim.xwayland.window_manager.size_constraints import constrained
from sommelier_shim.xwayland.window_manager.tray import ICON_SIZE, Tray
from sommelier_shim.xwayland.window_manager.window import READ, Rectangle, Window
from sommelier_shim.xwayland.window_manager.windows import Windows, place_within
from sommelier_shim.xwayland.x11.connection import Error, Event, Ready, Reply, X11Connection
from sommelier_shim.xwayland.x11.layout import Message
from sommelier_shim.xwayland.x11.messages import (
    ChangeProperty,
    ChangeWindowAttributes,
    ClientMessage,
    ConfigureNotify,
    ConfigureRequest,
    ConfigureWindow,
    CreateNotify,
    DeleteProperty,
    DestroyNotify,
    EventMask,
    GetProperty,
    GetPropertyReply,
    InternAtom,
    InternAtomReply,
    MapNotify,
    MapRequest,
    MapWindow,
    PropertyNotify,
    PropMode,
    RandRGetMonitors,
    RandRGetMonitorsReply,
    RandRNotifyMask,
    RandRScreenChangeNotify,
    RandRSelectInput,
    ReparentNotify,
    StackMode,
    SyncAlarmNotify,
    UnmapNotify,
    UnmapWindow,
)

WINDOW_LIMIT = 16384
"""Windows that are remembered; further ones are shown as nothing."""
PROPERTY_WORDS = 2048
"""Words of a property that are read (chromeos-sommelier.md §2.8)."""
_NORMAL, _ICONIC, _WITHDRAWN = 1, 3, 0
"""Values of WM_STATE (ICCCM §4.1.3.1)."""
_REMOVE, _ADD, _TOGGLE = 0, 1, 2
"""Actions of the message _NET_WM_STATE."""
_FILLING = frozenset({"fullscreen", "maximized_vertically", "maximized_horizontally"})
"""States in which the host decides the size."""
_MOVE, _CANCEL = 8, 11
_FARTHEST = 32767
"""The largest coordinate of a window."""
_EDGES = (5, 1, 9, 8, 10, 2, 6, 4)
"""xdg_toplevel's edges by the directions of _NET_WM_MOVERESIZE: top left, top, top right and so on, clockwise."""


class AnotherWindowManager(Exception):
    """The X server has a window manager already."""


class WindowManager:
    """Manages the windows of one X server.

    :param x: the connection to the server.
    :param identity_property: the name of a property whose number identifies a window's application on ChromeOS.
    :param clock: the time in seconds, which never goes back.
    :ivar atoms: the server's atoms.
    :ivar actions: what the Wayland side has to do, in this order; the caller empties the list.
    :ivar settings: returns the settings that programs get, when the server has its outputs.
    :ivar fit: returns the nearest width or height of a window that the host can show pixel by pixel.
    """

    def __init__(
        self, x: X11Connection, identity_property: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.actions: list[Action] = []
        self.fit: Callable[[int], int] = lambda size: size
        self.settings: Callable[[], DesktopSettings] = DesktopSettings
        self._x = x
        self.atoms = Atoms((identity_property,) if identity_property else ())
        self._identity_property = identity_property
        self._names = (*READ, identity_property) if identity_property else READ
        self._root: RootWindow | None = None
        self._areas = OutputAreas()
        self._windows = Windows()
        self._by_serial: dict[int, int] = {}
        self._surfaces: set[int] = set()
        self._focus = Focus(x)
        self._closing = Closing(x, self.atoms, clock)
        self._resizing = Resizing(x, clock)
        self._tray = Tray(x, self.atoms, self._windows.__contains__, self._icon_size)
        self._touched = 0
        self._pointed = 0
        self._replies: dict[int, Callable[[Message], None]] = {}
        self._take_over = 0

    @property
    def is_ready(self) -> bool:
        """Whether it has begun to manage windows."""
        return self._root is not None

    @property
    def root(self) -> int:
        """The root window; 0 before it is ready."""
        return self._root.number if self._root is not None else 0

    # -- the X server --------------------------------------------------------------------------------------------

    def receive(self, message: Ready | Reply | Event | Error) -> None:
        """Take a message of the server.

        :raises AnotherWindowManager: there is one already.
        """
        if isinstance(message, Ready):
            for name in self.atoms.wanted:
                self._ask(InternAtom(False, name.encode()), self._learn(name))
        elif isinstance(message, Reply):
            if (done := self._replies.pop(message.number, None)) is not None:
                done(message.message)
        elif isinstance(message, Error):
            self._replies.pop(message.number, None)
            if message.number == self._take_over:
                raise AnotherWindowManager("another window manager runs on this X server")
        elif self._root is not None:
            self._event(message.message, self._root, is_sent=message.is_sent)

    def _ask(self, request: Message, done: Callable[[Message], None]) -> None:
        self._replies[self._x.request(request)] = done

    def _learn(self, name: str) -> Callable[[Message], None]:
        def learn(reply: Message) -> None:
            if isinstance(reply, InternAtomReply):
                self.atoms.add(name, reply.atom)
            if self._root is None and self.atoms.are_known and self._x.setup is not None:
                self._root = RootWindow(self._x, self.atoms, self._x.setup.roots[0].root)
                self._windows.resource_id_mask = self._x.setup.resource_id_mask
                self._take_over = self._root.manage()
                self._root.set_area(self._areas.desktop)
                self._root.set_settings(self.settings())
                self._start_tray(self._root)
                if self._x.has("RANDR"):
                    self._x.request(RandRSelectInput(self._root.number, RandRNotifyMask.SCREEN_CHANGE))
                    self._look_at_outputs(self._root)

        return learn

    def _event(self, event: Message, root: RootWindow, *, is_sent: bool) -> None:
        if icon := self._tray.receive(event):
            self._read_icon(icon)
        self._show_tray()
        match event:
            case CreateNotify(parent=root.number) if not is_sent:  # Made-up ones could fill the table.
                place = Rectangle(event.x, event.y, event.width, event.height)
                self._created(event.window, place, is_override_redirect=event.override_redirect)
                if (window := self._windows.get(event.window)) is not None:
                    window.border = event.border_width
            case ReparentNotify(parent=root.number) if event.window not in self._windows and not is_sent:
                self._created(
                    event.window, Rectangle(event.x, event.y, 1, 1), is_override_redirect=event.override_redirect
                )
            case ReparentNotify() | DestroyNotify():
                self._gone(event.window)
            case MapRequest():
                if (window := self._windows.get(event.window)) is not None:
                    window.is_managed = True
                    self._read(window, self._names, self._map)
            case MapNotify() if (window := self._windows.get(event.window)) is not None:
                window.is_override_redirect = event.override_redirect
                window.is_mapped = True
                if window.is_override_redirect:
                    self._read(window, self._names, self._show)
            case UnmapNotify() if (window := self._windows.get(event.window)) is not None:
                if not is_sent or window.is_managed:
                    self._unmapped(window)
            case ConfigureRequest() if (window := self._windows.get(event.window)) is not None:
                self._configure_request(window, event)
            case ConfigureNotify() if (window := self._windows.get(event.window)) is not None:
                self._configured(window, event)
            case PropertyNotify(window=root.check):
                if self.atoms.name(event.atom) == TIME_PROPERTY:
                    self._focus.timed(root, event.time)
            case PropertyNotify() if self._tray.has(event.window):
                if self.atoms.name(event.atom) == "_XEMBED_INFO":
                    self._read_icon(event.window)
            case PropertyNotify() if (window := self._windows.get(event.window)) is not None:
                # A program that wants another state after it is mapped sends a message (EWMH, _NET_WM_STATE).
                if (name := self.atoms.name(event.atom)) in self._names and name != "_NET_WM_STATE":
                    self._read(window, (name,), self._started if name == "_NET_STARTUP_ID" else self._changed)
            case ClientMessage():
                self._message(event)
            case SyncAlarmNotify():
                if (drawn := self._resizing.drawn(root, event.alarm, event.counter_value)) is not None:
                    window, configured = drawn
                    self.actions.append(Accept(window.surface, configured.serial, configured.size))
            case RandRScreenChangeNotify():
                self._look_at_outputs(root)
            case _:
                pass

    def _start_tray(self, root: RootWindow) -> None:
        self._tray.start(root)
        place = Rectangle(0, 0, ICON_SIZE, ICON_SIZE)
        self._windows.add(Window(self._tray.window, place, is_override_redirect=False))

    def _icon_size(self) -> int:
        return ICON_SIZE * self.settings().density // UNSCALED

    def _read_icon(self, icon: int) -> None:
        def found(reply: Message) -> None:
            if isinstance(reply, GetPropertyReply):
                self._tray.informed(icon, Property(self.atoms.name(reply.type), reply.format, reply.value))

        self._ask(GetProperty(False, icon, self.atoms["_XEMBED_INFO"], 0, 0, PROPERTY_WORDS), found)

    def _show_tray(self) -> None:
        """Map or unmap the tray's window as a program would."""
        if (window := self._windows.get(self._tray.window)) is None:
            return
        if self._tray.is_wanted and not window.is_managed:
            window.is_managed = True
            self._read(window, self._names, self._map)
        elif window.is_managed and not self._tray.is_wanted:
            self._x.request(UnmapWindow(window.number))

    def _created(self, number: int, place: Rectangle, *, is_override_redirect: bool) -> None:
        if len(self._windows) < WINDOW_LIMIT and not self._is_ours(number):
            self._windows.add(Window(number, place, is_override_redirect=is_override_redirect))
            self._x.request(ChangeWindowAttributes(number, {"event_mask": EventMask.PROPERTY_CHANGE}))

    def _is_ours(self, number: int) -> bool:
        setup = self._x.setup
        return setup is not None and number & ~setup.resource_id_mask == setup.resource_id_base

    def _gone(self, number: int) -> None:
        if (window := self._windows.get(number)) is not None:
            self._unmapped(window, is_gone=True)
            self._windows.remove(window)

    # -- properties ----------------------------------------------------------------------------------------------

    def _read(self, window: Window, names: Sequence[str], done: Callable[[Window], None]) -> None:
        """Read properties, then call ``done``, unless the window is gone by then."""
        left = set(names)

        def keep(name: str) -> Callable[[Message], None]:
            def found(reply: Message) -> None:
                if isinstance(reply, GetPropertyReply) and self._windows.get(window.number) is window:
                    value = Property(self.atoms.name(reply.type), reply.format, reply.value)
                    atoms = frozenset(map(self.atoms.name, value.numbers("ATOM")))
                    window.set_property(name, value, atoms)
                    left.discard(name)
                    if not left:
                        done(window)

            return found

        for name in names:
            self._ask(GetProperty(False, window.number, self.atoms[name], 0, 0, PROPERTY_WORDS), keep(name))

    def _changed(self, window: Window) -> None:
        is_urgent, window.is_urgent = window.is_urgent, window.hints.is_urgent
        if window.is_urgent and not is_urgent and window.role == "toplevel":
            self._request(window, "demand_attention")
        if window.role == "toplevel" and window.shown != (shown := self._toplevel(window)):
            window.shown = shown
            self.actions.append(ChangeToplevel(window.surface, shown))

    def _started(self, window: Window) -> None:
        """A program that runs already shows one of its windows for a launch."""
        if window.role == "toplevel" and window.startup_id:
            self.actions.append(TellStartup(window.surface, window.startup_id))

    def _startup_id(self, window: Window) -> str:
        leader = self._windows.get(window.leader)
        return window.startup_id or (leader.startup_id if leader is not None else "")

    def _toplevel(self, window: Window) -> Toplevel:
        parent = self._windows.dialog_parent(window)
        name, instance = window.class_.name, window.class_.instance
        return Toplevel(
            window.title,
            WindowIdentity(name, instance, window.leader, window.number, window.number_of(self._identity_property)),
            parent.surface if parent is not None else 0,
            # Mutter shows a fullscreen window in the greatest size that it may have.
            (0, 0) if window.fills_output else window.sizes.minimum,
            (0, 0) if window.fills_output else window.sizes.maximum,
            window.is_decorated,
            "modal" in window.states,
        )

    # -- mapping -------------------------------------------------------------------------------------------------

    def _map(self, window: Window) -> None:
        """Let the server map a managed window; its surface comes then."""
        names = set(map(self.atoms.name, window.wanted_states))
        window.states = {state for state, atom in STATES.items() if atom in names and state != "focused"}
        window.group_parent = self._windows.group_parent(window, self.root)
        window.fills_output = bool(window.states & _FILLING)
        self._resize_to_fit(window)
        self._place(window)
        self._set_wm_state(window, _NORMAL)
        self._write_states(window)
        self._set_frame(window)
        if (leader := self._windows.get(window.leader)) is not None and leader is not window:
            # The answer is here before the window has its surface.
            self._read(leader, ("_NET_STARTUP_ID",), lambda leader: None)
        self._x.request(MapWindow(window.number))

    def _resize_to_fit(self, window: Window) -> None:
        """Give a window whose size may change the nearest one that is sharp on the host."""
        place = window.place
        width, height = self.fit(place.width), self.fit(place.height)
        if (width, height) != place[2:] and not window.sizes.is_fixed:
            window.place = place._replace(width=width, height=height)
            self._x.request(ConfigureWindow(window.number, {"width": width, "height": height}))

    def _place(self, window: Window) -> None:
        """Center a window whose program and user have chosen no place on its parent, or on the first output."""
        sizes, place = window.sizes, window.place
        if sizes.is_user_position or sizes.is_program_position or window.is_popup:
            return
        parent = self._windows.get(window.owner)
        window.place = self._areas.centered(place, parent.place if parent is not None else None)
        values = {"x": window.place.x, "y": window.place.y, "border_width": 0}
        self._x.request(ConfigureWindow(window.number, values))

    def _show(self, window: Window) -> None:
        """Give a mapped window that has its surface a role on the host."""
        if window.role or self._windows.by_surface.get(window.surface) is not window:
            return
        if not (window.is_mapped or window.is_managed):
            return
        if window.is_popup and (parent := self._popup_parent(window)) is not None:
            window.role, window.parent = "popup", parent.surface
            window.refused = None
            place = place_within(window, parent)
            self.actions.append(ShowPopup(window.surface, parent.surface, *place, self._is_movable(window)))
            self._raise(window)
            return
        window.role, window.shown = "toplevel", self._toplevel(window)
        self.actions.append(
            ShowToplevel(
                window.surface,
                window.shown,
                "fullscreen" in window.states,
                {"maximized_vertically", "maximized_horizontally"} <= window.states,
                self._startup_id(window),
            )
        )
        self._raise(window)
        self._tell_dialogs(window)
        if window.hints.is_urgent:
            self._request(window, "demand_attention")
        if window.hints.is_iconic or "hidden" in window.states:
            self._minimize(window)

    def _tell_dialogs(self, window: Window) -> None:
        """Tell the host the parents of a window's dialogs again: the window has come or gone."""
        for each in self._windows.dialogs_of(window):
            self._changed(each)

    def _popup_parent(self, window: Window) -> Window | None:
        return self._windows.popup_parent(window, self._touched, self._focus.window or 0)

    def _is_movable(self, window: Window) -> bool:
        """Whether the host may move a popup into the output: it is no drag icon, is not hidden outside on purpose,
        and its program does not insist on the place."""
        return self._areas.meets(window.place) and not window.is_dragged and window.refused != window.place[:2]

    def _move_popup(self, window: Window) -> None:
        if (parent := self._windows.by_surface.get(window.parent)) is not None:
            movable = self._is_movable(window)
            self.actions.append(MovePopup(window.surface, *place_within(window, parent), movable))

    def _unmapped(self, window: Window, *, is_gone: bool = False) -> None:
        if window.role:
            self.actions.append(Hide(window.surface))
            for each in self._windows.popups_of(window):
                self.actions.insert(len(self.actions) - 1, Hide(each.surface))
                each.role, each.parent = "", 0
        was_managed, had_role = window.is_managed, window.role
        if self._windows.by_surface.get(window.surface) is window:
            del self._windows.by_surface[window.surface]
        if window.serial:
            self._by_serial.pop(window.serial, None)
        window.role, window.parent, window.surface, window.serial, window.awaits = "", 0, 0, 0, None
        window.is_mapped = window.is_managed = False
        self._closing.forget(window.number)
        if self._root is not None:
            self._resizing.forget(self._root, window, is_gone=is_gone)
        if had_role == "toplevel":
            self._tell_dialogs(window)
        if window.number in self._windows.stacking:
            self._windows.stacking.remove(window.number)
        if self._focus.window == window.number:
            self._move_focus(None)
        if was_managed:
            if not is_gone:
                self._set_wm_state(window, _WITHDRAWN)
                self._x.request(DeleteProperty(window.number, self.atoms["_NET_WM_STATE"]))
            self._list_windows()

    # -- surfaces ------------------------------------------------------------------------------------------------

    def surface_created(self, surface: int) -> None:
        """Xwayland has created a surface; its window may have named it before."""
        self._surfaces.add(surface)
        for window in self._windows:
            if window.surface == surface and self._windows.by_surface.get(surface) is None:
                self._pair(window, surface)

    def window_of(self, surface: int) -> tuple[int, Rectangle] | None:
        """The window that a surface shows, and its place; ``None`` if there is none."""
        window = self._windows.by_surface.get(surface)
        return (window.number, window.place) if window is not None else None

    def surface_serial(self, surface: int, serial: int) -> None:
        """Xwayland has committed a surface with xwayland_surface_v1's serial."""
        self._by_serial[serial] = surface
        for window in self._windows:
            if window.serial == serial:
                self._pair(window, surface)

    def surface_destroyed(self, surface: int) -> None:
        """Xwayland has destroyed a surface; its id may be used again."""
        self._surfaces.discard(surface)
        self._by_serial = {serial: one for serial, one in self._by_serial.items() if one != surface}
        for window in self._windows:
            if window.surface == surface:
                if window.role:
                    self.actions.append(Hide(surface))
                self._windows.by_surface.pop(surface, None)
                window.role, window.parent, window.surface, window.serial = "", 0, 0, 0

    def _pair(self, window: Window, surface: int) -> None:
        if self._windows.by_surface.get(surface, window) is not window:
            return  # Any client can send the message, and name another window's surface.
        window.surface = surface
        self._windows.by_surface[surface] = window
        if window.is_override_redirect:
            if window.is_mapped:
                self._read(window, self._names, self._show)
        else:
            self._show(window)

    # -- geometry ------------------------------------------------------------------------------------------------

    def _look_at_outputs(self, root: RootWindow) -> None:
        """Ask the server for the places of its outputs."""

        def found(reply: Message) -> None:
            if isinstance(reply, RandRGetMonitorsReply) and reply.monitors:
                by_rank = sorted(reply.monitors, key=lambda monitor: not monitor.primary)
                self._areas.replace([Rectangle(one.x, one.y, one.width, one.height) for one in by_rank])
                root.set_area(self._areas.desktop)

        self._ask(RandRGetMonitors(root.number, True), found)

    def _configure_request(self, window: Window, event: ConfigureRequest) -> None:
        """Grant what the program wants, but no other size to a window whose size the host decides."""
        self._resize(window, event.value_mask, (event.x, event.y, event.width, event.height))

    def _resize(self, window: Window, mask: int, asked: tuple[int, int, int, int]) -> None:
        """Grant those parts of a place whose bits a mask has: 1 is x, 8 the height."""
        x, y, width, height = (
            new if mask & 1 << bit else old for bit, (new, old) in enumerate(zip(asked, window.place, strict=True))
        )
        if window.is_managed and window.role == "toplevel" and self._host_decides(window):
            width, height = window.place.width, window.place.height
        width, height = (min(max(size, 1), PIXEL_LIMIT) for size in (width, height))
        x, y = (min(max(at, -_FARTHEST), _FARTHEST) for at in (x, y))
        self._configure(window, Rectangle(x, y, width, height))

    def _host_decides(self, window: Window) -> bool:
        return bool(window.states & _FILLING)

    def _configure(self, window: Window, wanted: Rectangle) -> None:
        """Move and resize a window. A window that keeps its size learns its place by a message (ICCCM §4.1.5)."""
        keeps_size = (wanted.width, wanted.height) == (window.place.width, window.place.height)
        has_moved = wanted[:2] != window.place[:2]
        window.place = wanted
        if has_moved and window.role == "toplevel":
            self._keep_popups(window)
        values = {"x": wanted.x, "y": wanted.y, "width": wanted.width, "height": wanted.height, "border_width": 0}
        self._x.request(ConfigureWindow(window.number, values))
        if keeps_size:
            notify = ConfigureNotify(window.number, window.number, 0, *wanted, 0, window.is_override_redirect)
            send_event(self._x, window.number, EventMask.STRUCTURE_NOTIFY, notify)

    def _configured(self, window: Window, event: ConfigureNotify) -> None:
        window.is_override_redirect = event.override_redirect
        before, window.border = (window.place, window.border), event.border_width
        window.place = Rectangle(event.x, event.y, event.width, event.height)
        if window.role == "popup" and before != (window.place, window.border):
            self._move_popup(window)
        window.size = (event.width, event.height)
        if window.awaits == window.size:
            window.awaits = None
            self.actions.append(Accept(window.surface, 0, window.size if window.is_restored else (0, 0)))

    def _keep_popups(self, window: Window) -> None:
        """Tell the host where the popups of a toplevel are: they have not moved with it."""
        for each in self._windows.popups_of(window):
            self._move_popup(each)

    # -- the host ------------------------------------------------------------------------------------------------

    def toplevel_configured(
        self, surface: int, width: int, height: int, states: frozenset[str], serial: int = 0
    ) -> None:
        """The host gives a toplevel a size and states.

        :param width: 0 lets the window decide; likewise ``height``.
        :param states: of ``fullscreen``, ``maximized``, ``tiled``, ``resizing`` and ``activated``.
        :param serial: of the configure event.
        """
        if (window := self._windows.by_surface.get(surface)) is None or window.role != "toplevel":
            return
        kept = window.states - _FILLING - {"focused"}
        if "fullscreen" in states:
            kept.add("fullscreen")
        if "maximized" in states:
            kept |= {"maximized_vertically", "maximized_horizontally"}
        window.is_restored = bool(window.states & _FILLING) and not kept & _FILLING
        if window.fills_output and window.is_restored:
            window.fills_output = False
            self._changed(window)
        if "activated" in states:
            kept.add("focused")
            kept.discard("attention")
        kept = self._hidden(window, kept, is_active="activated" in states)
        if kept != window.states:
            window.states = kept
            self._write_states(window)
        if "activated" in states:
            self._move_focus(window)
        elif self._focus.window == window.number:
            self._move_focus(None)
        wanted = (
            self._areas.expanded(window) if {"fullscreen", "maximized"} & states else self._areas.restored(window)
        )
        if width > 0 and height > 0 and not {"fullscreen", "maximized", "tiled"} & states:
            width, height = constrained(window.sizes, width, height)
            if not window.sizes.is_fixed:
                width, height = self.fit(width), self.fit(height)
        wanted = wanted._replace(
            width=min(width, PIXEL_LIMIT) if width > 0 else wanted.width,
            height=min(height, PIXEL_LIMIT) if height > 0 else wanted.height,
        )
        configured = Configured(wanted, serial)
        if not self._resizing.postpone(window, configured):
            self._follow(window, configured)

    def _follow(self, window: Window, configured: Configured) -> None:
        """Give a window the size that the host has configured."""
        if self._root is None:
            return
        is_new = configured.size != window.size
        window.awaits = None
        if not (is_new and self._resizing.begin(self._root, window, configured)):
            if is_new:
                window.awaits = configured.size
            else:
                self.actions.append(Accept(window.surface))
        if configured.place != window.place:
            self._configure(window, configured.place)

    def contents_shown(self, surface: int) -> None:
        """The host has got the contents of an :class:`Accept` with a size."""
        if (window := self._windows.by_surface.get(surface)) is None:
            return
        if (following := self._resizing.shown(window)) is not None:
            self._follow(window, following)

    @property
    def deadline(self) -> float | None:
        """When :meth:`wake` has to be called, by the clock; ``None`` for never."""
        return self._resizing.deadline

    def wake(self) -> None:
        """Go on without the programs that have not drawn their windows in time."""
        if self._root is None:
            return
        for window, following in self._resizing.late(self._root):
            self.actions.append(Accept(window.surface))
            if following is not None:
                self._follow(window, following)

    def _minimize(self, window: Window) -> None:
        """Ask the host to minimize a window. The window is iconic when the host has deactivated it."""
        window.is_minimizing = True
        self._request(window, "set_minimized")
        if "focused" not in window.states:
            window.states = self._hidden(window, window.states, is_active=False)
            self._write_states(window)

    def _hidden(self, window: Window, states: set[str], *, is_active: bool) -> set[str]:
        """The states with or without ``hidden``, of a window that the host activates or deactivates."""
        is_hidden = not is_active and (window.is_minimizing or "hidden" in states)
        if is_hidden != ("hidden" in window.states) or (window.is_minimizing and is_hidden):
            self._set_wm_state(window, _ICONIC if is_hidden else _NORMAL)
        window.is_minimizing = window.is_minimizing and is_active
        return states | {"hidden"} if is_hidden else states - {"hidden"}

    def popup_configured(self, surface: int, x: int, y: int) -> None:
        """The host has put a popup somewhere, relative to its parent. The X server has to know, for the pointer and
        for the menus that open beside it."""
        window = self._windows.by_surface.get(surface)
        parent = self._windows.by_surface.get(window.parent) if window is not None else None
        if window is None or parent is None or window.role != "popup" or not self._is_movable(window):
            return
        moved = window.place._replace(x=parent.place.x + x, y=parent.place.y + y)
        if moved != window.place:
            window.refused, window.place = (window.place.x, window.place.y), moved
            self._x.request(ConfigureWindow(window.number, {"x": moved.x, "y": moved.y}))

    def outputs_entered(self, surface: int, areas: Sequence[Rectangle]) -> None:
        """The host shows a window on these outputs. The server has to have it on one of them, because programs keep
        menus inside the output that their window is on.

        :param areas: places of outputs in the server's units, the last entered one last.
        """
        window = self._windows.by_surface.get(surface)
        if window is None or window.role != "toplevel" or not areas or window.is_override_redirect:
            return
        window.areas = tuple(areas)
        place = (
            self._areas.expanded(window)
            if self._host_decides(window)
            else self._areas.on_output_of(window, window.place)
        )
        if place != window.place:
            self._configure(window, place)

    def touched(self, surface: int) -> None:
        """The user has pointed at a window, clicked on it, touched it, or typed into it."""
        if (window := self._windows.by_surface.get(surface)) is None:
            return
        self._touched = window.number
        self._uncover(window)

    def pointed(self, surface: int) -> None:
        """The pointer is on a surface now; 0 for none."""
        self._pointed = surface
        if surface:
            self.touched(surface)

    def _uncover(self, window: Window) -> None:
        top = self._windows.by_surface.get(window.parent, window) if window.role == "popup" else window
        # The host lets windows overlap in other ways than the server does, which gives the pointer to the highest.
        group = {top.number, *self._windows.dependents(top)}
        above = self._windows.above(window)
        if any(one.number not in group and one.place.meets(window.place) for one in above):
            self._raise(top, is_pointed=True)

    def close(self, surface: int) -> None:
        """The user closes a window."""
        if (window := self._windows.by_surface.get(surface)) is None:
            return
        if window.number == self._tray.window:
            self._tray.dismiss()
            self._show_tray()
        else:
            self._closing.close(window)

    def _move_focus(self, window: Window | None) -> None:
        """Give the focus to the window that the host has activated."""
        if self._root is None or self._focus.window == (window.number if window is not None else None):
            return
        if window is not None and window.is_override_redirect:
            return  # It wants no window manager, and takes the focus itself.
        self._focus.move(self._root, window)
        if window is not None:
            self._raise(window)

    def _raise(self, window: Window, *, is_pointed: bool = False) -> None:
        """Put a window, its dialogs and its popups above the others: Xwayland gives the highest the pointer."""
        raised = [window.number, *self._windows.dependents(window)]
        for number in raised:
            self._x.request(ConfigureWindow(number, {"stack_mode": StackMode.ABOVE}))
        self._windows.raise_all(raised)
        self._list_windows()
        # The pointer stays on its window on the host, so it has to stay there in X.
        pointed = self._windows.by_surface.get(self._pointed)
        if pointed is not None and not is_pointed and pointed.number not in raised:
            self._uncover(pointed)

    # -- messages of programs ------------------------------------------------------------------------------------

    def _message(self, event: ClientMessage) -> None:
        if event.format != 32:
            return
        kind, numbers = self.atoms.name(event.type), struct.unpack("<5I", event.data)
        if kind == "WM_PROTOCOLS" and self.atoms.name(numbers[0]) == "_NET_WM_PING":
            self._closing.answered(numbers[2])
        window = self._windows.get(event.window)
        if window is None:
            return
        if kind == "WL_SURFACE_ID" and not window.role:
            window.surface = numbers[0]
            if numbers[0] in self._surfaces:
                self._pair(window, numbers[0])
        elif kind == "WL_SURFACE_SERIAL" and not window.role:
            window.serial = numbers[0] | numbers[1] << 32
            if (surface := self._by_serial.get(window.serial)) is not None:
                self._pair(window, surface)
        elif kind == "_NET_REQUEST_FRAME_EXTENTS":
            self._set_frame(window)
        elif window.role == "toplevel":
            self._toplevel_message(window, kind, numbers)

    def _toplevel_message(self, window: Window, kind: str, numbers: tuple[int, ...]) -> None:
        if kind == "_NET_ACTIVE_WINDOW":
            self._request(window, "activate")
        elif kind == "_NET_CLOSE_WINDOW":
            self.close(window.surface)
        elif kind == "WM_CHANGE_STATE" and numbers[0] == _ICONIC:
            self._minimize(window)
        elif kind == "_NET_WM_MOVERESIZE" and numbers[2] == _MOVE:
            self._request(window, "move")
        elif kind == "_NET_WM_MOVERESIZE" and numbers[2] < len(_EDGES):
            self.actions.append(RequestState(window.surface, "resize", _EDGES[numbers[2]]))
        elif kind == "_NET_MOVERESIZE_WINDOW":
            x, y = (number - (number >> 31 << 32) for number in numbers[1:3])
            self._resize(window, numbers[0] >> 8 & 15, (x, y, numbers[3], numbers[4]))
        elif kind == "_NET_WM_STATE":
            self._state_message(window, numbers)

    def _state_message(self, window: Window, numbers: tuple[int, ...]) -> None:
        """Ask the host for states; it answers with a configure event. What the host does not know, we keep."""
        named = {self.atoms.name(atom) for atom in numbers[1:3]}
        wanted = {state for state, atom in STATES.items() if atom in named} - {"focused", "hidden"}
        before = set(window.states)
        if numbers[0] == _ADD:
            after = before | wanted
        elif numbers[0] == _REMOVE:
            after = before - wanted
        elif numbers[0] == _TOGGLE:
            after = before ^ wanted
        else:
            return
        both = {"maximized_vertically", "maximized_horizontally"}
        if not window.fills_output and ("fullscreen" in after or both <= after):
            window.fills_output = True
            self._changed(window)
        if ("fullscreen" in after) != ("fullscreen" in before):
            self._request(window, "set_fullscreen" if "fullscreen" in after else "unset_fullscreen")
        if (both <= after) != (both <= before):
            self._request(window, "set_maximized" if both <= after else "unset_maximized")
        if "attention" in after - before:
            self._request(window, "demand_attention")
        window.states = (after - both - {"fullscreen"}) | (before & (both | {"fullscreen"}))
        self._write_states(window)
        self._changed(window)

    def _request(self, window: Window, what: str) -> None:
        self.actions.append(RequestState(window.surface, what))

    # -- what we write -------------------------------------------------------------------------------------------

    def _set_wm_state(self, window: Window, state: int) -> None:
        data, atom = struct.pack("<2I", state, 0), self.atoms["WM_STATE"]
        self._x.request(ChangeProperty(PropMode.REPLACE, window.number, atom, atom, 32, 2, data))

    def _write_states(self, window: Window) -> None:
        if self._root is not None:
            atoms = [self.atoms[atom] for state, atom in STATES.items() if state in window.states]
            self._root.set_numbers("_NET_WM_STATE", "ATOM", atoms, window.number)

    def _set_frame(self, window: Window) -> None:
        if self._root is not None:
            self._root.set_numbers("_NET_FRAME_EXTENTS", "CARDINAL", [0, 0, 0, 0], window.number)

    def _list_windows(self) -> None:
        if self._root is not None:
            managed = [window.number for window in self._windows if window.is_managed]
            known = set(managed)
            stacked = [number for number in self._windows.stacking if number in known]
            self._root.set_windows(managed, stacked)

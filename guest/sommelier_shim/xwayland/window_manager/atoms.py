"""The atoms that the window manager uses, by their names. Pure."""

from __future__ import annotations

from sommelier_shim.xwayland.x11.messages import Atom

STATES = {
    "fullscreen": "_NET_WM_STATE_FULLSCREEN",
    "maximized_vertically": "_NET_WM_STATE_MAXIMIZED_VERT",
    "maximized_horizontally": "_NET_WM_STATE_MAXIMIZED_HORZ",
    "hidden": "_NET_WM_STATE_HIDDEN",
    "focused": "_NET_WM_STATE_FOCUSED",
    "attention": "_NET_WM_STATE_DEMANDS_ATTENTION",
    "modal": "_NET_WM_STATE_MODAL",
    "above": "_NET_WM_STATE_ABOVE",
}
"""The states of a window that we keep, and their atoms (EWMH, _NET_WM_STATE)."""

SUPPORTED = (
    "_NET_SUPPORTED", "_NET_SUPPORTING_WM_CHECK", "_NET_CLIENT_LIST", "_NET_CLIENT_LIST_STACKING",
    "_NET_ACTIVE_WINDOW", "_NET_CLOSE_WINDOW", "_NET_WM_MOVERESIZE", "_NET_WM_NAME", "_NET_WM_STATE",
    *STATES.values(), "_NET_WM_WINDOW_TYPE", "_NET_WM_WINDOW_TYPE_NORMAL", "_NET_WM_WINDOW_TYPE_DIALOG",
    "_NET_FRAME_EXTENTS", "_NET_REQUEST_FRAME_EXTENTS", "_NET_NUMBER_OF_DESKTOPS", "_NET_CURRENT_DESKTOP",
    "_NET_DESKTOP_GEOMETRY", "_NET_DESKTOP_VIEWPORT", "_NET_WORKAREA", "_NET_WM_PID", "_NET_MOVERESIZE_WINDOW",
    "_NET_WM_PING", "_NET_WM_SYNC_REQUEST",
)  # fmt: skip
"""What we put into _NET_SUPPORTED: toolkits do without the rest then."""

NAMES = (
    "WM_S0", "_NET_WM_CM_S0", "_GUESTLINK_TIME", "_XEMBED", "_XEMBED_INFO",
    "_NET_SYSTEM_TRAY_S0", "_NET_SYSTEM_TRAY_OPCODE", "_NET_SYSTEM_TRAY_ORIENTATION",
    "_XWAYLAND_ALLOW_COMMITS", "_NET_WM_SYNC_REQUEST_COUNTER",
    "WM_PROTOCOLS", "WM_STATE", "WM_CHANGE_STATE", "WM_DELETE_WINDOW", "WM_TAKE_FOCUS", "WM_CLIENT_LEADER",
    "WM_WINDOW_ROLE", "WL_SURFACE_ID", "WL_SURFACE_SERIAL", "UTF8_STRING", "COMPOUND_TEXT", "C_STRING",
    "_MOTIF_WM_HINTS", "_NET_STARTUP_ID", "_NET_WM_WINDOW_TYPE_DROPDOWN_MENU",
    "_NET_WM_WINDOW_TYPE_POPUP_MENU", "_NET_WM_WINDOW_TYPE_TOOLTIP", "_NET_WM_WINDOW_TYPE_NOTIFICATION",
    "_NET_WM_WINDOW_TYPE_COMBO", "_NET_WM_WINDOW_TYPE_DND", "_NET_WM_WINDOW_TYPE_MENU",
    "_NET_WM_WINDOW_TYPE_UTILITY", "_NET_WM_WINDOW_TYPE_SPLASH", "_NET_WM_WINDOW_TYPE_DOCK",
    "_NET_WM_WINDOW_TYPE_DESKTOP", "_NET_WM_WINDOW_TYPE_TOOLBAR", "CLIPBOARD", "TARGETS", "TIMESTAMP",
    "TEXT", "INCR", "MULTIPLE", "ATOM_PAIR", "_GUESTLINK_TARGETS", "MANAGER", "_XSETTINGS_S0",
    "_XSETTINGS_SETTINGS", "XdndSelection", "XdndAware", "XdndProxy", "XdndTypeList", "XdndEnter", "XdndPosition",
    "XdndStatus", "XdndLeave", "XdndDrop", "XdndFinished", "XdndActionCopy", "XdndActionMove", "XdndActionAsk",
    *SUPPORTED,
)  # fmt: skip
"""The atoms that the server is asked for in any case."""

PREDEFINED = {
    name: getattr(Atom, name)
    for name in (
        "ATOM", "CARDINAL", "PRIMARY", "RESOURCE_MANAGER", "STRING", "WINDOW", "WM_CLASS", "WM_HINTS", "WM_NAME",
        "WM_NORMAL_HINTS", "WM_SIZE_HINTS", "WM_TRANSIENT_FOR",
    )
}  # fmt: skip
"""Atoms that every server has."""


class Atoms:
    """Atoms by name, and names by atom. A name that the server has not answered yet has the atom 0.

    :param more: names that a setting adds.
    :ivar wanted: all names that the server is asked for.
    """

    def __init__(self, more: tuple[str, ...] = ()) -> None:
        self.wanted = (*NAMES, *more)
        self._atoms: dict[str, int] = dict(PREDEFINED)
        self._names: dict[int, str] = {atom: name for name, atom in PREDEFINED.items()}

    def __getitem__(self, name: str) -> int:
        return self._atoms.get(name, 0)

    def add(self, name: str, atom: int) -> None:
        """Keep the server's answer."""
        self._atoms[name] = atom
        self._names[atom] = name

    def name(self, atom: int) -> str:
        """The name of an atom, ``""`` for one that the window manager does not use."""
        return self._names.get(atom, "")

    @property
    def are_known(self) -> bool:
        """Whether the server has answered for every name."""
        return all(self[name] for name in self.wanted)

"""What the window manager wants of the Wayland side. Surfaces are named by their ids on Xwayland's connection."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias


class WindowIdentity(NamedTuple):
    """What a window's application id is made of (chromeos-sommelier.md §2.5).

    :ivar name: its class; ``instance``: the program's name for this window. ``""`` for none.
    :ivar leader: WM_CLIENT_LEADER, 0 for none.
    :ivar window: the window.
    :ivar number: the value of the property that a setting names, ``None`` for none.
    """

    name: str = ""
    instance: str = ""
    leader: int = 0
    window: int = 0
    number: int | None = None


class Toplevel(NamedTuple):
    """How a window looks to the host.

    :ivar title: its title.
    :ivar identity: what its application id is made of.
    :ivar parent: the surface of the window that it belongs to, 0 for none.
    :ivar minimum: its least width and height, each 0 for no limit; ``maximum`` likewise.
    :ivar is_decorated: whether it wants a title bar.
    :ivar is_modal: whether the user has to answer it before using its parent.
    """

    title: str = ""
    identity: WindowIdentity = WindowIdentity()
    parent: int = 0
    minimum: tuple[int, int] = (0, 0)
    maximum: tuple[int, int] = (0, 0)
    is_decorated: bool = True
    is_modal: bool = False


class ShowToplevel(NamedTuple):
    """Make a toplevel of a surface. The host's first configure event decides its size.

    :ivar startup_id: of the launch that it belongs to, ``""`` for none.
    """

    surface: int
    toplevel: Toplevel
    is_fullscreen: bool = False
    is_maximized: bool = False
    startup_id: str = ""


class ChangeToplevel(NamedTuple):
    """Tell the host what has changed."""

    surface: int
    toplevel: Toplevel


class ShowPopup(NamedTuple):
    """Make a popup of a surface, at a place relative to its parent.

    :ivar is_movable: whether the host may move it into the output, if a part would be outside.
    """

    surface: int
    parent: int
    x: int
    y: int
    width: int
    height: int
    is_movable: bool = False


class MovePopup(NamedTuple):
    """Move a popup, or give it another size; the fields are as of :class:`ShowPopup`."""

    surface: int
    x: int
    y: int
    width: int
    height: int
    is_movable: bool = False


class Hide(NamedTuple):
    """Take the role from a surface: its window is unmapped."""

    surface: int


class TellStartup(NamedTuple):
    """Tell the host which launch a toplevel belongs to."""

    surface: int
    startup_id: str


class Accept(NamedTuple):
    """Acknowledge the host's last configure event: the window's next contents have its size.

    :ivar serial: of an event of which the contents are on the way, 0 for the last one.
    :ivar size: of these contents, with a serial, and of a window that fills its output no more; else zeros.
    """

    surface: int
    serial: int = 0
    size: tuple[int, int] = (0, 0)


class RequestState(NamedTuple):
    """Ask the host for a state of a toplevel.

    :ivar what: ``set_fullscreen``, ``unset_fullscreen``, ``set_maximized``, ``unset_maximized``, ``set_minimized``,
        ``activate``, ``demand_attention``, ``move``, or ``resize``.
    :ivar edge: of ``resize``: xdg_toplevel's edge.
    """

    surface: int
    what: str
    edge: int = 0


Action: TypeAlias = (
    ShowToplevel | ChangeToplevel | ShowPopup | MovePopup | Hide | Accept | RequestState | TellStartup
)

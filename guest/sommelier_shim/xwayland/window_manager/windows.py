"""The windows of one X server: which ones there are, how they lie above each other, and whose dialogs and popups
they are. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sommelier_shim.xwayland.window_manager.window import Rectangle, Window


class Windows:
    """The children of the root window, by their numbers and by their surfaces.

    :ivar by_surface: the windows that have their surface.
    :ivar stacking: the numbers of the windows that have been shown, the lowest first.
    :ivar resource_id_mask: the bits of a resource id that its X client chooses; 0 before the server has told them.
    """

    def __init__(self) -> None:
        self._windows: dict[int, Window] = {}
        self.by_surface: dict[int, Window] = {}
        self.stacking: list[int] = []
        self.resource_id_mask = 0

    def __len__(self) -> int:
        return len(self._windows)

    def __iter__(self) -> Iterator[Window]:
        return iter(list(self._windows.values()))

    def __contains__(self, number: int) -> bool:
        return number in self._windows

    def __getitem__(self, number: int) -> Window:
        return self._windows[number]

    def get(self, number: int) -> Window | None:
        """A window by its number, ``None`` if there is none."""
        return self._windows.get(number)

    def add(self, window: Window) -> None:
        """There is a window."""
        self._windows[window.number] = window

    def remove(self, window: Window) -> None:
        """A window is gone."""
        del self._windows[window.number]

    def raise_all(self, numbers: list[int]) -> None:
        """Put windows above the others, the last one highest."""
        known = set(numbers)
        self.stacking = [number for number in self.stacking if number not in known] + numbers

    def above(self, window: Window) -> list[Window]:
        """The windows above one that has been shown, the lowest first."""
        if window.number not in self.stacking:
            return []
        return [self._windows[number] for number in self.stacking[self.stacking.index(window.number) + 1 :]]

    # -- dialogs -------------------------------------------------------------------------------------------------

    def dialog_parent(self, window: Window) -> Window | None:
        """The toplevel that a window is a dialog of; ``None`` for none, and for windows that name each other in a
        ring: hosts end the connection for a parent from it (xdg-shell.xml, xdg_toplevel.set_parent)."""
        parent = self._windows.get(window.owner)
        return parent if parent is not None and parent.role == "toplevel" and not self._is_in_ring(window) else None

    def dialogs_of(self, window: Window) -> list[Window]:
        """The toplevels that name a window as their parent."""
        return [one for one in self if one.role == "toplevel" and one.owner == window.number]

    def group_parent(self, window: Window, root: int) -> int:
        """The window of the same group that a dialog of the whole group belongs to: the one that was used last
        (EWMH, WM_TRANSIENT_FOR for a group); 0 for none.

        :param root: the root window, by which programs name the whole group.
        """
        if not window.group or not (window.names_group or window.transient_for == root):
            return 0
        for number in reversed(self.stacking):
            other = self._windows[number]
            if number != window.number and other.group == window.group and other.role == "toplevel":
                return number if other.owner != window.number else 0
        return 0

    def dependents(self, window: Window) -> list[int]:
        """The dialogs and popups of a window, and theirs, the lowest first."""
        by_parent: dict[int, list[int]] = {}
        for number in self.stacking:
            one = self._windows[number]
            parent = self.by_surface.get(one.parent) if one.role == "popup" else None
            by_parent.setdefault(parent.number if parent is not None else one.owner, []).append(number)
        found, known = [window.number], {window.number}
        for number in found:  # It grows: dialogs have dialogs.
            new = [each for each in by_parent.get(number, ()) if each not in known]
            found += new
            known.update(new)
        return found[1:]

    def _is_in_ring(self, window: Window) -> bool:
        seen: set[int] = set()
        one: Window | None = window
        while one is not None and one.number not in seen:
            seen.add(one.number)
            one = self._windows.get(one.owner)
        return one is not None

    # -- popups --------------------------------------------------------------------------------------------------

    def popup_parent(self, window: Window, touched: int, focused: int) -> Window | None:
        """The toplevel that a popup belongs to: the one that it names, else one of the same program, else any.

        Among several it is the one that the user has touched last, else the focused one, else the highest one.
        """
        stacked = [self._windows[number] for number in reversed(self.stacking) if number in self._windows]
        candidates = [self._windows.get(touched), self._windows.get(focused), *stacked]
        known = [one for one in candidates if one is not None]
        same = [one for one in known if self._program_of(one) == self._program_of(window)]
        named = self._windows.get(window.owner)
        for one in (*([named] if named is not None else []), *same, *known):
            toplevel = self.by_surface.get(one.parent) if one.role == "popup" else one
            if toplevel is not None and toplevel.role == "toplevel" and one is not window:
                return toplevel
        return None

    def popups_of(self, window: Window) -> list[Window]:
        """The popups of a toplevel."""
        return [one for one in self if one.role == "popup" and one.parent == window.surface]

    def _program_of(self, window: Window) -> int:
        """The X client that has made a window: the resource ids of each have the same first bits."""
        return window.number & ~self.resource_id_mask if self.resource_id_mask else 0


def place_within(window: Window, parent: Window) -> Rectangle:
    """A popup's place in its parent, and its size with its border."""
    x, y, width, height = window.place
    both = 2 * window.border
    return Rectangle(x - parent.place.x, y - parent.place.y, width + both, height + both)

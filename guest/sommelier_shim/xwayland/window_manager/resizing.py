"""Resizing without tearing: _NET_WM_SYNC_REQUEST (EWMH). Pure.

A program that knows this protocol has a counter on the server. Before the window manager gives its window a size,
it announces a value, and the program sets the counter to the value when it has drawn the window in this size. Until
then Xwayland shows the host nothing of the window (``_XWAYLAND_ALLOW_COMMITS``), and sizes that the host sends in
the meantime wait: the last one is the next. So the window changes as fast as the program draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sommelier_shim.xwayland.window_manager.client_messages import send_protocol
from sommelier_shim.xwayland.window_manager.root_window import RootWindow
from sommelier_shim.xwayland.window_manager.window import Rectangle, Window
from sommelier_shim.xwayland.x11.connection import X11Connection
from sommelier_shim.xwayland.x11.messages import (
    SyncCreateAlarm,
    SyncDestroyAlarm,
    SyncInt64,
    SyncSetCounter,
    SyncTESTTYPE,
    SyncVALUETYPE,
)

SYNC = "_NET_WM_SYNC_REQUEST"
PATIENCE = 1.0
"""Seconds that a program may draw; afterwards the window is shown as it is, and resized without the protocol."""


class Configured(NamedTuple):
    """What the host has configured.

    :ivar serial: of its configure event.
    """

    place: Rectangle
    serial: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.place.width, self.place.height


class _Counter:
    """The counter of one window.

    :ivar value: the last one that was announced.
    :ivar resize: what the program draws now, or has drawn, ``None`` if nothing is under way.
    :ivar is_drawn: whether the program has drawn it; the host has not got it yet.
    :ivar until: when the patience ends.
    :ivar following: what the host has configured since.
    :ivar is_useless: whether the program has not set the counter in time, and not since.
    """

    def __init__(self, window: Window, counter: int, alarm: int) -> None:
        self.window = window
        self.number = counter
        self.alarm = alarm
        self.value = 0
        self.resize: Configured | None = None
        self.is_drawn = False
        self.until = 0.0
        self.following: Configured | None = None
        self.is_useless = False


class Resizing:
    """The windows whose programs draw a new size.

    :param clock: the time in seconds, which never goes back.
    """

    def __init__(self, x: X11Connection, clock: Callable[[], float]) -> None:
        self._x = x
        self._clock = clock
        self._counters: dict[int, _Counter] = {}
        self._by_alarm: dict[int, _Counter] = {}

    @property
    def deadline(self) -> float | None:
        """When :meth:`late` has to be called, ``None`` for never."""
        return min((one.until for one in self._counters.values() if one.resize is not None), default=None)

    def begin(self, root: RootWindow, window: Window, configured: Configured) -> bool:
        """Announce a size; the caller gives it to the window then.

        :returns: whether the program knows the protocol: then it calls for :meth:`drawn`.
        """
        counter = self._counter(window)
        if counter is None or counter.is_useless:
            return False
        counter.value += 1
        counter.resize, counter.is_drawn, counter.following = configured, False, None
        counter.until = self._clock() + PATIENCE
        self._allow(root, window, is_allowed=False)
        low, high = counter.value & 0xFFFFFFFF, counter.value >> 32
        send_protocol(self._x, root.atoms, window.number, SYNC, 0, low, high)
        return True

    def postpone(self, window: Window, configured: Configured) -> bool:
        """Let a size wait, if the program draws another one: returns whether it does."""
        counter = self._counters.get(window.number)
        if counter is None or counter.resize is None:
            return False
        counter.following = configured
        return True

    def drawn(self, root: RootWindow, alarm: int, value: SyncInt64) -> tuple[Window, Configured] | None:
        """A counter has got a value.

        :returns: the window and what its program has drawn, if this is the value that was announced.
        """
        counter = self._by_alarm.get(alarm)
        if counter is None or (value.hi << 32) + value.lo < counter.value:
            return None
        counter.is_useless = False
        if counter.resize is None or counter.is_drawn:
            return None
        counter.is_drawn = True
        self._allow(root, counter.window, is_allowed=True)
        return counter.window, counter.resize

    def shown(self, window: Window) -> Configured | None:
        """The host has got a window's contents in its size; returns the size that waits."""
        counter = self._counters.get(window.number)
        if counter is None or not counter.is_drawn:
            return None
        following, counter.following = counter.following, None
        counter.resize, counter.is_drawn = None, False
        return following

    def late(self, root: RootWindow) -> list[tuple[Window, Configured | None]]:
        """The windows whose patience has ended, and the sizes that wait."""
        now = self._clock()
        found = []
        for counter in self._counters.values():
            if counter.resize is not None and counter.until <= now:
                if not counter.is_drawn:
                    counter.is_useless = True
                    self._allow(root, counter.window, is_allowed=True)
                found.append((counter.window, counter.following))
                counter.resize, counter.is_drawn, counter.following = None, False, None
        return found

    def forget(self, root: RootWindow, window: Window, *, is_gone: bool) -> None:
        """A window is unmapped, or gone."""
        counter = self._counters.pop(window.number, None)
        if counter is None:
            return
        del self._by_alarm[counter.alarm]
        self._x.request(SyncDestroyAlarm(counter.alarm))
        if not is_gone and counter.resize is not None and not counter.is_drawn:
            self._allow(root, window, is_allowed=True)

    def _counter(self, window: Window) -> _Counter | None:
        number = window.sync_counter if window.speaks(SYNC) and self._x.has("SYNC") else 0
        known = self._counters.get(window.number)
        if known is not None and known.number != number and known.resize is None:
            del self._counters[window.number], self._by_alarm[known.alarm]
            self._x.request(SyncDestroyAlarm(known.alarm))
            known = None
        if known is not None or not number:
            return known if number else None
        counter = _Counter(window, number, self._x.new_id())
        self._counters[window.number] = self._by_alarm[counter.alarm] = counter
        self._x.request(SyncSetCounter(number, SyncInt64(0, 0)))
        one = SyncInt64(0, 1)
        trigger = {"counter": number, "valueType": SyncVALUETYPE.ABSOLUTE, "value": one}
        trigger |= {"testType": SyncTESTTYPE.POSITIVE_COMPARISON, "delta": one, "events": 1}
        self._x.request(SyncCreateAlarm(counter.alarm, trigger))
        return counter

    def _allow(self, root: RootWindow, window: Window, *, is_allowed: bool) -> None:
        root.set_numbers("_XWAYLAND_ALLOW_COMMITS", "CARDINAL", [int(is_allowed)], window.number)

"""The event loop: epoll, timers and signals. asyncio would cost 6 MB of memory and 8 % of every round trip
(performance.md §2, §3)."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

_log = logging.getLogger(__name__)

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT

EventHandler: TypeAlias = Callable[[int], None]
"""Called with the epoll events of its descriptor."""

_EVENTS = 64
"""Maximum number of events per epoll_wait. Python allocates that array in each call; the default, 1023, costs
0.2 µs."""


class Timer:
    """A pending call; see :meth:`cancel`."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], None]) -> None:
        self.function: Callable[[], None] | None = function

    def cancel(self) -> None:
        """Do not call the function."""
        self.function = None


class Loop:
    """Waits for descriptors, timers and signals, and calls their handlers."""

    def __init__(self) -> None:
        self._epoll = select.epoll(flags=select.EPOLL_CLOEXEC)
        self._handlers: dict[int, EventHandler] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._stopped = False
        self._wakeup: tuple[int, int] | None = None
        self._signals: dict[int, tuple[Callable[[], None], object]] = {}

    def add(self, descriptor: int, events: int, handler: EventHandler) -> None:
        """Call ``handler`` when the descriptor has one of the events, an error or a hang-up."""
        self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def change(self, descriptor: int, events: int) -> None:
        """Wait for other events of a descriptor."""
        self._epoll.modify(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """Stop watching a descriptor, which must still be open."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def call_later(self, seconds: float, function: Callable[[], None]) -> Timer:
        """Call a function once after that many seconds."""
        timer = Timer(function)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def on_signals(self, numbers: Iterable[int], function: Callable[[], None]) -> None:
        """Call a function from the loop when one of the signals arrives; main thread only."""
        if self._wakeup is None:
            self._wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
            self.add(self._wakeup[0], READABLE, self._signalled)
        for number in numbers:
            self._signals[number] = (function, signal.signal(number, lambda _number, _frame: None))

    def stop(self) -> None:
        """Let :meth:`run` return after the current round."""
        self._stopped = True

    def run(self) -> None:
        """Serve until :meth:`stop`. The loop logs the exceptions of handlers and goes on."""
        poll = self._epoll.poll
        handlers, timers = self._handlers, self._timers
        while not self._stopped:
            for descriptor, events in poll(self._timeout() if timers else -1, _EVENTS):
                handler = handlers.get(descriptor)
                if handler is not None:  # an earlier handler of this round may have removed it
                    try:
                        handler(events)
                    except Exception:
                        _log.exception("a handler failed")
            if timers:
                self._run_timers()

    def close(self) -> None:
        """Restore the previous signal handlers, and close the loop's descriptors."""
        for number, (_, previous) in self._signals.items():
            signal.signal(number, previous)  # type: ignore[arg-type]
        self._signals.clear()
        if self._wakeup is not None:
            signal.set_wakeup_fd(-1)
            self.remove(self._wakeup[0])
            for descriptor in self._wakeup:
                os.close(descriptor)
            self._wakeup = None
        self._handlers.clear()
        self._timers.clear()
        self._epoll.close()

    def _timeout(self) -> float:
        while self._timers and self._timers[0][2].function is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.function is not None:
                try:
                    timer.function()
                except Exception:
                    _log.exception("a timer failed")

    def _signalled(self, events: int) -> None:
        assert self._wakeup is not None
        for number in os.read(self._wakeup[0], 64):
            if number in self._signals:
                self._signals[number][0]()

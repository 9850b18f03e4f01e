"""An event loop for the process that relays ports: callbacks for descriptors, and timers.

A relayed message takes one turn of the loop, and asyncio's turn takes several times as long as the calls of the
kernel that move the message.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

Handler: TypeAlias = Callable[[int], None]
"""Gets the events of a descriptor, as bits of epoll(7)."""
_EVENTS = 512
"""Events that one turn takes from the kernel."""


class Poller:
    """Watches descriptors and calls what is due."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._ready: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._running = False

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        """Call a handler for each of these events.

        :raises OSError: the descriptor cannot be watched, for lack of memory for example.
        """
        self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def change(self, descriptor: int, events: int) -> None:
        """Watch for other events."""
        self._epoll.modify(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Stop to watch, before the descriptor is closed: another process may still have its file open."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def soon(self, call: Callable[[], None]) -> None:
        """Call in the next turn."""
        self._ready.append(call)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once, after a time."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), call))

    def stop(self) -> None:
        """Let :meth:`run` return."""
        self._running = False

    def run(self) -> None:
        """Call handlers until :meth:`stop`."""
        self._running = True
        poll, handlers, ready = self._epoll.poll, self._handlers, self._ready
        while self._running:
            for descriptor, events in poll(self._pause(), _EVENTS):
                # A handler may have closed the descriptor of a later event.
                if (handler := handlers.get(descriptor)) is not None:
                    handler(events)
            for _ in range(len(ready)):
                ready.popleft()()
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()

    def close(self) -> None:
        """Close the epoll descriptor."""
        self._epoll.close()

    def _pause(self) -> float:
        if self._ready:
            return 0.0
        return max(self._timers[0][0] - time.monotonic(), 0.0) if self._timers else -1.0

"""The sending half of a connection: it never blocks, keeps the order, and sends descriptors with their messages."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable

from sommelier_shim.channel import DescriptorRefused, Transport
from sommelier_shim.core.wire import Buffer

QUEUE_HIGH = 8 * 1024 * 1024
"""Queued bytes above which the session stops reading the other peer. The limit is high because libwayland 1.21
aborts when its socket stays full (performance.md §8.2)."""
QUEUE_LOW = QUEUE_HIGH // 4
"""Queued bytes at which reading resumes."""
DESCRIPTORS_HIGH = 512
"""Queued descriptors above which reading pauses, too: a process can only open a limited number."""
_JOINED = 65536
"""Bytes of a queued block up to which the outlet appends the next data to it, so that many small messages share
one block."""


class Outlet:
    """Sends to one transport.

    :param on_wait: called when :meth:`send` has put the first data into the empty queue.
    :ivar queued: queued bytes; :ivar descriptors: queued descriptors.
    :ivar broken: whether the transport failed or is closed; :meth:`send` drops everything then.
    :ivar refusal: why the transport failed, if it refused a descriptor; otherwise "".
    :ivar is_clear: whether the queue is empty and the transport not broken.
    :ivar retry: whether to flush again after a delay (the kernel has too many descriptors in flight), instead of
        when the transport is writable.
    """

    __slots__ = ("_on_wait", "_queue", "_send", "broken", "descriptors", "is_clear", "queued", "refusal", "retry",
                 "sent_bytes")  # fmt: skip

    def __init__(self, transport: Transport, on_wait: Callable[[], None]) -> None:
        self._send = transport.send
        self._on_wait = on_wait
        self._queue: deque[tuple[bytearray, list[int] | None]] = deque()
        self.queued = 0
        self.descriptors = 0
        self.broken = False
        self.refusal = ""
        self.is_clear = True
        self.retry = False
        self.sent_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether the session must stop reading the other peer."""
        return self.queued > QUEUE_HIGH or self.descriptors > DESCRIPTORS_HIGH

    @property
    def has_room(self) -> bool:
        """Whether the session can resume reading the other peer."""
        return self.queued <= QUEUE_LOW and self.descriptors <= DESCRIPTORS_HIGH // 4

    def send(self, data: Buffer, descriptors: list[int] | None) -> None:
        """Send, or append to the queue. The outlet owns the descriptors, and sends them with the first byte."""
        if self.is_clear:
            try:
                sent = self._send(data, descriptors)
            except (OSError, DescriptorRefused) as error:
                sent = self._failed(error)
            self.sent_bytes += sent
            if sent == len(data):
                return
            if sent > 0:
                data, descriptors = memoryview(data)[sent:], None
        if self.broken:
            _close(descriptors)
            return
        self._keep(data, descriptors)

    def flush(self) -> None:
        """Send queued data until the transport is full."""
        queue = self._queue
        self.retry = False
        while queue and not self.broken:
            data, descriptors = queue[0]
            try:
                sent = self._send(data, descriptors)
            except (OSError, DescriptorRefused) as error:
                self._failed(error)
                break
            self.sent_bytes += sent
            self.queued -= sent
            if descriptors:
                self.descriptors -= len(descriptors)
            if sent < len(data):
                del data[:sent]
                queue[0] = (data, None)
                break
            queue.popleft()
        if self.broken:
            self._drop()
        if not queue:
            self.is_clear = not self.broken

    def close(self) -> None:
        """Drop the queued data and close its descriptors. The caller closes the transport."""
        self._break()
        self._drop()

    def break_cycles(self) -> None:
        """Break the reference cycle with the owner; the outlet is unusable afterwards."""
        del self._on_wait, self._send

    def _failed(self, error: OSError | DescriptorRefused) -> int:
        """Handle a failed send: temporary (the transport is full, or too many descriptors in flight) or fatal.

        :returns: 0, the number of bytes sent.
        """
        if isinstance(error, DescriptorRefused):
            self.refusal = str(error)
            self._break()
        elif error.errno == errno.ETOOMANYREFS:
            self.retry = True
        elif not isinstance(error, BlockingIOError):
            self._break()
        return 0

    def _break(self) -> None:
        self.broken = True
        self.is_clear = False

    def _keep(self, data: Buffer, descriptors: list[int] | None) -> None:
        queue = self._queue
        self.is_clear = False
        self.queued += len(data)
        if descriptors:
            self.descriptors += len(descriptors)
        elif queue and len(queue[-1][0]) < _JOINED:
            queue[-1][0].extend(data)
            return
        queue.append((bytearray(data), descriptors))
        if len(queue) == 1:
            self._on_wait()

    def _drop(self) -> None:
        for _, descriptors in self._queue:
            _close(descriptors)
        self._queue.clear()
        self.queued = self.descriptors = 0


def _close(descriptors: list[int] | None) -> None:
    for descriptor in descriptors or ():
        os.close(descriptor)

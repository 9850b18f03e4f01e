"""A connection of the proxy's own to the host: it sends requests, and calls a function for each event."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from sommelier_shim.channel import Transport
from sommelier_shim.core.layouts import event
from sommelier_shim.core.wire import HEADER, SIZE_LIMIT, WireError, decode
from sommelier_shim.daemon.loop import READABLE, Loop
from sommelier_shim.daemon.outlet import Outlet

_RECEIVE_SIZE = 16384
_GLOBAL_LIMIT = 4096
_NAME_LIMIT = 256
"""Maximum length of an interface name in characters; the longest known one has sixty."""
_GLOBAL = event("wl_registry", "global")
_GLOBAL_REMOVE = event("wl_registry", "global_remove")


class OwnConnection:
    """One connection.

    :param transport: to the host; the connection owns it.
    :param on_event: called with object id, opcode and the complete message. It may close the connection.
    :param on_end: called once with a sentence when the host closed the connection or broke the protocol.
    """

    def __init__(
        self,
        loop: Loop,
        transport: Transport,
        on_event: Callable[[int, int, bytes], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._outlet = Outlet(transport, lambda: None)
        self._on_event = on_event
        self._on_end = on_end
        self._tail = b""
        self._is_open = True
        loop.add(transport.fileno(), READABLE, self._readable)

    def send(self, data: bytes, descriptors: list[int] | None = None) -> None:
        """Send requests of a few hundred bytes. A full transport is not retried: the host has stopped reading."""
        self._outlet.send(data, descriptors)

    def close(self) -> None:
        """Close the connection; no callback runs afterwards."""
        if self._is_open:
            self._is_open = False
            self._outlet.close()
            self._loop.remove(self._transport.fileno())
            self._transport.close()

    def _readable(self, events: int) -> None:
        try:
            data = self._receive()
        except BlockingIOError:
            return
        except WireError as error:
            self._on_end(f"the host compositor broke the protocol: {error}")
            return
        if not data:
            self._on_end("the host compositor closed the connection")
            return
        try:
            self._take(self._tail + data)
        except WireError as error:
            self._on_end(f"the host compositor broke the protocol: {error}")

    def _receive(self) -> bytes:
        """Receive once; b"" at the end of the connection.

        :raises BlockingIOError: nothing has come.
        :raises WireError: descriptors were lost.
        """
        space = bytearray(_RECEIVE_SIZE)
        unused: deque[int] = deque()
        try:
            count = self._transport.receive(memoryview(space), unused)
        except BlockingIOError:
            raise
        except OSError:
            count = 0
        finally:
            for descriptor in unused:  # no event that the proxy asks for has a descriptor
                os.close(descriptor)
        return bytes(space[:count])

    def _take(self, data: bytes) -> None:
        at = 0
        while at + 8 <= len(data):
            object_id, word = HEADER.unpack_from(data, at)
            size = word >> 16
            if size < 8 or size & 3 or size > SIZE_LIMIT:
                raise WireError("a message of an impossible size")
            if at + size > len(data):
                break
            self._on_event(object_id, word & 0xFFFF, data[at : at + size])
            if not self._is_open:
                return
            at += size
        self._tail = data[at:]


class GlobalList(dict[int, tuple[str, int]]):
    """The globals that a registry has announced: interface and version by name."""

    def event(self, opcode: int, message: bytes) -> None:
        """Handle an event of the registry.

        :raises WireError: the event is malformed.
        """
        if opcode == _GLOBAL.opcode:
            name, interface, version = decode(_GLOBAL.signature, message)
            known = (interface or b"").decode("ascii", "replace")[:_NAME_LIMIT]
            if len(self) < _GLOBAL_LIMIT and known:
                self[name] = (known, version)
        elif opcode == _GLOBAL_REMOVE.opcode:
            (name,) = decode(_GLOBAL_REMOVE.signature, message)
            self.pop(name, None)

    def version_of(self, interface: str) -> int:
        """The version of an interface, 0 if the host has not announced it."""
        return max((version for name, version in self.values() if name == interface), default=0)

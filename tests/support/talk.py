"""One object of a client, and messages to or from it, without a host."""

from __future__ import annotations

import os

from sommelier_shim.core.layouts import MessageLayout
from sommelier_shim.core.relay import Flow, Relay
from sommelier_shim.core.wire import FIRST_SERVER_ID, Buffer, Value, encode
from support.wayland_fuzz import ROUTES

OBJECT = 2
NEW = 3


class Talk:
    """A client that has one object, and the bytes that the proxy passed on."""

    def __init__(self, kind: str, interface: str, *, is_request: bool) -> None:
        self.output = bytearray()
        self.relay: Relay = ROUTES[kind].relay(self._take, self._take)
        self.output.clear()
        host_id = self.relay.add(OBJECT, *self.relay.routes.entries(interface))
        self.flow: Flow = self.relay.requests if is_request else self.relay.events
        self.object_id = OBJECT if is_request else host_id

    def _take(self, data: Buffer, descriptors: list[int] | None) -> None:
        self.output += data
        for descriptor in descriptors or ():
            os.close(descriptor)

    def feed(self, data: bytes, descriptors: int = 0) -> int:
        """Feed bytes and a number of descriptors; returns the number of bytes that the relay used."""
        self.flow.received.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(descriptors))
        buffer = bytearray(data + bytes(8))
        with memoryview(buffer) as view:
            return self.flow.feed(buffer, view, len(data))

    def message(
        self, opcode: int, shape: MessageLayout, *, is_request: bool, number: int = 7, fixed: float = 1.5
    ) -> bytes:
        """A whole message with arguments of the right types.

        :param number: the value of every int and uint; :param fixed: the value of every fixed-point number.
        """
        values: list[Value] = []
        for letter in shape.signature.replace("h", ""):
            new = NEW if is_request else FIRST_SERVER_ID
            letters: dict[str, Value] = {"s": "text", "a": b"abcd", "f": fixed, "o": self.object_id, "n": new}
            values.append(letters.get(letter, number))
        return encode(self.object_id, opcode, shape.signature, *values)

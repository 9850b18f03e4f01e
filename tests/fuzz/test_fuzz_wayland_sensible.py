"""A random client that obeys the protocol: the host must never see a protocol error.

The host removes half of its globals at once, and the client binds them again: the objects of these binds are inert.
The proxy must not create them on the host, leave gaps in the host's ids, or name them in a request.
"""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from sommelier_shim.core.layouts import MessageLayout, interface_layout
from sommelier_shim.core.tables import INTERFACES
from sommelier_shim.core.wire import DISPLAY, FIRST_SERVER_ID, Value, WireError, encode
from support.wayland_fuzz import ROUTES, Conversation

_STEPS = 200
_WITHDRAWN = 12


class _Client:
    """Creates, uses and destroys objects, and reuses an id after its delete_id."""

    def __init__(self, kind: str, chance: random.Random) -> None:
        self.chance = chance
        self.talk = Conversation(kind, _WITHDRAWN, is_sensible=True)
        self.alive = {number: found[-1] for number, found in self.talk.client.objects.items()}
        self.ending: set[int] = set()
        self.free: list[int] = []
        self.next = max(self.alive) + 1
        self.next_of_host = FIRST_SERVER_ID
        self._get_data_device()

    def _get_data_device(self) -> None:
        """Create the object with which the host most often creates others: data offers."""
        ids = {interface: number for number, interface in reversed(self.alive.items())}
        new = self.next
        self.next += 1
        self.talk.say(True, encode(ids["wl_data_device_manager"], 1, "no", new, ids["wl_seat"]))
        self.alive[new] = "wl_data_device"

    def ask(self) -> int:
        """Send a valid request if the chosen object allows one; returns 1 if it did, else 0."""
        object_id = self.chance.choice(list(self.alive))
        interface = self.alive[object_id]
        shapes = interface_layout(interface).requests
        if interface == "wl_registry" or not shapes:
            return 0
        opcode = self.chance.randrange(len(shapes))
        shape, kinds = shapes[opcode], INTERFACES[interface].requests[opcode].interfaces
        if (interface, shape.name) == ("wl_display", "get_registry"):
            return 0
        named = [kind for letter, kind in zip(shape.signature, kinds, strict=True) if letter == "o"]
        if not set(named) <= set(self.alive.values()):
            return 0
        made: dict[int, str] = {}
        values = [
            self._value(letter, kind or "", made)
            for letter, kind in zip(shape.signature, kinds, strict=True)
            if letter != "h"
        ]
        self._send(object_id, opcode, shape, values)
        self.alive |= made
        return 1

    def _send(self, object_id: int, opcode: int, shape: MessageLayout, values: list[Value]) -> None:
        if shape.destructor:
            del self.alive[object_id]
            if object_id < FIRST_SERVER_ID:
                self.ending.add(object_id)
        self.talk.say(True, encode(object_id, opcode, shape.signature, *values), shape.descriptors)

    def _value(self, letter: str, kind: str, made: dict[int, str]) -> Value:
        if letter == "n":
            number = self.free.pop() if self.free and self.chance.random() < 0.7 else self.next
            self.next = max(self.next, number + 1)
            made[number] = kind
            return number
        if letter == "o":
            return self.chance.choice([number for number, found in self.alive.items() if found == kind])
        texts: dict[str, Value] = {"s": "text", "a": b"", "f": 1.5}
        return texts.get(letter, self.chance.choice([0, 1, 2, 5]))

    def listen(self) -> None:
        """Send delete_id for some destroyed objects, and done for some callbacks."""
        for number in list(self.talk.host.ended):
            if self.chance.random() < 0.7:
                self.talk.say(False, encode(DISPLAY, 1, "u", number))
        for number, found in list(self.talk.host.objects.items()):
            if found[0] == "wl_callback" and number not in self.talk.host.ended and self.chance.random() < 0.5:
                self.talk.say(False, encode(number, 0, "u", 3))
        self._create_objects()
        known = self.talk.client.objects
        gone = [number for number in (*self.ending, *self.alive) if number not in known]
        self.free += gone
        for number in gone:
            self.ending.discard(number)
            self.alive.pop(number, None)

    def _create_objects(self) -> None:
        """Send events that create objects, data offers for example; the client uses those that it receives."""
        host = self.talk.host
        for number in list(host.objects):
            interface = host.interface(number, is_request=False)  # "" if an earlier event has ended the object
            for opcode, shape in enumerate(interface_layout(interface).events if interface else ()):
                if shape.signature == "n" and number not in host.ended and self.chance.random() < 0.3:
                    new = self.next_of_host
                    self.next_of_host += 1
                    self.talk.say(False, encode(number, opcode, "n", new))
                    if new in self.talk.client.objects:
                        self.alive[new] = self.talk.client.objects[new][-1]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ROUTES)
def test_the_host_finds_no_fault(kind: str, seed: int) -> None:
    chance = random.Random(seed)
    client = _Client(kind, chance)
    asked = 0
    with suppress(WireError):  # the proxy itself answers for viewports, and sends protocol errors for them
        for _ in range(_STEPS):
            if chance.random() < 0.3:
                client.listen()
            else:
                asked += client.ask()
    client.talk.close()
    assert asked

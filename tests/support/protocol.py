"""Messages by their names: the tables of the protocols give opcodes and types."""

from __future__ import annotations

import functools
from typing import Any

from sommelier_shim.core.tables import INTERFACES, Message
from sommelier_shim.core.wire import encode


def message(object_id: int, name: str, *values: Any) -> bytes:
    """The bytes of a request or event. A descriptor among its arguments has no value.

    :param name: interface and message, as in ``wl_surface.commit``.
    :raises ValueError: the interface has no such message, or a request and an event of this name.
    """
    interface, _, name = name.partition(".")
    found = []
    for is_request in (True, False):
        try:
            found.append(named(interface, name, is_request=is_request))
        except ValueError:
            continue
    if len(found) != 1:
        raise ValueError(f"{interface} has {len(found)} messages with the name {name}")
    ((opcode, known),) = found
    return encode(object_id, opcode, letters(known), *values)


@functools.cache
def named(interface: str, name: str, *, is_request: bool) -> tuple[int, Message]:
    """The opcode and the description of a request or of an event.

    :raises ValueError: the interface has no such message.
    """
    messages = INTERFACES[interface].requests if is_request else INTERFACES[interface].events
    for opcode, known in enumerate(messages):
        if known.name == name:
            return opcode, known
    raise ValueError(f"{interface} has no {name}")


def letters(known: Message) -> str:
    """The signature of a message, without the marks of arguments that may be null."""
    return known.signature.replace("?", "")

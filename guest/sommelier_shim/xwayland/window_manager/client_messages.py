"""Events that the window manager sends to programs: messages of WM_PROTOCOLS and others. Pure."""

from __future__ import annotations

import struct

from sommelier_shim.xwayland.window_manager.atoms import Atoms
from sommelier_shim.xwayland.x11.connection import X11Connection
from sommelier_shim.xwayland.x11.layout import Message, encode
from sommelier_shim.xwayland.x11.messages import EVENTS, LAYOUTS, ClientMessage, EventMask, SendEvent


def send_event(x: X11Connection, window: int, mask: int, event: Message) -> None:
    """Send an event to the clients that have selected ``mask`` on a window; without a mask to its creator."""
    body = bytes(encode(event, LAYOUTS))
    packet = bytes([EVENTS[type(event)].code]) + body[:1] + bytes(2) + body[1:]
    x.request(SendEvent(False, window, mask, packet.ljust(32, b"\0")))


def send_protocol(x: X11Connection, atoms: Atoms, window: int, name: str, time: int = 0, *numbers: int) -> None:
    """Send a message of WM_PROTOCOLS (ICCCM §4.2.8).

    :param name: the protocol.
    :param time: the server's, in milliseconds.
    :param numbers: what the protocol adds, at most three.
    """
    data = struct.pack("<5I", atoms[name], time, *numbers, *(0,) * (3 - len(numbers)))
    send_event(x, window, EventMask.NO_EVENT, ClientMessage(32, window, atoms["WM_PROTOCOLS"], data))

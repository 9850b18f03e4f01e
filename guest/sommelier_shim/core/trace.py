"""A log of messages for debugging: ``--trace=SPEC``.

SPEC is a list of words: ``requests`` or ``events`` (one direction alone), patterns of interfaces to log
(``xdg_*``) or not to log (``-wl_pointer``), ``ring`` (log nothing until a protocol error disconnects a client) and
``typed`` (log the text and keys that the user types, which the trace hides otherwise). The trace keeps the last
messages of each client, and logs them when a protocol error disconnects the client.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from fnmatch import fnmatchcase
from typing import NamedTuple

from sommelier_shim.core.hooks import FeatureKey
from sommelier_shim.core.layouts import MessageLayout
from sommelier_shim.core.relay import Flow, Relay
from sommelier_shim.core.tables import INTERFACES
from sommelier_shim.core.wire import WireError, decode

_log = logging.getLogger(__name__)

RING_SIZE = 200
"""Maximum number of messages to keep for each client."""
BYTES_KEPT = 512
"""Maximum number of bytes to keep of each message."""
_TEXT_SHOWN = 80

_TYPED = {
    ("wl_keyboard", "key"),
    ("wl_keyboard", "modifiers"),
    ("wl_keyboard", "enter"),
    ("zwp_input_method_keyboard_grab_v2", "key"),
    ("zwp_virtual_keyboard_v1", "key"),
}
_TYPED_IN = ("zwp_text_input_", "zwp_input_method_", "zcr_extended_text_input_")
CLIENT_PID: FeatureKey[int] = FeatureKey("pid of the client", int)
"""The client's process id, which every log line has: several clients are traced at a time."""


class _Kept(NamedTuple):
    pid: int
    when: float
    is_request: bool
    layout: MessageLayout
    object_id: int
    size: int
    data: bytes


_RING: FeatureKey[deque[_Kept]] = FeatureKey("last messages", lambda: deque(maxlen=RING_SIZE))


class Trace:
    """Records and logs messages.

    :param spec: the words of SPEC, see the module.
    """

    def __init__(self, spec: str) -> None:
        words = spec.replace(",", " ").split()
        self._live = "ring" not in words
        self._typed = "typed" in words
        directions = {"requests", "events"} & set(words)
        self._requests = not directions or "requests" in directions
        self._events = not directions or "events" in directions
        patterns = [word for word in words if word not in ("ring", "typed", "requests", "events", "all")]
        self._shown = [word for word in patterns if not word.startswith("-")]
        self._hidden = [word[1:] for word in patterns if word.startswith("-")]
        for pattern in (*self._shown, *self._hidden):
            if not any(fnmatchcase(interface, pattern) for interface in INTERFACES):
                _log.warning("there is no interface %s to trace; use names such as wl_surface, or xdg_*", pattern)

    def wants(self, interface: str, *, is_request: bool) -> bool:
        """Whether messages of an interface are recorded."""
        if not (self._requests if is_request else self._events):
            return False
        if any(fnmatchcase(interface, pattern) for pattern in self._hidden):
            return False
        return not self._shown or any(fnmatchcase(interface, pattern) for pattern in self._shown)

    def record(self, flow: Flow, layout: MessageLayout, object_id: int, at: int, stop: int) -> None:
        """Keep a message, and log it unless ``ring`` is set."""
        data = bytes(flow.buffer[at : min(stop, at + BYTES_KEPT)])
        pid = CLIENT_PID.of(flow.relay)
        kept = _Kept(pid, time.time(), flow.is_requests, layout, object_id, stop - at, data)
        _RING.of(flow.relay).append(kept)
        if self._live:
            _log.info("%s", self._line(kept))

    def dump(self, relay: Relay) -> None:
        """Log the last messages of a client."""
        for kept in _RING.of(relay):
            _log.warning("%s", self._line(kept))

    def _line(self, kept: _Kept) -> str:
        arrow = "->" if kept.is_request else "<-"
        seconds = time.strftime("%H:%M:%S", time.localtime(kept.when)) + f".{int(kept.when % 1 * 1000):03}"
        message = f"{kept.layout.interface}#{kept.object_id}.{kept.layout.name}({self._arguments(kept)})"
        return f"{seconds} [{kept.pid}] {arrow} {message}"

    def _arguments(self, kept: _Kept) -> str:
        if not self._typed and _is_typed(kept.layout.interface, kept.layout.name):
            return "hidden"
        if kept.size > len(kept.data):
            return f"{kept.size} bytes"
        try:
            values = decode(kept.layout.signature, kept.data)
        except WireError as error:
            return str(error)
        shown = []
        for letter, value in zip(kept.layout.signature, values, strict=True):
            if letter == "h":
                shown.append("fd")
            elif letter == "a":
                shown.append(f"array of {len(value)} bytes")
            elif letter == "s" and value is not None:
                shown.append(repr(value.decode(errors="replace")[:_TEXT_SHOWN]))
            else:
                shown.append("nil" if value is None else f"{value:g}" if letter == "f" else str(value))
        return ", ".join(shown)


def _is_typed(interface: str, name: str) -> bool:
    if (interface, name) in _TYPED:
        return True
    return interface.startswith(_TYPED_IN) and not name.startswith(("enter", "leave", "destroy", "done"))

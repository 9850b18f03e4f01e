"""Positions and logical sizes of the host's outputs, from the proxy's own connection.

A host may hide xdg-output from the clients of a security context (sway does since 1.9), and wl_output alone does
not have the fractional scale. A global has the same name on all connections (libwayland's ``wl_global.name``), so
the proxy finds a client's output here by the name of its global.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from sommelier_shim.core.layouts import event, request
from sommelier_shim.core.wire import DISPLAY, decode

XDG_OUTPUT = "zxdg_output_manager_v1"
_REGISTRY = 2
_BIND = request("wl_registry", "bind")
_SYNC = request("wl_display", "sync")
_GET_XDG_OUTPUT = request(XDG_OUTPUT, "get_xdg_output")
_DESTROY_XDG_OUTPUT = request("zxdg_output_v1", "destroy")
_RELEASE_OUTPUT = request("wl_output", "release")
_LOGICAL_POSITION = event("zxdg_output_v1", "logical_position")
_LOGICAL_SIZE = event("zxdg_output_v1", "logical_size")
_LOGICAL_DONE = event("zxdg_output_v1", "done")
_OUTPUT_VERSION, _OUTPUT_RELEASES = 3, 3
_MANAGER_VERSION = 2
"""The last version in which zxdg_output_v1 sends ``done``."""
_LIMIT = 64
"""Maximum number of outputs to follow."""


class OutputPlace(NamedTuple):
    """Position and size in host units."""

    position: tuple[int, int]
    size: tuple[int, int]


class _Followed:
    """The proxy's objects for an output, and the values that it has received for it."""

    def __init__(self, output: int, version: int, xdg_output: int) -> None:
        self.output = output
        self.version = version
        self.xdg_output = xdg_output
        self.position = self.size = (0, 0)


class OutputPlaces:
    """Follows the outputs of one connection.

    :ivar places: position and size by the name of the output's global.
    :ivar is_following: whether :meth:`start` was called; :ivar is_complete: whether the host has described all
        outputs that it had then.
    """

    def __init__(self) -> None:
        self.places: dict[int, OutputPlace] = {}
        self.is_following = self.is_complete = False
        self._followed: dict[int, _Followed] = {}
        self._next = 0
        self._manager = 0
        self._callback = 0
        self._send: Callable[[bytes], None]

    def start(self, globals_: Mapping[int, tuple[str, int]], first_id: int, send: Callable[[bytes], None]) -> None:
        """Bind every output and create its xdg-output.

        :param first_id: the first object id that the connection has not used.
        :param send: sends requests on the connection.
        """
        self.is_following = True
        self._next, self._send = first_id, send
        name, version = next(
            (name, version) for name, (interface, version) in globals_.items() if interface == XDG_OUTPUT
        )
        self._manager = self._new_id()
        version = min(version, _MANAGER_VERSION)
        send(_BIND.encode(_REGISTRY, name, XDG_OUTPUT, version, self._manager))
        for name, (interface, version) in globals_.items():
            self.announced(name, interface, version)
        self._callback = self._new_id()
        send(_SYNC.encode(DISPLAY, self._callback))

    def stop(self) -> None:
        """Drop all state, because the connection is closed."""
        self.places.clear()
        self._followed.clear()
        self.is_following = self.is_complete = False

    def announced(self, name: int, interface: str, version: int) -> None:
        """Handle wl_registry.global of the connection."""
        if not self.is_following or interface != "wl_output" or len(self._followed) >= _LIMIT:
            return
        one = self._followed[name] = _Followed(self._new_id(), min(version, _OUTPUT_VERSION), self._new_id())
        self._send(
            _BIND.encode(_REGISTRY, name, interface, one.version, one.output)
            + _GET_XDG_OUTPUT.encode(self._manager, one.xdg_output, one.output)
        )

    def withdrawn(self, name: int) -> None:
        """Handle wl_registry.global_remove of the connection."""
        one = self._followed.pop(name, None)
        self.places.pop(name, None)
        if one is not None:
            self._send(_DESTROY_XDG_OUTPUT.encode(one.xdg_output))
            if one.version >= _OUTPUT_RELEASES:
                self._send(_RELEASE_OUTPUT.encode(one.output))

    def event(self, object_id: int, opcode: int, message: bytes) -> bool:
        """Handle an event of any object of the connection.

        :returns: whether the event completes the description of an output, or the first description of all.
        :raises WireError: the event is malformed.
        """
        if object_id == self._callback and self.is_following and not self.is_complete:
            self.is_complete = True
            return True
        for name, one in self._followed.items():
            if one.xdg_output != object_id:
                continue
            if opcode == _LOGICAL_POSITION.opcode:
                one.position = _pair(message)
            elif opcode == _LOGICAL_SIZE.opcode:
                one.size = _pair(message)
            elif opcode == _LOGICAL_DONE.opcode and min(one.size) > 0:
                self.places[name] = OutputPlace(one.position, one.size)
                return True
        return False

    def _new_id(self) -> int:
        self._next += 1
        return self._next - 1


def _pair(message: bytes) -> tuple[int, int]:
    x, y = decode(_LOGICAL_SIZE.signature, message)
    return x, y

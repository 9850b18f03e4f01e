"""Hooks for wl_display and wl_registry, on which every client depends (chromeos-sommelier.md §6.4).

The registry hooks filter the host's globals. A client gets only interfaces of the tables, because the relay cannot
track objects in messages of an unknown interface; versions are no higher than in the tables; and the policy hides
some globals.
"""

from __future__ import annotations

from typing import NamedTuple

from sommelier_shim.core.hooks import Hooks, Phase
from sommelier_shim.core.layouts import event, request
from sommelier_shim.core.relay import Flow, Hook, delete_id
from sommelier_shim.core.wire import DISPLAY, INVALID_OBJECT, UINT, Buffer, WireError
from sommelier_shim.features import inert
from sommelier_shim.features.policy.interfaces import GlobalPolicy

GLOBAL_LIMIT = 4096
"""Maximum number of globals of a host; compositors have fewer than a hundred."""
_KEPT = 256
"""Maximum size in bytes of an announcement in the cache; the longest interface name has sixty."""

_read_error = event("wl_display", "error").decoder("object_id", "code", "message")
_write_error_object = event("wl_display", "error").writer("object_id")
_GLOBAL = event("wl_registry", "global")
_read_global = _GLOBAL.decoder("name", "interface", "version")
_read_global_remove = event("wl_registry", "global_remove").reader("name")
_read_bind = request("wl_registry", "bind").decoder("name", "interface", "version", "id")


def install(hooks: Hooks, policy: GlobalPolicy) -> None:
    """Install the hooks of wl_display and wl_registry, which every relay requires."""
    hooks.on_event("wl_display", "delete_id", delete_id, Phase.REPLACE)
    hooks.on_event("wl_display", "error", _error, Phase.REPLACE)
    hooks.on_event("wl_registry", "global", _global(policy), Phase.REPLACE)
    hooks.on_event("wl_registry", "global_remove", _global_remove, Phase.REPLACE)
    hooks.on_request("wl_registry", "bind", _binding(hooks), Phase.REPLACE)
    inert.install(hooks)


def _error(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    failed, error_code, text = _read_error(flow.buffer, at, stop)
    relay = flow.relay
    mine = relay.client_id(failed)
    said = (text or b"").decode(errors="replace")
    interface = relay.interface(mine) if mine else ""
    if not mine:
        # An object of the proxy's own: report the error for wl_display, because the client does not know the object
        # (chromeos-sommelier.md §8.1.40).
        _write_error_object(flow.buffer, at, DISPLAY)
    relay.last_error = f"{interface or 'object'}#{mine}, code {error_code}: {said}"
    return None


class _Announced(NamedTuple):
    """The result for one announcement: the global's name, and interface and version for clients.

    :ivar offered: None if clients do not get the global; :ivar is_changed: whether clients get another version.
    """

    name: int
    offered: tuple[str, int] | None
    is_changed: bool


def _global(policy: GlobalPolicy) -> Hook:
    # All clients receive the same announcements: decode each only once.
    known: dict[bytes, _Announced] = {}

    def examine(message: bytearray) -> _Announced:
        name, raw, version = _read_global(message, 0, len(message))
        interface = (raw or b"").decode("ascii", "replace")
        offered = policy.offered_version(interface, version)
        return _Announced(name, (interface, offered) if offered else None, offered != version)

    def announce(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        key = bytes(flow.buffer[at + 8 : stop])
        found = known.get(key)
        if found is None:
            found = examine(flow.buffer[at:stop])
            if len(known) < GLOBAL_LIMIT and len(key) <= _KEPT:
                known[key] = found
        name, offered, is_changed = found
        if offered is None:
            return b""
        mine = flow.relay.globals
        if name not in mine and len(mine) >= GLOBAL_LIMIT:
            return b""
        mine[name] = offered
        return _GLOBAL.encode(object_id, name, *offered) if is_changed else None

    return announce


def _global_remove(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    # Keep the entry: a client that has not yet received this event may bind the global.
    (name,) = _read_global_remove(flow.buffer, at)
    announced = flow.relay.globals.get(name)
    if announced is None:
        return b""
    flow.relay.globals[name] = inert.RemovedGlobal(*announced)
    return None


def _binding(hooks: Hooks) -> Hook:
    def bind(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        relay = flow.relay
        name, interface, version, new = _checked_bind(flow, object_id, at, stop)
        if isinstance(relay.globals[name], inert.RemovedGlobal):
            return inert.bind(flow, interface, new)
        host_id = relay.add(new, *relay.routes.entries(interface))
        UINT.pack_into(flow.buffer, stop - UINT.size, host_id)  # the last argument, after a string
        for function in hooks.at_bind.get(interface, ()):
            function(flow, name, version, new)
        return None

    return bind


def _checked_bind(flow: Flow, object_id: int, at: int, stop: int) -> tuple[int, str, int, int]:
    """Check a bind as libwayland does, against the globals announced to this client (chromeos-sommelier.md §1.1).

    :returns: the global's name and interface, the version and the new object's id.
    :raises WireError: the global, interface or version was not announced.
    """
    name, raw, version, new = _read_bind(flow.buffer, at, stop)
    interface = (raw or b"").decode("ascii", "replace")
    announced = flow.relay.globals.get(name)
    if announced is None:
        raise WireError(f"invalid global {interface} ({name})", INVALID_OBJECT, object_id)
    if interface != announced[0]:
        raise WireError(
            f"invalid interface for global {name}: have {interface}, wanted {announced[0]}",
            INVALID_OBJECT,
            object_id,
        )
    if not 1 <= version <= announced[1]:
        raise WireError(
            f"invalid version for global {interface} ({name}): have {announced[1]}, wanted {version}",
            INVALID_OBJECT,
            object_id,
        )
    return name, interface, version, new

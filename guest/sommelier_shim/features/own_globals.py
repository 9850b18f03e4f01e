"""The host's globals that the proxy itself uses on a client's connection."""

from __future__ import annotations

from sommelier_shim.core.hooks import FeatureKey, Hooks
from sommelier_shim.core.layouts import event, is_known, request
from sommelier_shim.core.relay import Flow, Hook, Relay
from sommelier_shim.core.translation import translating
from sommelier_shim.core.wire import DISPLAY, Buffer

_GET_REGISTRY = request("wl_display", "get_registry")
_BIND = request("wl_registry", "bind")
_read_global = event("wl_registry", "global").decoder("name", "interface", "version")
_read_global_remove = event("wl_registry", "global_remove").reader("name")


class OwnGlobals:
    """The globals that the proxy has bound through its own registry on a client's connection.

    That registry is the first one on the connection, so the proxy receives each global before the client does.

    :ivar bound: host id of the proxy's object, by interface; :ivar versions: its version.
    :ivar registry: host id of the registry.
    """

    def __init__(self) -> None:
        self.bound: dict[str, int] = {}
        self.versions: dict[str, int] = {}
        self.registry = 0


OWN_GLOBALS: FeatureKey[OwnGlobals] = FeatureKey("own globals", OwnGlobals)
"""The globals that the proxy has bound for itself on a client's connection."""


def install(hooks: Hooks, wanted: dict[str, int]) -> None:
    """Bind globals for the proxy on every connection.

    :param wanted: the highest version to bind, by interface.
    """

    def start(relay: Relay) -> None:
        own = OWN_GLOBALS.of(relay)
        own.registry = translating(relay).add_own("wl_registry")
        relay.to_host(_GET_REGISTRY.encode(DISPLAY, own.registry), None)

    hooks.at_start.append(start)
    hooks.on_own_event("wl_registry", "global", _global(hooks, wanted))
    hooks.on_own_event("wl_registry", "global_remove", _global_remove(hooks))


def _global(hooks: Hooks, wanted: dict[str, int]) -> Hook:
    """Handler for wl_registry.global of the proxy's own registry: bind the wanted interfaces."""

    def global_(flow: Flow, object_id: int, at: int, stop: int) -> None:
        name, raw, version = _read_global(flow.buffer, at, stop)
        own, relay = OWN_GLOBALS.of(flow.relay), translating(flow.relay)
        interface = (raw or b"").decode("ascii", "replace")
        most = wanted.get(interface, 0)
        if most and interface not in own.bound and is_known(interface):
            new = own.bound[interface] = relay.add_own(interface)
            own.versions[interface] = min(version, most)
            relay.to_host(_BIND.encode(own.registry, name, interface, min(version, most), new), None)
        function = hooks.at_own_global.get(interface)
        if function is not None:
            function(flow, name, version)

    return global_


def _global_remove(hooks: Hooks) -> Hook:
    """Handler for wl_registry.global_remove of the proxy's own registry."""

    def global_remove(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        (name,) = _read_global_remove(flow.buffer, at)
        return b"".join(function(flow, name) for function in hooks.at_own_removal)

    return global_remove

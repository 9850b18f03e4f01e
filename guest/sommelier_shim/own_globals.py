"""The host's globals that the proxy itself uses on a client's connection."""

from __future__ import annotations

from sommelier_shim.relay import Flow, Relay
from sommelier_shim.routes import Hooks
from sommelier_shim.shapes import is_known
from sommelier_shim.translation import TranslatingRelay
from sommelier_shim.wire import DISPLAY, Buffer, decode, encode

_KEY = "host globals"


class OwnGlobals:
    """The globals that the proxy has bound through its own registry on a client's connection.

    That registry is the first one on the connection, so the proxy receives each global before the client does.

    :ivar wanted: the highest version to bind, by interface.
    :ivar bound: host id of the proxy's object, by interface; :ivar versions: its version.
    :ivar registry: host id of the registry.
    """

    def __init__(self, wanted: dict[str, int]) -> None:
        self.wanted = wanted
        self.bound: dict[str, int] = {}
        self.versions: dict[str, int] = {}
        self.registry = 0


def install(hooks: Hooks, wanted: dict[str, int]) -> None:
    """Bind globals for the proxy on every connection.

    :param wanted: the highest version to bind, by interface.
    """

    def start(relay: Relay) -> None:
        assert isinstance(relay, TranslatingRelay)
        own = relay.features[_KEY] = OwnGlobals(wanted)
        own.registry = relay.own("wl_registry")
        relay.to_host(encode(DISPLAY, 1, "n", own.registry), None)

    hooks.at_start.append(start)
    hooks.own_handlers["wl_registry"] = {"global": _announced, "global_remove": _withdrawn}


def own_globals(flow: Flow) -> OwnGlobals:
    """The proxy's own globals of a flow's relay."""
    found = flow.relay.features[_KEY]
    assert isinstance(found, OwnGlobals)
    return found


def _announced(flow: Flow, object_id: int, at: int, stop: int) -> None:
    """Handler for wl_registry.global of the proxy's own registry: bind the wanted interfaces."""
    name, raw, version = decode("usu", flow.buffer[at:stop])
    own, relay = own_globals(flow), flow.relay
    assert isinstance(relay, TranslatingRelay)
    assert isinstance(version, int)
    interface = raw.decode("ascii", "replace") if isinstance(raw, bytes) else ""
    most = own.wanted.get(interface, 0)
    if most and interface not in own.bound and is_known(interface):
        new = own.bound[interface] = relay.own(interface)
        own.versions[interface] = min(version, most)
        relay.to_host(encode(own.registry, 0, "usun", name, interface, min(version, most), new), None)
    function = relay.routes.hooks.at_own_global.get(interface)
    if function is not None:
        assert isinstance(name, int)
        function(flow, name, version)


def _withdrawn(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    """Handler for wl_registry.global_remove of the proxy's own registry."""
    (name,) = decode("u", flow.buffer[at:stop])
    assert isinstance(name, int)
    return b"".join(function(flow, name) for function in flow.relay.routes.hooks.at_own_removal)

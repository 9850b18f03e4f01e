"""Requests of X programs for the user's attention, by xdg_activation_v1.

A program wants one of its windows in the foreground (_NET_ACTIVE_WINDOW) or marked (urgency hint,
_NET_WM_STATE_DEMANDS_ATTENTION), or a launcher has started it and knows it by a startup id. The host decides: it
knows from the token's serial whether the user has just used this program.
"""

from __future__ import annotations

from collections.abc import Callable

from sommelier_shim.core.hooks import Hooks
from sommelier_shim.core.layouts import event, request
from sommelier_shim.core.relay import Flow
from sommelier_shim.core.translation import TranslatingRelay, translating
from sommelier_shim.features.own_globals import OWN_GLOBALS

ACTIVATION = "xdg_activation_v1"
_TOKEN = "xdg_activation_token_v1"
STARTUP_LIMIT = 256
"""Bytes of a startup id; hosts' tokens have 36."""

_GET_TOKEN = request(ACTIVATION, "get_activation_token")
_ACTIVATE = request(ACTIVATION, "activate")
_SET_SERIAL = request(_TOKEN, "set_serial")
_SET_SURFACE = request(_TOKEN, "set_surface")
_COMMIT = request(_TOKEN, "commit")
_DESTROY = request(_TOKEN, "destroy")
_read_done = event(_TOKEN, "done").decoder("token")


class Activation:
    """The requests of one Xwayland. Surfaces are client ids on its connection.

    :param is_shown: whether a surface has a role now.
    """

    def __init__(self, is_shown: Callable[[int], bool]) -> None:
        self._is_shown = is_shown
        self._surfaces: dict[int, int] = {}

    def install(self, hooks: Hooks) -> None:
        """Install the handler of tokens."""
        hooks.on_own_event(_TOKEN, "done", self._done)

    def ask(self, relay: TranslatingRelay, surface: int, active: int, seat: int, serial: int) -> bytes:
        """The requests that ask for a token for a surface; the surface gets it when the host answers.

        :param active: the surface that has the focus, 0 for none.
        :param seat: the host's seat, 0 for none; with it the window may come to the foreground, without it the
            host can only mark it.
        :param serial: of the user's last input.
        """
        manager = OWN_GLOBALS.of(relay).bound.get(ACTIVATION, 0)
        if not manager or surface in self._surfaces.values():
            return b""  # The program will be heard with its first request.
        token = relay.add_own(_TOKEN)
        self._surfaces[token] = surface
        requests = _GET_TOKEN.encode(manager, token)
        if seat and serial:
            requests += _SET_SERIAL.encode(token, serial, seat)
        if seat and (focused := relay.host_id(active)):
            requests += _SET_SURFACE.encode(token, focused)
        return requests + _COMMIT.encode(token)

    def started(self, relay: TranslatingRelay, surface: int, startup_id: str) -> bytes:
        """The request that tells the host which launch a surface belongs to; the host knows its own tokens."""
        manager = OWN_GLOBALS.of(relay).bound.get(ACTIVATION, 0)
        token = startup_id.encode()
        if not manager or not 0 < len(token) <= STARTUP_LIMIT or not (host_id := relay.host_id(surface)):
            return b""
        return _ACTIVATE.encode(manager, token, host_id)

    def _done(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (token,) = _read_done(flow.buffer, at, stop)
        relay = translating(flow.relay)
        surface = self._surfaces.pop(object_id, 0)
        requests = b""
        if self._is_shown(surface):
            requests = _ACTIVATE.encode(
                OWN_GLOBALS.of(relay).bound[ACTIVATION], token or b"", relay.host_id(surface)
            )
        relay.to_host(requests + _DESTROY.encode(object_id), None)
        relay.disown(object_id, _TOKEN)

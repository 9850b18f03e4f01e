"""``sommelier -X``: an X display whose windows are the host's. Xwayland starts with the first X client.

Xwayland is one more client of the proxy. If it ends, its X clients end with it, and the next one starts it again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from guestlink.errors import GuestlinkError
from sommelier_shim.core.hooks import Hooks
from sommelier_shim.core.routes import Routes
from sommelier_shim.core.translation import TranslatingRoutes
from sommelier_shim.daemon.connectors import connect_directly
from sommelier_shim.daemon.host_link import HostLink
from sommelier_shim.daemon.loop import READABLE, Loop, Timer
from sommelier_shim.daemon.proxy_server import ProxyServer
from sommelier_shim.daemon.proxy_session import ProxySession
from sommelier_shim.features import own_globals, registry
from sommelier_shim.features.policy.interfaces import GlobalPolicy
from sommelier_shim.features.scaling import VIEWPORTER
from sommelier_shim.xwayland.application_ids import XNaming
from sommelier_shim.xwayland.clipboard import CLIPBOARD, PRIMARY, Clipboard
from sommelier_shim.xwayland.clipboard import WANTED as clipboard_globals
from sommelier_shim.xwayland.display import XDisplay
from sommelier_shim.xwayland.drags import Drags
from sommelier_shim.xwayland.surfaces import WANTED, Surfaces
from sommelier_shim.xwayland.window_manager.desktop_settings import DesktopSettings
from sommelier_shim.xwayland.window_manager.manager import WindowManager
from sommelier_shim.xwayland.x11.connection import X11Connection
from sommelier_shim.xwayland.x11_units import X11Units
from sommelier_shim.xwayland.xwayland import Xwayland, XwaylandSettings

_log = logging.getLogger(__name__)

_PAUSE = 10.0
"""Seconds before the next start of an Xwayland that has shown nothing (chromeos-sommelier.md §2.13)."""


class X11Service:
    """Serves one display.

    :param display: it is ours; the caller closes it.
    :param host: the link to the host.
    :param policy: the globals that Xwayland gets.
    :param name: makes the application id of a window.
    :param identity_property: see :class:`WindowManager`.
    :param scale: ``--scale``.
    :param densities: those that outputs may report, in dots per inch.
    :ivar starts: how often Xwayland has been started.
    """

    def __init__(
        self,
        loop: Loop,
        display: XDisplay,
        host: HostLink,
        policy: GlobalPolicy,
        settings: XwaylandSettings,
        name: XNaming,
        identity_property: str = "",
        scale: float = 1.0,
        densities: Sequence[int] = (),
    ) -> None:
        self.starts = 0
        self._loop = loop
        self._display = display
        self._host = host
        self._policy = policy
        self._settings = settings
        self._name = name
        self._identity_property = identity_property
        self._scale = scale
        self._densities = densities
        self._server: ProxyServer | None = None
        self._xwayland: Xwayland | None = None
        self._manager: WindowManager | None = None
        self._pause: Timer | None = None
        self._is_watching = False
        self._watch()

    def close(self) -> None:
        """End Xwayland and its clients."""
        if self._pause is not None:
            self._pause.cancel()
        self._unwatch()
        self._stop()

    def _watch(self) -> None:
        """Wait for an X client."""
        self._pause = None
        self._is_watching = True
        for listener in self._display.listeners:
            self._loop.add(listener.fileno(), READABLE, lambda _: self._start())

    def _unwatch(self) -> None:
        if self._is_watching:
            self._is_watching = False
            for listener in self._display.listeners:
                self._loop.remove(listener.fileno())

    def _start(self) -> None:
        self._unwatch()
        self.starts += 1
        x = X11Connection()
        manager = self._manager = WindowManager(x, self._identity_property)
        units = X11Units(self._scale, self._densities)
        manager.fit = units.fit
        manager.settings = lambda: DesktopSettings(units.density)
        surfaces = Surfaces(manager, self._name, units, self._send)
        clipboards = [
            Clipboard(self._loop, x, protocol, lambda: surfaces.selection_serial, self._send)
            for protocol in (CLIPBOARD, PRIMARY)
        ]
        drags = Drags(self._loop, x, clipboards[0], manager, lambda: units.factor, self._send)

        def routes(host: HostLink) -> Routes:
            hooks = Hooks()
            registry.install(hooks, self._policy)
            surfaces.install(hooks)
            for clipboard in clipboards:
                clipboard.install(hooks)
            drags.install(hooks)
            has_viewporter = host.version_of(VIEWPORTER) > 0
            scaled = units.install(hooks, has_viewporter=has_viewporter, places=host.outputs.places)
            own_globals.install(hooks, WANTED | clipboard_globals | scaled)
            return TranslatingRoutes(hooks)

        self._server = ProxyServer(self._loop, self._host, routes, self._failed, connect_directly)
        try:
            self._xwayland = Xwayland(
                self._loop,
                self._display,
                self._server,
                surfaces,
                manager,
                [*clipboards, drags],
                x,
                self._settings,
                self._ended,
            )
        except GuestlinkError as error:
            _log.error("X11 programs cannot be shown: %s; %s", error, error.hint)
            self._stop()
            self._rest()

    def _send(self) -> None:
        if self._xwayland is not None:
            self._xwayland.send()

    def _failed(self, session: ProxySession, text: str) -> None:
        _log.error("Xwayland is disconnected: %s", text)

    def _ended(self, status: int) -> None:
        manager = self._manager
        _log.log(logging.ERROR if status else logging.INFO, "Xwayland has ended with status %d", status)
        self._xwayland = None
        self._stop()
        if status and manager is not None and not manager.is_ready:
            self._rest()
        else:
            self._watch()

    def _rest(self) -> None:
        _log.info("the next X client can start Xwayland in %g s", _PAUSE)
        self._pause = self._loop.call_later(_PAUSE, self._watch)

    def _stop(self) -> None:
        xwayland, self._xwayland = self._xwayland, None
        if xwayland is not None:
            xwayland.close()
        server, self._server = self._server, None
        if server is not None:
            server.close()

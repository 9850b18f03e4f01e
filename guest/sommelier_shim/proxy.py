"""Puts the parts of the proxy together by what was asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from guestlink.config import Config, Setting
from guestlink.token import TokenError, read_token
from sommelier_shim import options, own_globals, registry
from sommelier_shim.host_link import HostLink
from sommelier_shim.policy import accelerators, clipboard, identity
from sommelier_shim.policy.interfaces import GlobalPolicy
from sommelier_shim.policy.keymap import LibraryMissing
from sommelier_shim.routes import Hooks, Routes
from sommelier_shim.session import Session
from sommelier_shim.trace import Trace
from sommelier_shim.translation import TranslatingRoutes

_log = logging.getLogger(__name__)


class Proxy:
    """What happens to messages, by the settings.

    :param environ: for the directories of desktop entries.
    :raises GuestlinkError: an accelerator is wrong.
    """

    def __init__(self, config: Config, environ: Mapping[str, str] = os.environ) -> None:
        self._config = config
        self._environ = environ
        self._trace = Trace(config[options.TRACE]) if config[options.TRACE] else None
        self._always = self._combinations(options.ACCELERATORS)
        self._windowed = self._combinations(options.WINDOWED_ACCELERATORS)
        self.policy = GlobalPolicy(config[options.ALLOW], config[options.DENY])
        for pattern in self.policy.without_effect:
            _log.warning("the proxy knows no global %s, which is allowed or denied; look at its spelling", pattern)

    def routes(self, host: HostLink) -> Routes:
        """The tables for a host."""
        config = self._config
        hooks = Hooks()
        registry.install(hooks, self.policy)
        clipboard.install(hooks, config[options.CLIPBOARD])
        identity.install(hooks, self._naming(host), config[options.TITLE_PREFIX])
        wanted: dict[str, int] = {}
        if config[options.SCALE] != 1.0 or config[options.DIRECT_SCALE] or config[options.DPI]:
            wanted |= self._scale(hooks, host)
        wanted |= self._accelerate(hooks, host)
        if not wanted:
            return Routes(hooks, self._trace)
        own_globals.install(hooks, wanted)
        return TranslatingRoutes(hooks, self._trace)

    def failed(self, session: Session, text: str) -> None:
        """Write what is known about a client that was disconnected."""
        if self._trace is not None:
            self._trace.dump(session.relay)

    def _combinations(self, setting: Setting[str]) -> frozenset[accelerators.Accelerator]:
        text = self._config[setting]
        try:
            return accelerators.parse(text) if text else frozenset()
        except LibraryMissing as error:
            # Programs show their windows without it.
            _log.warning("%s; %s, and restart the proxy: until then every key goes to programs", error, error.hint)
            return frozenset()

    def _accelerate(self, hooks: Hooks, host: HostLink) -> dict[str, int]:
        if not (self._always or self._windowed):
            return {}
        has_extension = host.version_of(accelerators.EXTENSION) > 0
        return accelerators.install(hooks, self._always, self._windowed, has_extension=has_extension)

    def _scale(self, hooks: Hooks, host: HostLink) -> dict[str, int]:
        from sommelier_shim import scaling  # most hosts' clients need none of it

        config = self._config
        factor, stable = config[options.SCALE], config[options.STABLE_SCALING]
        densities = config[options.DPI]
        if config[options.DIRECT_SCALE]:
            missing = [name for name in scaling.DIRECT_NEEDS if not host.version_of(name)]
            if not missing:
                return scaling.install_direct(hooks, factor, stable=stable)
            _log.warning(
                "direct scale needs %s, which the host does not have: scaling as without it", " and ".join(missing)
            )
        has_viewporter = host.version_of(scaling.VIEWPORTER) > 0
        factor = scaling.usable(factor, has_viewporter=has_viewporter)
        if factor == 1.0:
            return scaling.install_densities(hooks, densities) if densities else {}
        return scaling.install(hooks, factor, densities, stable=stable, has_viewporter=has_viewporter)

    def _naming(self, host: HostLink) -> identity.Naming:
        config = self._config
        if host.is_chromeos:
            vm = config[options.VM_IDENTIFIER] or _token(config[options.TOKEN_FILE]) or options.DEFAULT_VM
            return identity.chromeos_naming(vm)
        return identity.linux_naming(options.container_name(config), self._has_entry())

    def _has_entry(self) -> identity.EntryTest:
        environ = self._environ
        home = environ.get("XDG_DATA_HOME") or f"{environ.get('HOME', '')}/.local/share"
        directories = [home, *(environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")]

        def has_entry(app_id: str) -> bool:
            return any(os.path.exists(f"{path}/applications/{app_id}.desktop") for path in directories)

        return has_entry


def _token(path: str) -> str:
    try:
        return read_token(path)
    except TokenError:
        return ""

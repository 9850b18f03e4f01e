"""Builds the proxy's tables from the settings and the host's globals."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from guestlink import xdg
from guestlink.config import Config, Setting
from sommelier_shim import options
from sommelier_shim.core.hooks import Hooks
from sommelier_shim.core.routes import Routes
from sommelier_shim.core.trace import Trace
from sommelier_shim.core.translation import TranslatingRoutes
from sommelier_shim.daemon.host_link import HostLink
from sommelier_shim.daemon.proxy_session import ProxySession
from sommelier_shim.features import registry
from sommelier_shim.features.policy import clipboard, identity
from sommelier_shim.features.policy.interfaces import GlobalPolicy

if TYPE_CHECKING:
    from sommelier_shim.features.policy.accelerators import Accelerator

_log = logging.getLogger(__name__)


class Limit(NamedTuple):
    """A setting that has no effect, or less, because of the globals that this host gives to clients.

    :ivar sentence: the setting and the consequence; :ivar advice: what the user can do, or "".
    """

    sentence: str
    advice: str


class Proxy:
    """The settings, and the tables that follow from them.

    :param environ: its XDG variables give the directories of desktop entries.
    :param on_host: whether the proxy serves a container from the host's side, where applications have launchers.
    :raises GuestlinkError: an accelerator is invalid.
    :ivar policy: decides which globals the proxy announces; :ivar limits: the limits on the present host.
    """

    def __init__(self, config: Config, environ: Mapping[str, str] = os.environ, *, on_host: bool = False) -> None:
        self._on_host = on_host
        self._config = config
        self._environ = environ
        self._trace = Trace(config[options.TRACE]) if config[options.TRACE] else None
        self._always = self._combinations(options.ACCELERATORS)
        self._windowed = self._combinations(options.WINDOWED_ACCELERATORS)
        self.limits: list[Limit] = []
        self._reported: set[str] = set()
        self.policy = GlobalPolicy(config[options.ALLOW], config[options.DENY])
        for pattern in self.policy.without_effect:
            _log.warning("the proxy knows no global %s, which is allowed or denied; look at its spelling", pattern)

    @property
    def follows_outputs(self) -> bool:
        """Whether the settings require the host's output positions (scale, direct scale or dpi)."""
        config = self._config
        return config[options.SCALE] != 1.0 or config[options.DIRECT_SCALE] or bool(config[options.DPI])

    def routes(self, host: HostLink) -> Routes:
        """Build the tables for a host from the globals that its clients get."""
        config = self._config
        self.limits = []
        hooks = Hooks()
        registry.install(hooks, self.policy)
        clipboard.install(hooks, config[options.CLIPBOARD])
        identity.install(hooks, self._naming(host), config[options.TITLE_PREFIX])
        wanted: dict[str, int] = {}
        if self.follows_outputs:
            wanted |= self._scale(hooks, host)
        wanted |= self._accelerate(hooks, host)
        self._check_allowed(host)
        if not wanted:
            return Routes(hooks, self._trace)
        from sommelier_shim.features import own_globals  # imported late: most settings want no global of the host

        own_globals.install(hooks, wanted)
        return TranslatingRoutes(hooks, self._trace)

    def failed(self, session: ProxySession, text: str) -> None:
        """Log the traced messages of a disconnected client."""
        if self._trace is not None:
            self._trace.dump(session.relay)

    def _combinations(self, setting: Setting[str]) -> frozenset[Accelerator]:
        text = self._config[setting]
        if not text:
            return frozenset()
        from sommelier_shim.features.policy import accelerators, keymap  # imported late: many settings have none

        try:
            return accelerators.parse(text)
        except keymap.LibraryMissing as error:
            # Not fatal: programs can show their windows without accelerators.
            _log.warning("%s; %s, and restart the proxy: until then every key goes to programs", error, error.hint)
            return frozenset()

    def _accelerate(self, hooks: Hooks, host: HostLink) -> dict[str, int]:
        if not (self._always or self._windowed):
            return {}
        from sommelier_shim.features.policy import accelerators

        has_extension = host.version_of(accelerators.EXTENSION) > 0
        if host.hides(accelerators.EXTENSION):
            self._limit(host, "accelerators reach the host only with %s", [accelerators.EXTENSION], "keys are lost")
        return accelerators.install(hooks, self._always, self._windowed, has_extension=has_extension)

    def _scale(self, hooks: Hooks, host: HostLink) -> dict[str, int]:
        from sommelier_shim.features import scaling  # imported late: most hosts need no scaling

        config = self._config
        factor, stable = config[options.SCALE], config[options.STABLE_SCALING]
        densities = config[options.DPI]
        if config[options.DIRECT_SCALE]:
            missing = [name for name in scaling.DIRECT_NEEDS if not host.version_of(name)]
            if host.outputs.is_following and scaling.XDG_OUTPUT in missing:
                missing.remove(scaling.XDG_OUTPUT)  # the proxy's own connection has it
            if not missing:
                return scaling.install_direct(hooks, factor, stable=stable, places=host.outputs.places)
            self._limit(host, "direct scale needs %s", missing, "scaling as without it")
        has_viewporter = host.version_of(scaling.VIEWPORTER) > 0
        usable = scaling.usable(factor, has_viewporter=has_viewporter)
        if usable != factor and not has_viewporter:
            self._limit(host, f"a scale of {factor:g} needs %s", [scaling.VIEWPORTER], f"scaling by {usable:g}")
        places = host.outputs.places
        if usable == 1.0:
            return scaling.install_densities(hooks, densities, places=places) if densities else {}
        return scaling.install(
            hooks, usable, densities, stable=stable, has_viewporter=has_viewporter, places=places
        )

    def _check_allowed(self, host: HostLink) -> None:
        """Record the globals that the policy allows and the host hides from clients."""
        for interface, _ in sorted(set(host.globals.values())):
            if host.hides(interface) and self.policy.is_allowed(interface):
                self._limit(host, "%s is allowed", [interface], "programs do not get it")

    def _limit(self, host: HostLink, sentence: str, missing: list[str], outcome: str) -> None:
        """Record a limit, and log it once.

        :param sentence: the setting, with ``%s`` for the missing globals.
        :param missing: globals that the setting requires and clients do not get.
        :param outcome: the consequence.
        """
        hidden = [name for name in missing if host.hides(name)]
        said, advice = sentence % " and ".join(missing), ""
        if hidden:
            said += f", but the host keeps {' and '.join(hidden)} from sandboxed clients: {outcome}"
            advice = "start the proxy with --security-context=no to connect programs without the sandbox"
        else:
            said += f", which the host does not have: {outcome}"
        self.limits.append(Limit(said, advice))
        if said not in self._reported:
            self._reported.add(said)
            _log.warning("%s", f"{said}; {advice}" if advice else said)

    def _naming(self, host: HostLink) -> identity.Naming:
        config = self._config
        if host.is_chromeos:
            return identity.chromeos_naming(options.virtual_machine(config))
        container = options.container_name(config)
        prefix = f"guestlink-{container}-" if self._on_host else ""
        return identity.linux_naming(container, self._has_entry(prefix))

    def _has_entry(self, prefix: str) -> identity.EntryTest:
        directories = [xdg.data_home(self._environ), *xdg.data_dirs(self._environ)]

        def has_entry(app_id: str) -> bool:
            return any(os.path.exists(f"{path}/applications/{prefix}{app_id}.desktop") for path in directories)

        return has_entry

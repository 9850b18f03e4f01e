"""The policy for globals: which of the host's globals clients get (chromeos-sommelier.md §8.3)."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from guestlink.wayland_globals import FOR_APPLICATIONS
from sommelier_shim.core import layouts
from sommelier_shim.core.tables import INTERFACES

HOST_ONLY = (
    "zaura_shell",
    "zcr_keyboard_extension_v1",
    "zcr_stylus_v2",
    "zcr_gaming_input_v2",
)
"""Globals that ChromeOS offers to its proxy, not to clients: with zaura_shell, Chromium behaves as if it ran on
ChromeOS (chromeos-sommelier.md §1.1, §6.7)."""


class GlobalPolicy:
    """Decides which globals the proxy announces: those for applications, and those that the user allows by name.

    :param allowed: patterns (``zwlr_*``) of interfaces to announce although they are not for applications.
    :param denied: patterns of interfaces never to announce; these override ``allowed``.
    """

    def __init__(self, allowed: Sequence[str] = (), denied: Sequence[str] = ()) -> None:
        self._allowed = tuple(allowed)
        self._denied = tuple(denied)

    @property
    def without_effect(self) -> list[str]:
        """Patterns that match no interface of the tables: misspelt, or for an interface that the proxy cannot
        announce."""
        patterns = (*self._allowed, *self._denied)
        return [one for one in patterns if not any(fnmatchcase(name, one) for name in INTERFACES)]

    def offered_version(self, interface: str, host_version: int) -> int:
        """The version to announce; 0 hides the global."""
        return 0 if self.reason_hidden(interface) else min(host_version, layouts.version_of(interface))

    def is_allowed(self, interface: str) -> bool:
        """Whether the proxy announces an interface because a pattern of ``allowed`` matches it."""
        return _matches(interface, self._allowed) and self.offered_version(interface, 1) > 0

    def reason_hidden(self, interface: str) -> str:
        """The reason why the proxy does not announce an interface; "" if it does."""
        if not layouts.is_known(interface):
            return "unknown to the proxy"
        if _matches(interface, self._denied):
            return "denied by configuration"
        if interface in HOST_ONLY:
            return "meant for the proxy alone"
        if interface in FOR_APPLICATIONS or _matches(interface, self._allowed):
            return ""
        return "lets a program see or steer others"


def _matches(interface: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(interface, pattern) for pattern in patterns)

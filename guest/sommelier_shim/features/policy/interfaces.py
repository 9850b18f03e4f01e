"""The policy for globals: which of the host's globals clients get (chromeos-sommelier.md §8.3)."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from sommelier_shim.core import layouts
from sommelier_shim.core.tables import INTERFACES

PRIVILEGED = (
    "ext_data_control_manager_v1",
    "ext_foreign_toplevel_list_v1",
    "ext_image_copy_capture_manager_v1",
    "ext_output_image_capture_source_manager_v1",
    "ext_foreign_toplevel_image_capture_source_manager_v1",
    "ext_session_lock_manager_v1",
    "ext_transient_seat_manager_v1",
    "ext_workspace_manager_v1",
    "hyprland_*",
    "org_kde_kwin_*",
    "org_kde_plasma_*",
    "kde_*",
    "weston_*",
    "wp_drm_lease_device_v1",
    "wp_security_context_manager_v1",
    "xx_*",
    "zkde_*",
    "zwlr_*",
    "zwp_input_method_*",
    "zwp_input_panel_*",
    "zwp_virtual_keyboard_*",
    "zwp_xwayland_keyboard_grab_manager_v1",
)
"""Globals with which a program can see or control other programs: hidden unless the user allows them by name."""

HARMLESS = ("org_kde_kwin_server_decoration_manager",)
"""Exceptions from ``PRIVILEGED``."""

HOST_ONLY = (
    "zaura_shell",
    "zcr_keyboard_extension_v1",
    "zcr_stylus_v2",
    "zcr_gaming_input_v2",
)
"""Globals that ChromeOS offers to its proxy, not to clients: with zaura_shell, Chromium behaves as if it ran on
ChromeOS (chromeos-sommelier.md §1.1, §6.7)."""


class GlobalPolicy:
    """Decides which globals the proxy announces.

    :param allowed: patterns (``zwlr_*``) of interfaces to announce although they are privileged.
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
        if not layouts.is_known(interface) or self.reason_hidden(interface):
            return 0
        return min(host_version, layouts.version_of(interface))

    def is_allowed(self, interface: str) -> bool:
        """Whether the proxy announces an interface because a pattern of ``allowed`` matches it."""
        return _matches(interface, self._allowed) and self.offered_version(interface, 1) > 0

    def reason_hidden(self, interface: str) -> str:
        """The reason why the proxy does not announce an interface of the tables; "" if it does."""
        if _matches(interface, self._denied):
            return "denied by configuration"
        if interface in HOST_ONLY:
            return "meant for the proxy alone"
        if interface in HARMLESS or _matches(interface, self._allowed):
            return ""
        return "lets a program see or steer others" if _matches(interface, PRIVILEGED) else ""


def _matches(interface: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(interface, pattern) for pattern in patterns)

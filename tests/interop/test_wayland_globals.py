"""The globals of each compositor behind the proxy: all except those that docs/sommelier.md says the proxy hides."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.compositor import Compositor, Headless
from support.needs import absent, need
from support.other_compositors import Kwin, Mutter, Weston, missing
from support.proxied import Proxied

if TYPE_CHECKING:
    from conftest import Desktop

pytestmark = pytest.mark.interop

_SWAY_HIDES = {
    "org_kde_kwin_idle",
    "zwlr_data_control_manager_v1",
    "zwlr_export_dmabuf_manager_v1",
    "zwlr_foreign_toplevel_manager_v1",
    "zwlr_gamma_control_manager_v1",
    "zwlr_input_inhibit_manager_v1",
    "zwlr_layer_shell_v1",
    "zwlr_output_manager_v1",
    "zwlr_output_power_manager_v1",
    "zwlr_screencopy_manager_v1",
    "zwlr_virtual_pointer_manager_v1",
    "zwp_input_method_manager_v2",
    "zwp_virtual_keyboard_manager_v1",
}
_KWIN_HIDES = {
    "kde_output_device_v2",
    "kde_output_management_v2",
    "kde_output_order_v1",
    "org_kde_kwin_appmenu_manager",
    "org_kde_kwin_dpms_manager",
    "org_kde_kwin_idle",
    "org_kde_kwin_server_decoration_palette_manager",
    "org_kde_kwin_shadow_manager",
    "org_kde_plasma_shell",
    "org_kde_plasma_virtual_desktop_management",
    "zwlr_data_control_manager_v1",
    "zwlr_layer_shell_v1",
}
# The globals of Debian 12's versions that the proxy hides. Other versions may have more of the same kinds.
HIDDEN: dict[type[Headless], set[str]] = {
    Compositor: _SWAY_HIDES,
    Weston: {"weston_debug_v1", "weston_desktop_shell", "weston_screenshooter", "zwp_input_panel_v1"},
    Kwin: _KWIN_HIDES,
    Mutter: set(),
}
DOCUMENTED = re.compile(
    r"zwlr_.*|kde_.*|org_kde_(kwin|plasma)_.*|weston_.*|zwp_(virtual_keyboard|input_method|input_panel)_.*"
    r"|ext_(data_control|image|session_lock|foreign_toplevel|workspace|output_image).*|wp_(security_context|drm_lease).*"
)


def _blocks(output: bytes) -> dict[str, list[str]]:
    """The output of wayland-info by interface: its version, and the details below it."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in output.decode().splitlines():
        match = re.match(r"interface: '(\w+)',\s+version:\s+(\d+), name:", line)
        if match:
            name = match[1]
            found.setdefault(name, []).append(f"version {match[2]}")
        elif name:
            found[name].append(line)
    return found


@pytest.mark.parametrize("kind", HIDDEN)
def test_programs_see_the_compositor_itself(short: Path, kind: type[Headless]) -> None:
    need("wayland-info", packages="wayland-utils")
    if absent_programs := missing(kind):
        absent(f"{', '.join(absent_programs)} missing: apt install kwin-wayland mutter weston dbus libglib2.0-bin")
    with kind(short / "compositor") as compositor, Proxied(compositor, short / "container") as proxied:
        direct = _blocks(proxied.run("wayland-info", through=False))
        through = _blocks(proxied.run("wayland-info"))
    hidden = direct.keys() - through.keys()
    assert HIDDEN[kind] & direct.keys() <= hidden
    assert all(DOCUMENTED.fullmatch(name) for name in hidden)
    assert {"wl_compositor", "wl_shm", "xdg_wm_base", "wl_output"} <= through.keys()
    for name, block in through.items():
        assert block == direct[name], name


def test_what_is_allowed_is_seen_and_what_is_denied_is_not(make_desktop: Callable[..., Desktop]) -> None:
    need("wayland-info", "sway", packages="wayland-utils sway")
    proxied = make_desktop(
        "--allow=zwlr_screencopy_*,zwlr_layer_shell_v1", "--deny=zwlr_layer_*,wl_subcompositor"
    ).proxied
    direct = _blocks(proxied.run("wayland-info", through=False))
    through = _blocks(proxied.run("wayland-info"))
    assert direct.keys() - through.keys() == HIDDEN[Compositor] - {"zwlr_screencopy_manager_v1"} | {
        "wl_subcompositor"
    }

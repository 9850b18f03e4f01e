"""sommelier_shim.xwayland.window_manager.desktop_settings."""

from __future__ import annotations

import struct

import pytest

from sommelier_shim.xwayland.window_manager.desktop_settings import DesktopSettings


def _read(packed: bytes) -> dict[str, int | str]:
    """Settings as a program reads them (xsettings-spec 0.5)."""
    order, _, count = struct.unpack_from("<B3xII", packed)
    assert order == 0
    at, found = 12, {}
    for _ in range(count):
        kind, length = struct.unpack_from("<BxH", packed, at)
        name = packed[at + 4 : at + 4 + length].decode()
        at += 4 + (length + 3) // 4 * 4 + 4
        (value,) = struct.unpack_from("<i", packed, at)
        at += 4
        found[name] = value
        if kind == 1:
            found[name] = packed[at : at + value].decode()
            at += (value + 3) // 4 * 4
    assert at == len(packed)
    return found


@pytest.mark.parametrize(
    ("density", "whole", "unscaled"), [(96, 1, 96), (144, 1, 144), (192, 2, 96), (240, 2, 120)]
)
def test_gtk_gets_a_whole_window_scale_and_a_density_for_the_rest(density: int, whole: int, unscaled: int) -> None:
    found = _read(DesktopSettings(density).xsettings())
    assert (found["Gdk/WindowScalingFactor"], found["Gdk/UnscaledDPI"]) == (whole, unscaled * 1024)
    assert (found["Xft/DPI"], found["Gtk/CursorThemeSize"]) == (density * 1024, density // 4)


def test_a_theme_of_any_length_is_read_back() -> None:
    theme: dict[str, int | str] = {
        "Net/ThemeName": "Adwaita-dark",
        "Gtk/FontName": "Noto Sans ü 1",
        "Gtk/CursorThemeName": "",
        "Gtk/CursorThemeSize": 32,
    }
    settings = DesktopSettings(192, theme)
    found = _read(settings.xsettings())
    assert found["Gtk/CursorThemeSize"] == 64
    assert {name: found[name] for name in theme if name != "Gtk/CursorThemeSize"} == {
        name: value for name, value in theme.items() if name != "Gtk/CursorThemeSize"
    }
    assert settings.resources() == "Xft.dpi:\t192\nXcursor.size:\t64\nXcursor.theme:\t\n"

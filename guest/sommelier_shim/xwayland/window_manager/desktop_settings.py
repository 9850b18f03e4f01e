"""What X programs read about the desktop: resources (xrdb(1)) and XSETTINGS (xsettings-spec 0.5). Pure.

Xt programs, Qt and libXcursor read the property RESOURCE_MANAGER of the root window; GTK and Java read XSETTINGS.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

UNSCALED = 96
"""Dots per inch of an unscaled desktop."""
CURSOR_SIZE = 24
"""Pixels of a cursor there (chromeos-sommelier.md §2.2)."""
_FRACTION = 1024
"""XSETTINGS has 1024ths of a dot per inch."""
_INTEGER, _STRING = 0, 1
"""Types of settings."""


class DesktopSettings(NamedTuple):
    """The settings of a desktop.

    :ivar density: dots per inch.
    :ivar theme: further settings of XSETTINGS by name, as ``Net/ThemeName``; numbers or text.
    """

    density: int = UNSCALED
    theme: Mapping[str, int | str] = {}

    @property
    def cursor_size(self) -> int:
        """The size of a cursor in X's pixels."""
        unscaled = self.theme.get("Gtk/CursorThemeSize", CURSOR_SIZE)
        return round((unscaled if isinstance(unscaled, int) and unscaled > 0 else CURSOR_SIZE) * self._factor)

    @property
    def _factor(self) -> float:
        return self.density / UNSCALED

    def resources(self) -> str:
        """The value of RESOURCE_MANAGER."""
        lines = {"Xft.dpi": str(self.density), "Xcursor.size": str(self.cursor_size)}
        if isinstance(theme := self.theme.get("Gtk/CursorThemeName"), str):
            lines["Xcursor.theme"] = theme
        return "".join(f"{name}:\t{value}\n" for name, value in lines.items())

    def xsettings(self, serial: int = 0) -> bytes:
        """The value of _XSETTINGS_SETTINGS.

        GTK has whole window scales; what is left of the density makes its fonts larger.
        """
        whole = max(1, int(self._factor))
        settings: dict[str, int | str] = dict(self.theme) | {
            "Gdk/UnscaledDPI": self.density * _FRACTION // whole,
            "Gdk/WindowScalingFactor": whole,
            "Gtk/CursorThemeSize": self.cursor_size,
            "Xft/DPI": self.density * _FRACTION,
        }
        packed = bytearray(struct.pack("<B3xII", 0, serial, len(settings)))
        for name, value in sorted(settings.items()):
            raw = name.encode()
            kind = _INTEGER if isinstance(value, int) else _STRING
            packed += struct.pack("<BxH", kind, len(raw)) + _padded(raw) + struct.pack("<I", serial)
            if isinstance(value, int):
                packed += struct.pack("<i", value)
            else:
                packed += struct.pack("<I", len(value.encode())) + _padded(value.encode())
        return bytes(packed)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)

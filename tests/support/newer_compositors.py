"""Compositors of Debian 13 on a machine of any distribution: newer versions behave unlike Debian 12's.

Needs root.
"""

from __future__ import annotations

import os
from pathlib import Path

from support import debian_13
from support.compositor import Compositor, Headless
from support.needs import absent, need

_LABWC_CONFIG = """\
<labwc_config>
  <theme><font><name>DejaVu Sans</name></font></theme>
  <keyboard><keybind key="W-k"><action name="Kill"/></keybind></keyboard>
</labwc_config>
"""


def need_debian_13() -> None:
    """Continue only if Debian 13's programs can run on this machine."""
    need(*debian_13.TOOLS, packages="mmdebstrap util-linux")
    if os.getuid() != 0:
        absent("only root can enter a root file system")


class OfDebian13(Headless):
    """A compositor that runs from Debian 13's root file system. Its tools are this machine's."""

    def as_its_user(self, *owned: Path) -> list[str]:
        """See :class:`Headless`; the program is the root file system's."""
        return debian_13.inside(*super().as_its_user(*owned))


class NewSway(OfDebian13, Compositor):
    """Sway 1.10, which shows fewer globals to programs in a security context."""


class Labwc(OfDebian13):
    """Labwc 0.8. Super+K kills the focused window's process."""

    def command(self) -> list[str]:
        """Labwc with its configuration."""
        place = self.directory / "labwc"
        place.mkdir(exist_ok=True)
        (place / "rc.xml").write_text(_LABWC_CONFIG)
        return ["labwc", "-C", str(place)]

    def variables(self) -> dict[str, str]:
        """The headless back end of wlroots, with software rendering."""
        return {"WLR_BACKENDS": "headless", "WLR_LIBINPUT_NO_DEVICES": "1", "WLR_RENDERER": "pixman"}

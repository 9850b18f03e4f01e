"""Compositors of Debian 13 on a machine of any distribution: newer versions do things that Debian 12's do not.

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
    """Go on only where Debian 13's programs can run."""
    need(*debian_13.TOOLS, packages="mmdebstrap util-linux")
    if os.getuid() != 0:
        absent("only root can enter a root file system")


class OfDebian13(Headless):
    """What makes a compositor Debian 13's. Its tools are this machine's."""

    def as_its_user(self, *owned: Path) -> list[str]:
        """See :class:`Headless`; what is run is the root file system's program."""
        return debian_13.inside(*super().as_its_user(*owned))


class NewSway(OfDebian13, Compositor):
    """Sway 1.10, which gives programs in a security context fewer globals."""


class Labwc(OfDebian13):
    """Labwc 0.8. Super+K kills the focused window's process."""

    def command(self) -> list[str]:
        """Labwc with its configuration."""
        place = self.directory / "labwc"
        place.mkdir(exist_ok=True)
        (place / "rc.xml").write_text(_LABWC_CONFIG)
        return ["labwc", "-C", str(place)]

    def variables(self) -> dict[str, str]:
        """The headless back end of wlroots, drawn by the processor."""
        return {"WLR_BACKENDS": "headless", "WLR_LIBINPUT_NO_DEVICES": "1", "WLR_RENDERER": "pixman"}

"""The .SRCINFO files, which the AUR displays, match their PKGBUILD."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.needs import need

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"


def test_srcinfo_is_up_to_date() -> None:
    need("makepkg", "pacman", packages="makepkg pacman-package-manager")  # Debian's makepkg does not bring pacman.
    done = subprocess.run([str(PACKAGING / "srcinfo")], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    committed = (PACKAGING / "aur/.SRCINFO").read_text()
    assert committed == done.stdout, "run `packaging/srcinfo > packaging/aur/.SRCINFO` and commit it"

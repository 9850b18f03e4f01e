"""sommelier_shim.xwayland.display and authority: displays are taken and given back, and cookies open them."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from guestlink.errors import GuestlinkError
from sommelier_shim.xwayland.authority import write_authority
from sommelier_shim.xwayland.display import open_display
from support.needs import need


def _connects(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(address)
        except OSError:
            return False
    return True


def test_a_display_is_locked_served_and_given_back(tmp_path: Path) -> None:
    directory = tmp_path / ".X11-unix"
    display = open_display(None, directory)
    assert display.name == ":0"
    assert int((tmp_path / ".X0-lock").read_text()) == os.getpid()
    assert _connects(str(directory / "X0"))
    assert _connects(f"\0{directory}/X0")
    other = open_display(None, directory)
    assert other.number == 1
    other.close()
    display.close()
    assert [path.name for path in tmp_path.iterdir()] == [".X11-unix"]
    assert not list(directory.iterdir())


def test_a_display_in_use_is_a_sentence(tmp_path: Path) -> None:
    directory = tmp_path / ".X11-unix"
    display = open_display(3, directory)
    with pytest.raises(GuestlinkError, match="the X display :3 cannot be used"):
        open_display(3, directory)
    display.close()


@pytest.mark.parametrize("content", ["4194304000\n", "", "no number", "-5"])
def test_a_lock_of_nobody_is_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / ".X0-lock").write_text(content)
    directory = tmp_path / ".X11-unix"
    directory.mkdir()
    (directory / "X0").touch()
    display = open_display(0, directory)
    assert _connects(str(directory / "X0"))
    display.close()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("kept")
    (tmp_path / ".X0-lock").symlink_to(target)
    display = open_display(0, tmp_path / ".X11-unix")
    display.close()
    assert target.read_text() == "kept"


def test_xauth_reads_the_cookie(tmp_path: Path) -> None:
    need("xauth", packages="xauth")
    file = tmp_path / "authority"
    write_authority(file, 7)
    assert file.stat().st_mode & 0o777 == 0o600
    said = subprocess.run(
        ["xauth", "-n", "-f", str(file), "list"], capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()
    assert said[0].endswith(":7")
    assert said[1] == "MIT-MAGIC-COOKIE-1"
    assert len(said[2]) == 32

"""sommelier_shim.xwayland.application_ids: the forms of chromeos-sommelier.md §2.5, and launchers on Linux."""

from __future__ import annotations

from pathlib import Path

import pytest

from sommelier_shim.xwayland.application_ids import (
    WindowClasses,
    chromeos_x11_naming,
    forced_naming,
    linux_x11_naming,
)
from sommelier_shim.xwayland.window_manager.actions import WindowIdentity

WHOLE = WindowIdentity("XTerm", "xterm", 20, 10, 7)
CHROMEOS = [
    ("the property first", WHOLE, "xprop.7"),
    ("a property that is 0", WHOLE._replace(number=0), "xprop.0"),
    ("the class", WHOLE._replace(number=None), "wmclass.XTerm"),
    ("the leader", WindowIdentity("", "xterm", 20, 10), "wmclientleader.20"),
    ("the window", WindowIdentity(window=10), "xid.10"),
]


@pytest.mark.parametrize(("identity", "expected"), [row[1:] for row in CHROMEOS], ids=[row[0] for row in CHROMEOS])
def test_chromeos(identity: WindowIdentity, expected: str) -> None:
    assert chromeos_x11_naming("termina")(identity) == f"org.chromium.guest_os.termina.{expected}"


def test_a_forced_id_is_that_of_every_window() -> None:
    assert [forced_naming("mine")(identity) for identity in (WHOLE, WindowIdentity())] == ["mine", "mine"]


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    directory = tmp_path / "applications"
    directory.mkdir()
    for name, text in {
        "debian-xterm": "[Desktop Entry]\nStartupWMClass=XTerm\n",
        "gimp": "[Desktop Entry]\nName=Image editor\n[Desktop Action x]\nStartupWMClass=Other\n",
        "org.example.Dots": "[Desktop Entry]\n StartupWMClass = Dotted\n",
    }.items():
        (directory / f"{name}.desktop").write_text(text)
    return tmp_path


LINUX = [
    ("StartupWMClass", WindowIdentity("XTerm", "xterm"), "guestlink-box-debian-xterm"),
    ("the instance is the entry", WindowIdentity("Gimp-2.10", "gimp"), "guestlink-box-gimp"),
    ("the class in small letters is the entry", WindowIdentity("GIMP"), "guestlink-box-gimp"),
    ("dots", WindowIdentity("Dotted"), "guestlink-box-org.example.Dots"),
    ("a class of an action", WindowIdentity("Other"), "Other"),
    ("no entry", WindowIdentity("Nothing", "nothing"), "Nothing"),
    ("a path", WindowIdentity("../applications/gimp"), "../applications/gimp"),
    ("no class", WindowIdentity(), ""),
]


@pytest.mark.parametrize(("identity", "expected"), [row[1:] for row in LINUX], ids=[row[0] for row in LINUX])
def test_linux(entries: Path, identity: WindowIdentity, expected: str) -> None:
    classes = WindowClasses(["/nonexistent", str(entries)])
    assert linux_x11_naming("box", classes)(identity) == expected
    assert linux_x11_naming("", classes)(identity) == identity.name


def test_a_new_entry_counts_at_once(entries: Path) -> None:
    naming = linux_x11_naming("box", WindowClasses([str(entries)]))
    assert naming(WindowIdentity("New")) == "New"
    (entries / "applications/installed.desktop").write_text("[Desktop Entry]\nStartupWMClass=New\n")
    assert naming(WindowIdentity("New")) == "guestlink-box-installed"


def test_what_is_no_desktop_entry_is_passed_over(entries: Path) -> None:
    (entries / "applications/directory.desktop").mkdir()
    (entries / "applications/broken.desktop").write_bytes(b"\xff\xfe\0[Desktop Entry\n=\n")
    (entries / "applications/lost.desktop").symlink_to("nowhere")
    naming = linux_x11_naming("box", WindowClasses([str(entries)]))
    assert naming(WindowIdentity("directory")) == "directory"
    assert naming(WindowIdentity("XTerm")) == "guestlink-box-debian-xterm"

"""Access control lists; the kernel enforces them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from guestlink import acl
from guestlink.errors import GuestlinkError
from guestlink.paths import private_directory
from support.needs import absent

STRANGER = 54321


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory that other users can see but not enter."""
    tmp_path.chmod(0o711)
    for parent in tmp_path.parents:
        if parent.owner() == Path.home().owner() and parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o001)
    directory = private_directory(tmp_path / "shared")
    (directory / "file").write_text("secret")
    return directory


def _may_read(path: Path, uid: int) -> bool:
    if os.getuid() != 0:
        absent("only root can try to read as somebody else")
    become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return subprocess.run([*become, "cat", str(path)], capture_output=True, check=False, timeout=60).returncode == 0


def test_those_who_are_named_get_in_and_nobody_else(shared: Path) -> None:
    acl.grant(shared, {STRANGER}, acl.READ | acl.WRITE | acl.ENTER)
    assert _may_read(shared / "file", STRANGER)
    assert not _may_read(shared / "file", STRANGER + 1)


def test_another_list_replaces_the_first_and_an_empty_one_ends_it(shared: Path) -> None:
    acl.grant(shared, {STRANGER}, acl.READ | acl.ENTER)
    acl.grant(shared, {STRANGER + 1, STRANGER + 2}, acl.READ | acl.ENTER)
    assert not _may_read(shared / "file", STRANGER)
    assert _may_read(shared / "file", STRANGER + 2)
    acl.grant(shared, (), 0)
    assert not _may_read(shared / "file", STRANGER + 2)
    assert not acl.is_listed(shared)
    assert shared.stat().st_mode & 0o777 == 0o700


def test_a_private_directory_keeps_its_list(shared: Path) -> None:
    acl.grant(shared, {STRANGER}, acl.READ | acl.ENTER)
    private_directory(shared)
    assert _may_read(shared / "file", STRANGER)


def test_what_the_mode_gives_stays(shared: Path) -> None:
    file = shared / "file"
    file.chmod(0o644)
    acl.grant(file, {STRANGER}, acl.READ | acl.WRITE)
    assert file.stat().st_mode & 0o777 == 0o664  # With an ACL, the group bits are its mask.
    acl.grant(file, (), 0)
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_link_is_not_followed(shared: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("")
    link = shared / "link"
    link.symlink_to(victim)
    with pytest.raises(GuestlinkError, match="cannot be opened"):
        acl.grant(link, {STRANGER}, acl.READ)
    assert not acl.is_listed(victim)

"""Directories and files: private, complete, and owned by us."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from guestlink.errors import GuestlinkError
from guestlink.paths import atomic_write, private_directory, runtime_dir
from guestlink.private_directory import make_temporary_directory


def test_the_runtime_directory_is_private(tmp_path: Path) -> None:
    path = runtime_dir(environ={"XDG_RUNTIME_DIR": str(tmp_path)})
    assert path == tmp_path / "guestlink"
    path.chmod(0o755)
    assert runtime_dir(environ={"XDG_RUNTIME_DIR": str(tmp_path)}) == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "guestlink").symlink_to("/tmp")
    with pytest.raises(GuestlinkError, match="not a directory of this user"):
        runtime_dir(environ={"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_directory_that_cannot_be_made_is_named_with_the_variable_that_decides_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GuestlinkError, match="cannot make the directory") as caught:
        private_directory(tmp_path / "file/state")
    assert caught.value.hint == "make its parent writable"
    with pytest.raises(GuestlinkError, match="cannot make the directory") as caught:
        runtime_dir(environ={"XDG_RUNTIME_DIR": str(tmp_path / "file")})
    assert caught.value.hint.endswith("or set XDG_RUNTIME_DIR to a directory of this user")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "f"
    (tmp_path / ".f.new").write_bytes(b"what a killed writer left")
    atomic_write(path, b"one", 0o600)
    assert os.listdir(tmp_path) == ["f"]
    atomic_write(path, b"two", 0o600)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError):
        atomic_write(path, b"three")
    assert os.listdir(tmp_path) == ["f"]


def test_a_temporary_directory_is_new_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter((b"same", b"same", b"next"))
    monkeypatch.setattr(os, "urandom", lambda count: next(names))
    first, second = (make_temporary_directory(str(tmp_path), "x-") for _ in range(2))
    assert [first, second] == [f"{tmp_path}/x-{name.hex()}" for name in (b"same", b"next")]
    assert stat.S_IMODE(os.stat(second).st_mode) == 0o700


def test_a_temporary_directory_needs_its_parent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        make_temporary_directory(f"{tmp_path}/missing", "x-")

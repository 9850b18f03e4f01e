"""Reads regular files only, and never more than the limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guestlink.regular_file import read_regular


def test_the_limit_holds(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 100)
    assert read_regular(str(path), 1000) == b"x" * 100
    assert read_regular(str(path), 7) == b"x" * 7


def test_nothing_else_is_read_and_nothing_stays_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero"), tmp_path / "missing"):
        with pytest.raises(OSError):
            read_regular(str(path), 10)
    with pytest.raises(ValueError):
        read_regular("a\0b", 10)

"""The token file with every content that a host, or an accident, can write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guestlink.token import TokenError, read_token
from support.privileges import unprivileged

TOKEN = "8a3f2b1c-0d4e-4f5a-9b6c-7d8e9f0a1b2c"


@pytest.mark.parametrize(
    ("content", "token"),
    [
        (TOKEN.encode(), TOKEN),
        (TOKEN.encode() + b"\n", TOKEN),
        (TOKEN.encode() + b"trailing", TOKEN),
        (b"short\n", "short"),
    ],
)
def test_at_most_36_bytes_are_the_token(tmp_path: Path, content: bytes, token: str) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    assert read_token(str(path)) == token


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "empty"), (b"\n\n", "empty"), (b"\xff" * 36, "no text"), (b"a\0b", "no text")]
)
def test_useless_content_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(TokenError, match=why) as caught:
        read_token(str(path))
    assert caught.value.hint


def test_missing_unreadable_and_odd_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="no token file"):
        read_token(str(tmp_path / "missing"))
    with pytest.raises(TokenError, match="not a regular file"):
        read_token(str(tmp_path))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(TokenError, match="not a regular file"):
        read_token(str(tmp_path / "fifo"))
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(TokenError, match="cannot be read"):
        read_token(str(tmp_path / "loop"))


def test_an_unreadable_token_is_named(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0)
    with unprivileged(), pytest.raises(TokenError, match="permission denied"):
        read_token(str(path))

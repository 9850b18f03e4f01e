"""What a container answers while ``guestlink-host install`` copies a package file into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestlink.errors import GuestlinkError
from guestlink_host.control import packages


def _answering(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let a script take the place of the container's shell."""
    monkeypatch.setattr(packages, "_shell", lambda _name, *_argv: ["sh", "-c", script])


@pytest.fixture
def package(tmp_path: Path) -> str:
    path = tmp_path / "hello.deb"
    path.write_bytes(b"content")
    return str(path)


def test_the_containers_copy_is_used_and_removed(
    monkeypatch: pytest.MonkeyPatch, package: str, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    _answering(monkeypatch, f"cat > {kept}; echo /tmp/guestlink-a1B2c3D4.deb")
    assert packages._copy("demo", package, ".deb") == "/tmp/guestlink-a1B2c3D4.deb"
    assert kept.read_bytes() == b"content"


@pytest.mark.parametrize(
    "answer",
    ["", "/tmp/guestlink-", "/etc/passwd", "/tmp/guestlink-../../etc/x", "/tmp/guestlink-aaaaaaaa\\nmore",
     "/tmp/guestlink-aaaaaaaa\\033]0;mine\\007.deb", "/tmp/guestlink-aaaaaaaa.deb -rf", "\\377"],
)  # fmt: skip
def test_a_container_that_names_no_copy_is_refused(
    monkeypatch: pytest.MonkeyPatch, package: str, answer: str
) -> None:
    _answering(monkeypatch, f"printf '{answer}'")
    with pytest.raises(GuestlinkError, match="cannot be copied to demo: it names no copy"):
        packages._copy("demo", package, ".deb")


def test_what_the_container_prints_meanwhile_is_bounded_and_cannot_command_a_terminal(
    monkeypatch: pytest.MonkeyPatch, package: str, capfd: pytest.CaptureFixture[str]
) -> None:
    _answering(monkeypatch, "head -c 64000000 /dev/zero; printf 'no \\033]0;mine\\007 space\\n' >&2; exit 1")
    with pytest.raises(GuestlinkError) as error:
        packages._copy("demo", package, ".deb")
    assert error.value.message.endswith("cannot be copied to demo: no ]0;mine space")
    assert capfd.readouterr() == ("", "")

"""The profile for LXD and Incus. The container tests use it with both managers."""

from __future__ import annotations

import os
import subprocess
import textwrap
from pathlib import Path

import pytest

from guestlink.errors import GuestlinkError
from guestlink_host.managers.profile import Source, profile

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxxx\n-----END PGP PUBLIC KEY BLOCK-----\n"


def _read(text: str) -> tuple[str, str, str]:
    """The text before the script, the script, and the devices."""
    before, start, rest = text.partition("  cloud-init.vendor-data: |\n")
    assert start
    block, _, devices = rest.partition("\ndevices:")
    script = textwrap.dedent(block) + "\n"
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    return before, script, devices


def test_it_names_its_user_and_adopts_the_container() -> None:
    before, script, devices = _read(profile(Source(), []))
    assert f'  user.guestlink: "{os.getuid()}"\n' in before
    assert script.startswith("#!/bin/sh\n")
    assert "    install guestlink\n" in script
    assert script.endswith("\nguestlink adopt\n")
    assert devices == " {}\n"


def test_repositories_come_with_their_key(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    _, script, _ = _read(profile(Source("https://x.test/apt it's main", "https://x.test/dnf", key), []))
    [apt] = _written(script, "apt-get", tmp_path, "etc/apt/sources.list.d/guestlink.list")
    assert apt == "deb [signed-by=/usr/share/keyrings/guestlink.asc] https://x.test/apt it's main"
    assert (tmp_path / "usr/share/keyrings/guestlink.asc").read_text() == KEY
    dnf = _written(script, "dnf", tmp_path, "etc/yum.repos.d/guestlink.repo")
    assert {"baseurl=https://x.test/dnf", "gpgcheck=1", "repo_gpgcheck=1"} < set(dnf)
    assert (tmp_path / "etc/pki/rpm-gpg/RPM-GPG-KEY-guestlink").read_text() == KEY
    key.write_text("no key")
    with pytest.raises(GuestlinkError, match="no public key"):
        profile(Source(key=key), [])


@pytest.mark.parametrize("apt", ["stable", "https://x.test", "https://x.test s\nmain", "https://x.test s main\n"])
def test_a_repository_is_one_line(apt: str) -> None:
    with pytest.raises(GuestlinkError, match="is no apt repository"):
        profile(Source(apt), [])


@pytest.mark.parametrize("apt", ["file:/srv/repo ./", "[trusted=yes] https://x.test s", "http://x.test s a b"])
def test_every_form_of_a_repository_is_taken(apt: str) -> None:
    assert f"deb {apt}" in profile(Source(apt), [])


def _written(script: str, program: str, root: Path, path: str) -> list[str]:
    """Run the part of the script that writes files, as if ``program`` were installed; returns a file's lines."""
    part = script[script.index("\nif has") : script.index("if has apt-get; then\n    update")]
    part = f'has() {{ [ "$1" = {program} ]; }}\n' + part.replace("> /", f"> {root}/")
    for directory in ("etc/apt/sources.list.d", "usr/share/keyrings", "etc/yum.repos.d", "etc/pki/rpm-gpg"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    subprocess.run(["sh", "-eu"], input=part, text=True, check=True)
    return (root / path).read_text().splitlines()


def test_packages_of_the_host_are_carried_in_and_installed_without_network(tmp_path: Path) -> None:
    with pytest.raises(GuestlinkError, match="holds no packages"):
        profile(Source(packages=tmp_path), [])
    (tmp_path / "guestlink_1_all.deb").write_text("")
    tmp_path.chmod(0o700)
    with pytest.raises(GuestlinkError, match="may not read"):
        profile(Source(packages=tmp_path), [])
    tmp_path.chmod(0o755)
    _, script, devices = _read(profile(Source(packages=tmp_path), [Path("/dev/dri/renderD128")]))
    assert f'"source": "{tmp_path}"' in devices
    assert '"path": "/dev/dri/renderD128"' in devices
    assert "install guestlink\n" not in script

"""The profile for LXD and Incus, as cloud-init and people read it."""

from __future__ import annotations

import json
import os
import textwrap
from pathlib import Path
from typing import Any

import pytest

from guestlink.errors import GuestlinkError
from guestlink_host.profile import Source, profile

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxxx\n-----END PGP PUBLIC KEY BLOCK-----\n"


def _read(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The profile and its cloud-init part. LXD itself reads one in the container tests."""
    before, start, rest = text.partition("  cloud-init.vendor-data: |\n")
    assert start
    block, _, devices = rest.partition("\ndevices:")
    head, *cloud = textwrap.dedent(block).splitlines()
    assert head == "#cloud-config"
    return {"head": before, "devices": _pairs(devices.splitlines())}, _pairs(cloud)


def _pairs(lines: list[str]) -> dict[str, Any]:
    found = {}
    for line in lines:
        key, colon, value = line.strip().partition(": ")
        if colon:
            found[key] = json.loads(value)
    return found


def test_it_names_its_user_and_adopts_the_container() -> None:
    value, cloud = _read(profile(Source(), []))
    assert f'  user.guestlink: "{os.getuid()}"\n' in value["head"]
    assert cloud == {"package_update": True, "packages": ["guestlink"], "runcmd": [["guestlink", "adopt"]]}


def test_repositories_come_with_their_key(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    _, cloud = _read(profile(Source("https://x.test/apt stable main", "https://x.test/dnf", key), []))
    assert cloud["apt"]["sources"]["guestlink.list"] == {
        "source": "deb [signed-by=$KEY_FILE] https://x.test/apt stable main",
        "key": KEY,
    }
    assert cloud["yum_repos"]["guestlink"]["gpgcheck"] is True
    assert cloud["write_files"][0]["content"] == KEY
    key.write_text("no key")
    with pytest.raises(GuestlinkError, match="no public key"):
        profile(Source(key=key), [])


def test_packages_of_the_host_are_carried_in_and_installed_without_network(tmp_path: Path) -> None:
    with pytest.raises(GuestlinkError, match="holds no packages"):
        profile(Source(packages=tmp_path), [])
    (tmp_path / "guestlink_1_all.deb").write_text("")
    tmp_path.chmod(0o700)
    with pytest.raises(GuestlinkError, match="may not read"):
        profile(Source(packages=tmp_path), [])
    tmp_path.chmod(0o755)
    value, cloud = _read(profile(Source(packages=tmp_path), [Path("/dev/dri/renderD128")]))
    assert value["devices"]["guestlink-packages"]["source"] == str(tmp_path)
    assert value["devices"]["guestlink-gpu-renderD128"]["path"] == "/dev/dri/renderD128"
    assert "packages" not in cloud
    assert [command[0] for command in cloud["runcmd"]] == ["sh", "guestlink"]

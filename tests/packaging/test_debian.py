"""The Debian packages: built, linted, and the same again."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from support.needs import need
from support.stage import CHECKOUT


def _build(target: Path) -> Path:
    need("dpkg-buildpackage", "dh_python3", "lintian", packages="dpkg-dev debhelper dh-python lintian")
    subprocess.run([str(CHECKOUT / "packaging" / "build-deb"), str(target)], check=True, timeout=300)
    return target


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(tmp_path_factory.mktemp("debs"))


def _run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=300).stdout


def test_lintian_has_nothing_to_say(packages: Path) -> None:
    argv = ["lintian", "--allow-root", "--fail-on", "error,warning", *map(str, packages.glob("*.deb"))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout


def test_built_twice_they_are_the_same(packages: Path, tmp_path: Path) -> None:
    def digests(directory: Path) -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.glob("*.deb")}

    assert digests(_build(tmp_path / "again")) == digests(packages)


def test_the_set_is_complete_and_every_file_belongs_to_one(packages: Path) -> None:
    names = {path.name.split("_")[0] for path in packages.glob("*.deb")}
    assert names == {
        "guestlink",
        *(f"guestlink-{part}" for part in ("common", "garcon", "vshd", "sommelier", "host")),
    }
    owners: dict[str, str] = {}
    for path in packages.glob("*.deb"):
        for line in _run("dpkg-deb", "-c", str(path)).splitlines():
            name = line.split()[5]
            if not name.endswith("/"):
                assert name not in owners, f"{name} is in {owners.get(name)} and {path.name}"
                owners[name] = path.name
    assert "./usr/share/guestlink/sommelier_shim/tables.py" in owners
    assert not any(name.endswith(".pyc") for name in owners)


def test_a_container_without_a_desktop_needs_nothing_graphical(packages: Path) -> None:
    """What apt would install for garcon alone, by the archive's word on this machine."""
    depends = _run("dpkg-deb", "-f", str(next(packages.glob("guestlink-garcon_*.deb"))), "Depends")
    names = [part.split("|")[0].split("(")[0].strip().split(":")[0] for part in depends.split(",")]
    ours = [name for name in names if not name.startswith("guestlink")]
    simulated = _run("apt-get", "install", "-s", "--no-install-recommends", *ours)
    installed = {line.split()[1] for line in simulated.splitlines() if line.startswith("Inst ")}
    graphical = ("libwayland", "libx11", "libgtk", "libqt", "xserver", "xwayland", "pipewire", "pulseaudio")
    assert not [name for name in installed if name.startswith(graphical)]

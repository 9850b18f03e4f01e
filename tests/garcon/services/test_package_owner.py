"""Owners of desktop files: which answers garcon caches, for how long, and what real package managers answer."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from garcon.services import package_owner
from garcon.services.package_owner import BACKENDS, Backend, PackageOwners, installed_backend
from guestlink.program import CommandFailed
from support.needs import need


class Manager:
    """A package manager with its database; it stores every query."""

    def __init__(self, root: Path) -> None:
        self.database = root / "database"
        self.database.touch()
        self.owners: dict[str, str] = {}
        self.asked: list[list[str]] = []
        self.failing = False
        self.backend = Backend("manager", self.ask, (str(self.database),))

    async def ask(self, paths: Sequence[str]) -> dict[str, str]:
        self.asked.append(list(paths))
        if self.failing:
            raise CommandFailed("manager did not end within 30 s")
        return {path: owner for path, owner in self.owners.items() if path in paths}

    def install(self, path: Path, owner: str) -> None:
        self.owners[str(path)] = owner
        stamp = self.database.stat().st_mtime_ns + 1_000_000
        os.utime(self.database, ns=(stamp, stamp))


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manager:
    monkeypatch.setattr(package_owner, "_SYSTEM", (f"{tmp_path}/usr/",))
    (tmp_path / "usr").mkdir()
    return Manager(tmp_path)


async def test_an_owner_is_asked_for_once(tmp_path: Path, manager: Manager) -> None:
    path = tmp_path / "usr" / "a.desktop"
    path.touch()
    manager.install(path, "a;1;all;installed")
    owners = PackageOwners(manager.backend)
    assert owners.known(str(path)) == ""
    assert await owners.look_up([str(path)])
    assert owners.known(str(path)) == "a;1;all;installed"
    manager.install(tmp_path / "other", "b;1;all;installed")
    assert not await owners.look_up([str(path)])
    assert manager.asked == [[str(path)]]


async def test_a_file_is_asked_about_again_when_the_database_has_its_owner(
    tmp_path: Path, manager: Manager
) -> None:
    """A package manager unpacks first: garcon publishes the list before the database has the new file's owner."""
    path = tmp_path / "usr" / "a.desktop"
    path.touch()
    owners = PackageOwners(manager.backend)
    assert not await owners.look_up([str(path)])
    assert not await owners.look_up([str(path)])
    assert len(manager.asked) == 1
    manager.install(path, "a;1;all;installed")
    assert await owners.look_up([str(path)])
    assert owners.known(str(path)) == "a;1;all;installed"


async def test_a_changed_file_is_asked_about_again(tmp_path: Path, manager: Manager) -> None:
    path = tmp_path / "usr" / "a.desktop"
    path.touch()
    manager.install(path, "a;1;all;installed")
    owners = PackageOwners(manager.backend)
    await owners.look_up([str(path)])
    os.utime(path, ns=(1, 1))
    assert owners.known(str(path)) == ""
    manager.install(path, "a;2;all;installed")
    assert await owners.look_up([str(path)])
    assert owners.known(str(path)) == "a;2;all;installed"


async def test_a_users_files_are_never_asked_about(tmp_path: Path, manager: Manager) -> None:
    owners = PackageOwners(manager.backend)
    assert not await owners.look_up([str(tmp_path / "home" / "a.desktop")])
    assert not manager.asked


async def test_many_files_are_asked_about_in_batches(tmp_path: Path, manager: Manager) -> None:
    paths = [str(tmp_path / "usr" / f"{number}.desktop") for number in range(450)]
    await PackageOwners(manager.backend).look_up(paths)
    assert sorted(map(len, manager.asked)) == [50, 200, 200]
    assert sorted(path for batch in manager.asked for path in batch) == sorted(paths)


async def test_a_package_manager_that_hangs_costs_only_the_owners(tmp_path: Path, manager: Manager) -> None:
    path = tmp_path / "usr" / "a.desktop"
    path.touch()
    manager.install(path, "a;1;all;installed")
    manager.failing = True
    owners = PackageOwners(manager.backend)
    assert not await owners.look_up([str(path)])
    manager.failing = False
    assert await owners.look_up([str(path)])


async def test_what_is_gone_is_forgotten(tmp_path: Path, manager: Manager) -> None:
    path = tmp_path / "usr" / "a.desktop"
    path.touch()
    manager.install(path, "a;1;all;installed")
    owners = PackageOwners(manager.backend)
    await owners.look_up([str(path)])
    await owners.look_up([])
    assert owners.known(str(path)) == ""


async def test_a_system_without_a_package_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installed_backend() is None
    assert not await PackageOwners(None).look_up(["/usr/share/applications/a.desktop"])


def backend(program: str) -> Backend:
    return next(backend for backend in BACKENDS if backend.program == program)


@pytest.mark.interop
async def test_dpkg_knows_owner_version_and_architecture() -> None:
    need("dpkg-query", packages="dpkg")
    owned = "/usr/share/doc/dpkg/copyright"
    owners = await backend("dpkg-query").ask([owned, "/usr/share/doc/*", "/usr/share/nobody[s].desktop"])
    form = "${Package};${Version};${Architecture};installed"
    expected = subprocess.run(["dpkg-query", "-W", "-f", form, "dpkg"], capture_output=True, check=True, text=True)
    assert owners == {owned: expected.stdout}


@pytest.mark.interop
async def test_rpm_knows_owner_version_and_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("rpm", "rpmbuild", packages="rpm")
    files = [tmp_path / "share" / f"{name}.desktop" for name in ("a", "b", "nobody")]
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".rpmmacros").write_text(f"%_dbpath {tmp_path}/db\n%_topdir {tmp_path}/top\n")
    for root in (tmp_path / "build", Path("/")):
        (root / str(tmp_path)[1:] / "share").mkdir(parents=True, exist_ok=True)
        for file in files[:2]:
            (root / str(file)[1:]).touch()
    files[2].touch()
    spec = tmp_path / "owner.spec"
    spec.write_text(
        "Name: owner\nEpoch: 4\nVersion: 1.2\nRelease: 3\nSummary: s\nLicense: l\nBuildArch: noarch\n"
        f"%description\nd\n%files\n{files[0]}\n{files[1]}\n"
    )
    build = ["rpmbuild", "-bb", "--quiet", "--buildroot", str(tmp_path / "build"), str(spec)]
    subprocess.run(build, check=True, capture_output=True, timeout=60)
    package = next((tmp_path / "top").rglob("*.noarch.rpm"))
    install = ["rpm", "-i", "--nodeps", "--force", "--force-debian", str(package)]
    subprocess.run(install, check=True, capture_output=True, timeout=60)
    expected = dict.fromkeys(map(str, files[:2]), "owner;4:1.2-3;noarch;installed")
    assert await backend("rpm").ask(list(map(str, files))) == expected
    assert await backend("rpm").ask([*map(str, files), str(tmp_path / "gone")]) == expected


@pytest.mark.interop
async def test_pacman_knows_owner_and_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("pacman", packages="pacman-package-manager")
    owned = "/usr/share/doc/dpkg/copyright"
    package = tmp_path / "db" / "local" / "second-2.0-1"
    package.mkdir(parents=True)
    (package.parent / "ALPM_DB_VERSION").write_text("9\n")
    (package / "desc").write_text("%NAME%\nsecond\n\n%VERSION%\n2.0-1\n\n%ARCH%\nany\n\n")
    (package / "files").write_text(f"%FILES%\n{owned[1:]}\n\n")
    (tmp_path / "pacman").write_text(f'#!/bin/sh\nexec {shutil.which("pacman")} -b {tmp_path}/db "$@"\n')
    (tmp_path / "pacman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    owners = await backend("pacman").ask([owned, "/usr/share/doc"])
    assert owners == {owned: f"second;2.0-1;{os.uname().machine};installed"}

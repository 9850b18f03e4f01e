"""The Debian packages: built, linted, and reproducible."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from support.packages import NAMES, build_debs, run
from support.stage import CHECKOUT


@pytest.mark.parametrize("script", ["build-deb", "build-rpm", "build-arch"])
def test_a_build_into_no_directory_is_answered(script: str) -> None:
    for words, status in {(): 2, ("--help",): 0, ("--directory",): 2}.items():
        argv = [CHECKOUT / "packaging" / script, *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == status
        answer, rest = (done.stdout, done.stderr) if status == 0 else (done.stderr, done.stdout)
        assert (answer.startswith(f"usage: packaging/{script} DIRECTORY"), rest) == (True, "")


def test_lintian_has_nothing_to_say(debs: list[Path]) -> None:
    changes = next(debs[0].parent.glob("*.changes"))
    argv = ["lintian", "--allow-root", "--fail-on", "error,warning", str(changes)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout


def test_built_again_by_another_user_they_are_the_same(debs: list[Path], tmp_path: Path) -> None:
    """git refuses to work in another user's checkout unless its configuration allows it."""
    checkout = tmp_path / "guestlink"
    run("git", "clone", "-q", CHECKOUT, checkout)
    if os.getuid() == 0:
        run("chown", "-R", "nobody", checkout)
    assert _digests(build_debs(tmp_path / "again", checkout)) == _digests(debs)


def _digests(packages: list[Path]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in packages}


def test_the_set_is_complete_and_every_file_belongs_to_one(debs: list[Path]) -> None:
    assert {path.name.split("_")[0] for path in debs} == NAMES
    owners: dict[str, str] = {}
    for path in debs:
        for line in run("dpkg-deb", "-c", path).splitlines():
            name = line.split()[5]
            if not name.endswith("/"):
                assert name not in owners, f"{name} is in {owners.get(name)} and {path.name}"
                owners[name] = path.name
    assert "./usr/share/guestlink/sommelier_shim/core/tables.py" in owners
    assert not any(name.endswith(".pyc") for name in owners)

"""``packaging/repo``: after any failure the published repository is still complete and signed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.needs import absent, need
from support.packages import SigningKey, run
from support.stage import CHECKOUT

_KINDS = ("apt", "dnf", "pacman")
_REPO = CHECKOUT / "packaging/repo"
LIMIT = 120.0


def _deb(target: Path, name: str, content: str, architecture: str = "all") -> Path:
    tree = target / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: {architecture}\nMaintainer: T <t@guestlink.invalid>\n"
        f"Description: {content}\n"
    )
    path = target / f"{name}_1_all.deb"
    run("dpkg-deb", "--root-owner-group", "-b", tree, path)
    return path


def _rpm(target: Path, name: str, content: str, architecture: str = "noarch") -> Path:
    spec = target / "package.spec"
    spec.write_text(
        f"Name: {name}\nVersion: 1\nRelease: 1\nSummary: {content}\nLicense: MIT\n"
        f"{'BuildArch: noarch' if architecture == 'noarch' else ''}\n%description\n{content}\n%files\n"
    )
    places = ("-D", f"_topdir {target}/build", "-D", f"_rpmdir {target}")
    run("rpmbuild", *places, "--target", architecture, "-bb", spec)
    (package,) = target.rglob("*.rpm")
    return package.rename(target / f"{name}-1-1.noarch.rpm")


def _arch(target: Path, name: str, content: str, architecture: str = "any") -> Path:
    (target / ".PKGINFO").write_text(
        f"pkgname = {name}\npkgbase = {name}\npkgver = 1-1\npkgdesc = {content}\nsize = 0\narch = {architecture}\n"
    )
    path = target / f"{name}-1-1-any.pkg.tar.zst"
    run("bsdtar", "--zstd", "-cf", path, "-C", target, ".PKGINFO")
    return path


_MAKERS: dict[str, Callable[..., Path]] = {"apt": _deb, "dnf": _rpm, "pacman": _arch}


class Repository:
    """A repository that contains one package."""

    def __init__(self, kind: str, key: SigningKey, scratch: Path) -> None:
        self.kind = kind
        self.key = key
        self.scratch = scratch
        self.path = scratch / "repository"
        key.repository(kind, self.path, [self.package("first")])

    def package(self, name: str, content: str = "a package", **options: str) -> Path:
        """Build a package; its name and version do not depend on its content."""
        target = self.scratch / f"made-{len(list(self.scratch.iterdir()))}"
        target.mkdir()
        return _MAKERS[self.kind](target, name, content, **options)

    def start(self, *packages: Path, key: str = "", environ: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start to add packages."""
        words = [str(_REPO), self.kind, str(self.path), key or self.key.fingerprint, *map(str, packages)]
        return subprocess.Popen(
            words,
            env=os.environ | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} | self.key.environ | (environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def add(self, *packages: Path, key: str = "", environ: dict[str, str] | None = None) -> tuple[int, str]:
        """Add packages; returns the exit status and the output."""
        with self.start(*packages, key=key, environ=environ) as process:
            said, _ = process.communicate(timeout=LIMIT)
        return process.returncode, said

    def files(self) -> dict[str, bytes]:
        """Every file of the repository."""
        return {
            str(path.relative_to(self.path)): path.read_bytes() for path in self.path.rglob("*") if path.is_file()
        }

    def lists(self, name: str) -> bool:
        """Whether the signed list contains a package; fails if the signature is invalid."""
        where = {
            "apt": ("dists/stable/InRelease", "dists/stable/main/binary-all/Packages"),
            "dnf": ("repodata/repomd.xml", ""),
            "pacman": ("guestlink.db", "guestlink.db"),
        }
        signed, listed = where[self.kind]
        signature = {"dnf": (".asc",), "pacman": (".sig",)}.get(self.kind, ())
        run("gpg", "--verify", *(f"{self.path / signed}{end}" for end in signature), self.path / signed,
            environ=self.key.environ)  # fmt: skip
        if self.kind == "dnf":
            (primary,) = (self.path / "repodata").glob("*-primary.xml.gz")
            assert primary.name in (self.path / signed).read_text()
            return f"<name>{name}</name>" in run("gzip", "-dc", primary)
        if self.kind == "pacman":
            return f"{name}-1-1/desc" in run("bsdtar", "-tf", self.path / listed)
        return f"Package: {name}\n" in (self.path / listed).read_text()


@pytest.fixture(params=_KINDS)
def repository(request: pytest.FixtureRequest, key: SigningKey, tmp_path: Path) -> Repository:
    need("apt-ftparchive", "dpkg-deb", packages="apt-utils dpkg")
    need("createrepo_c", "rpmsign", "rpmbuild", packages="createrepo-c rpm")
    need("repo-add", "bsdtar", packages="pacman-package-manager libarchive-tools")
    return Repository(request.param, key, tmp_path)


@pytest.fixture(scope="module")
def other_keys(key: SigningKey) -> dict[str, str]:
    """Keys other than the repository's, in the same key ring."""
    keys = {}
    for name, expiry in {"another": "never", "expired": "seconds=1"}.items():
        owner = f"{name} <{name}@guestlink.invalid>"
        run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", owner, "rsa2048", "sign", expiry,
            environ=key.environ)  # fmt: skip
        keys[name] = f"{name}@guestlink.invalid"
    deadline = time.monotonic() + LIMIT
    while "[expired" not in run("gpg", "--list-keys", keys["expired"], environ=key.environ):
        assert time.monotonic() < deadline
    return keys


def test_a_key_that_cannot_or_must_not_sign_changes_nothing(
    repository: Repository, other_keys: dict[str, str]
) -> None:
    package, before = repository.package("second"), repository.files()
    for key, reason in {
        "nobody@guestlink.invalid": "gpg has no secret key nobody@guestlink.invalid",
        other_keys["expired"]: "gpg cannot sign with the key expired@guestlink.invalid",
        other_keys["another"]: "is signed with another key",
    }.items():
        status, said = repository.add(package, key=key)
        assert status == 1
        assert reason in said
        assert "nothing has been published" in said
        assert repository.files() == before


def test_what_is_no_package_is_refused(repository: Repository, tmp_path: Path) -> None:
    good, before = repository.package("second"), repository.files()
    changes = tmp_path / "guestlink_1_amd64.changes"
    changes.write_text("Format: 1.8\n")
    damaged = tmp_path / f"damaged-{good.name}"
    damaged.write_bytes(good.read_bytes()[:-20])
    text = tmp_path / f"text-{good.name}"
    text.write_text("no package\n")
    special = repository.package("special", architecture={"apt": "amd64"}.get(repository.kind, "x86_64"))
    for wrong, reason in {
        changes: "is no package for",
        damaged: "is damaged",
        text: "is damaged",
        special: " is for ",
        tmp_path / "missing": "there is no package",
        tmp_path: "there is no package",
        repository.package("first", "something else"): "is there with other content",
    }.items():
        status, said = repository.add(good, wrong)
        assert (status, reason in said) == (1, True), said
        assert len(said.splitlines()) <= 3, said
        assert repository.files() == before


def test_a_package_that_is_there_may_be_named_again(repository: Repository) -> None:
    (first,) = (path for path in repository.scratch.glob("made-*/first*"))
    status, said = repository.add(first, repository.package("second"))
    assert status == 0, said
    assert repository.lists("first")
    assert repository.lists("second")


def test_a_package_under_another_file_name_is_the_same_package(repository: Repository, tmp_path: Path) -> None:
    """Otherwise a package manager would find two packages of one version, and take either."""
    (first,) = (path for path in repository.scratch.glob("made-*/first*"))
    (_, _, suffix) = first.name.partition("1_all" if repository.kind == "apt" else "1-1")
    renamed, changed = tmp_path / f"re named{suffix}", tmp_path / f"changed{suffix}"
    renamed.write_bytes(first.read_bytes())
    changed.write_bytes(repository.package("first", "something else").read_bytes())
    before = {name for name in repository.files() if "repodata/" not in name}
    status, said = repository.add(renamed)
    assert status == 0, said
    assert {name for name in repository.files() if "repodata/" not in name} == before
    status, said = repository.add(changed)
    assert (status, f"{first.name} is there with other content" in said) == (1, True), said


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("--help", 0, "usage: packaging/repo"),
        ("", 2, "usage: packaging/repo"),
        ("apt directory key", 2, "usage: packaging/repo"),
        ("atp directory key package", 1, "repo: there is no kind of repository atp"),
        ("apt /dev/null/x key package", 1, "repo: there can be no directory /dev/null/x"),
    ],
)
def test_a_wrong_command_line_is_answered(words: str, status: int, said: str) -> None:
    need("apt-ftparchive", packages="apt-utils")
    done = subprocess.run([_REPO, *words.split()], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (done.returncode, (done.stdout if status == 0 else done.stderr).startswith(said)) == (status, True), done


def _shim(directory: Path, script: str) -> dict[str, str]:
    """Put a script in front of the real gpg; returns the environment that uses it."""
    shim = directory / "bin/gpg"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\n{script}\nexec /usr/bin/gpg "$@"\n')
    shim.chmod(0o755)
    return {"PATH": f"{shim.parent}:/usr/sbin:/usr/bin:/sbin:/bin"}


def test_wherever_signing_fails_nothing_has_changed(repository: Repository, tmp_path: Path) -> None:
    count = tmp_path / "count"
    environ = _shim(tmp_path, f'echo >> {count}; [ "$(wc -l < {count})" != "$FAILS" ] || exit 2')
    package, before = repository.package("second"), repository.files()
    for attempt in range(1, 50):
        count.write_text("")
        status, said = repository.add(package, environ=environ | {"FAILS": str(attempt)})
        if status == 0:
            break
        assert repository.files() == before, said
    assert attempt > 3
    assert repository.lists("second")


def test_an_interrupted_run_changes_nothing(repository: Repository, tmp_path: Path) -> None:
    marker = tmp_path / "signing"
    os.mkfifo(marker)
    wait = f'case "$*" in *etach*|*repomd*|*-sbo*) echo > {marker}; sleep 1000 ;; esac'
    environ = _shim(tmp_path, wait)
    package, before = repository.package("second"), repository.files()
    with repository.start(package, environ=environ) as process:
        marker.read_text()  # blocks until the first signature
        os.killpg(process.pid, signal.SIGTERM)
        said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode != 0
    assert "nothing has been published" in said
    assert repository.files() == before
    assert repository.add(package)[0] == 0
    assert repository.lists("second")


def test_two_runs_at_once_both_publish(repository: Repository) -> None:
    names = ("second", "third", "fourth")
    packages = [repository.package(name) for name in names]
    processes = [repository.start(package) for package in packages]
    for process in processes:
        with process:
            said, _ = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, said
    assert all(repository.lists(name) for name in ("first", *names))


def test_a_full_disk_changes_nothing(repository: Repository, tmp_path: Path) -> None:
    if os.getuid() != 0:
        absent("mounting needs root")
    moved = tmp_path / "moved"
    repository.path.rename(moved)
    repository.path.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1m", "full", repository.path)
    try:
        run("cp", "-a", f"{moved}/.", repository.path)
        run("sh", "-c", 'dd if=/dev/zero of="$0" bs=4k 2> /dev/null || true', repository.path / "filler")
        before = repository.files()
        status, said = repository.add(repository.package("second"))
        assert status == 1
        assert "No space left" in said
        assert repository.files() == before
    finally:
        run("umount", repository.path)

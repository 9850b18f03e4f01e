"""The Arch packages: checked, reproducible, and installed by pacman from a signed repository.

The test does not use Arch's archive: it tells pacman to assume that the dependencies are installed, and extracts
the files into a Debian that has the libraries, so that every command can start.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import build_rootfs, missing_tools
from support.needs import absent, need
from support.packages import NAMES, VERSION, Root, SigningKey, build_arch_packages, run, start_every_command

pytestmark = pytest.mark.slow


def _info(package: Path) -> dict[str, list[str]]:
    """The metadata of a package."""
    found: dict[str, list[str]] = {}
    for line in run("bsdtar", "-xOf", package, ".PKGINFO").splitlines():
        name, equals, value = line.partition(" = ")
        if equals:
            found.setdefault(name, []).append(value)
    return found


def test_built_twice_they_are_the_same(arch_packages: list[Path], tmp_path: Path) -> None:
    def digests(packages: list[Path]) -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in packages}

    assert digests(build_arch_packages(tmp_path / "again")) == digests(arch_packages)


def test_what_a_packager_would_look_at(arch_packages: list[Path]) -> None:
    """namcap's checks: names, licences, owners, directories, and files that only one package contains."""
    infos = {_info(path)["pkgname"][0]: _info(path) for path in arch_packages}
    assert infos.keys() == NAMES
    owners: dict[str, str] = {}
    for path in arch_packages:
        (name,) = _info(path)["pkgname"]
        assert infos[name]["arch"] == ["any"]
        assert infos[name]["license"]
        assert infos[name]["pkgver"] == [f"{VERSION}-1"]
        for line in run("bsdtar", "-tvf", path).splitlines():
            words = line.split()
            place = words[8]
            assert words[2:4] == ["root", "root"], line
            assert re.match(r"\.|usr/|etc/", place), line
            assert words[0].startswith("l") or words[0][-2] != "w", f"writable for everybody: {line}"
            if not place.startswith(".") and not place.endswith("/"):
                assert place not in owners, f"{place} is in {owners.get(place)} and {name}"
                owners[place] = name
    assert "usr/share/guestlink/vshd/shell_session.py" in owners


def test_a_container_without_a_desktop_gets_nothing_graphical(arch_packages: list[Path]) -> None:
    for path in arch_packages:
        info = _info(path)
        if info["pkgname"][0] in ("guestlink-common", "guestlink-garcon", "guestlink-vshd"):
            for name in info.get("depend", []):
                assert not re.search(r"sommelier|host|wayland|x11|gtk|qt|pipewire|pulse|mesa", name), name


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    if missing := missing_tools():
        absent(f"a root file system needs {', '.join(missing)}")
    root = Root(build_rootfs("bookworm"), tmp_path_factory.mktemp("arch") / "root")
    yield root
    run("rm", "-rf", root.path)


def test_installed_from_a_signed_repository_started_and_removed(
    root: Root, arch_packages: list[Path], key: SigningKey, tmp_path: Path
) -> None:
    need("pacman", "repo-add", packages="pacman-package-manager")
    before = root.ours()
    repository = key.repository("pacman", tmp_path / "pacman", arch_packages)
    settings = tmp_path / "pacman.conf"
    settings.write_text(
        f"[options]\nArchitecture = auto\n[guestlink]\nServer = file://{repository}\nSigLevel = Required\n"
    )
    (root.path / "var/lib/pacman").mkdir(parents=True, exist_ok=True)
    depends = {re.sub(r"[<>=].*", "", name) for path in arch_packages for name in _info(path).get("depend", [])}
    assumed = [f"--assume-installed={name}=99" for name in sorted(depends - NAMES)]
    pacman = ["pacman", "--root", str(root.path), "--dbpath", str(root.path / "var/lib/pacman"), "--noconfirm",
              "--config", str(settings), "--cachedir", str(tmp_path), "--logfile", str(tmp_path / "log"),
              "--hookdir", str(tmp_path), "--gpgdir", key.environ["GNUPGHOME"]]  # fmt: skip
    said = run(*pacman, "--noprogressbar", *assumed, "-Sy", *sorted(NAMES))
    assert "guestlink adopt" in said, "the words of post_install"
    listed = run(*pacman, "-Q")
    assert {line.split()[0] for line in listed.splitlines() if not line.startswith("warning:")} == NAMES
    for name in NAMES:
        assert "0 missing files" in run(*pacman, "-Qk", name) or name == "guestlink"
    start_every_command(root)
    run(*pacman, "-Rs", *sorted(NAMES))
    assert root.ours() == before


def test_a_package_that_was_changed_is_refused(
    root: Root, arch_packages: list[Path], key: SigningKey, tmp_path: Path
) -> None:
    repository = key.repository("pacman", tmp_path / "pacman", arch_packages)
    (package,) = repository.glob("guestlink-common-*.pkg.tar.zst")
    content = bytearray(package.read_bytes())
    content[len(content) // 2] ^= 1
    package.write_bytes(content)
    settings = tmp_path / "pacman.conf"
    settings.write_text(
        f"[options]\nArchitecture = auto\n[guestlink]\nServer = file://{repository}\nSigLevel = Required\n"
    )
    (root.path / "var/lib/pacman").mkdir(parents=True, exist_ok=True)
    pacman = ["pacman", "--root", str(root.path), "--dbpath", str(root.path / "var/lib/pacman"), "--noconfirm",
              "--config", str(settings), "--cachedir", str(tmp_path), "--logfile", str(tmp_path / "log"),
              "--gpgdir", key.environ["GNUPGHOME"]]  # fmt: skip
    with pytest.raises(AssertionError, match=r"(?i)signature|corrupted|size exceeded"):
        run(*pacman, "-Sydd", "guestlink-common")

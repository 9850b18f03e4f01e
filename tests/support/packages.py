"""The packages of this checkout, repositories of these packages, and root file systems to install them into."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.needs import need
from support.stage import CHECKOUT

VERSION = re.search(r'__version__ = "(.*)"', (CHECKOUT / "lib/guestlink/__init__.py").read_text())[1]  # type: ignore[index]
PARTS = ("common", "garcon", "vshd", "sommelier", "host")
"""The package names, without the prefix ``guestlink-``."""
NAMES = frozenset({"guestlink", *(f"guestlink-{part}" for part in PARTS)})
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def run(*argv: str | Path, environ: Mapping[str, str] | None = None, **options: object) -> str:
    """Run a command that must succeed; returns its output."""
    done = subprocess.run(
        [str(word) for word in argv],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"PATH": _SYSTEM_PATH, "LC_ALL": "C.UTF-8"} | dict(environ or {}),
        **options,  # type: ignore[call-overload]
    )
    said = f"{done.stdout}{done.stderr}"
    assert done.returncode == 0, f"{' '.join(map(str, argv))}: status {done.returncode}\n{said[-6000:]}"
    return said


def build_debs(target: Path, checkout: Path = CHECKOUT) -> list[Path]:
    """Build the Debian packages of a checkout's last commit."""
    need("dpkg-buildpackage", "dh_python3", "lintian", packages="dpkg-dev debhelper dh-python lintian")
    run(checkout / "packaging/build-deb", target)
    return sorted(target.glob("*.deb"))


def build_rpms(target: Path, checkout: Path = CHECKOUT) -> list[Path]:
    """Build the rpm packages; ``tests/support/rpm`` has Fedora's macros that Debian's rpm lacks."""
    need("rpmbuild", packages="rpm")
    macros = CHECKOUT / "tests/support/rpm/macros.debian"
    run(checkout / "packaging/build-rpm", target, "--nodeps", "--load", macros)
    return sorted(target.glob("*.noarch.rpm"))


def build_arch_packages(target: Path, checkout: Path = CHECKOUT) -> list[Path]:
    """Build the pacman packages, without checking for their dependencies on this machine."""
    need("makepkg", "bsdtar", "zstd", "fakeroot", packages="makepkg libarchive-tools zstd fakeroot")
    Path("/var/lib/pacman").mkdir(exist_ok=True)  # makepkg records the installed packages.
    run(checkout / "packaging/build-arch", target, environ={"MAKEPKG_FLAGS": "-d"})
    return sorted(target.glob("*.pkg.tar.zst"))


def older_checkout(target: Path, version: str) -> Path:
    """A copy of this checkout's last commit with an older version number."""
    run("git", "clone", "-q", CHECKOUT, target)
    recipes = ("debian/changelog", "rpm/guestlink.spec", "aur/PKGBUILD")
    for path in (target / "lib/guestlink/__init__.py", *(target / "packaging" / name for name in recipes)):
        path.write_text(path.read_text().replace(VERSION, version))
    author = ("-c", "user.name=Test", "-c", "user.email=test@guestlink.invalid")
    run("git", "-C", target, *author, "commit", "-qam", "older")
    return target


class SigningKey:
    """A gpg key in a private directory, for signing repositories.

    :ivar fingerprint: its id.
    :ivar environ: the environment in which gpg finds the key.
    """

    def __init__(self, home: Path) -> None:
        need("gpg", "gpgconf", packages="gnupg")
        home.mkdir(mode=0o700)
        self.environ = {"GNUPGHOME": str(home)}
        owner = "Guestlink test <test@guestlink.invalid>"
        run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", owner, "rsa2048", "sign", "never",
            environ=self.environ)  # fmt: skip
        listed = run("gpg", "--list-keys", "--with-colons", environ=self.environ)
        self.fingerprint = re.search(r"^fpr:+([0-9A-F]+):", listed, re.MULTILINE)[1]  # type: ignore[index]

    def repository(self, kind: str, directory: Path, packages: Sequence[Path]) -> Path:
        """Create a signed repository of these packages with ``packaging/repo``."""
        run(CHECKOUT / "packaging/repo", kind, directory, self.fingerprint, *packages, environ=self.environ)
        return directory

    def close(self) -> None:
        """Stop gpg's agent."""
        run("gpgconf", "--kill", "all", environ=self.environ)


class Root:
    """A copy of a root file system that a test may change.

    :param base: the root file system to copy.
    """

    def __init__(self, base: Path, path: Path) -> None:
        self.path = path
        run("cp", "-ax", base, path)
        shutil.copyfile("/etc/resolv.conf", path / "etc/resolv.conf")

    def run(self, *argv: str) -> str:
        """Run a command inside that must succeed; returns its output."""
        environ = ["PATH=/usr/local/sbin:/usr/local/bin:" + _SYSTEM_PATH, "LC_ALL=C.UTF-8", "HOME=/root"]
        environ.append("DEBIAN_FRONTEND=noninteractive")
        return run("chroot", self.path, "env", "-i", *environ, *argv)

    def copy(self, source: Path, inside: str) -> None:
        """Copy a directory into it."""
        shutil.copytree(source, self.path / inside.lstrip("/"), symlinks=True, dirs_exist_ok=True)

    def ours(self) -> set[str]:
        """Every path whose name contains Guestlink or one of its programs, except the package managers' records."""
        names = re.compile(r"guestlink|garcon|sommelier|vshd?\b")
        found = set()
        for top in ("etc", "usr", "var/lib"):
            for directory, directories, files in os.walk(self.path / top):
                for name in directories + files:
                    path = "/" + str((Path(directory) / name).relative_to(self.path))
                    if names.search(path.partition("/")[2]) and not path.startswith(_NOTES):
                        found.add(path)
        return found


_NOTES = (
    "/var/lib/apt/",
    "/var/lib/dpkg/info/",
    "/var/lib/rpm",
    "/var/lib/pacman/",
    "/etc/apt/",
    "/etc/yum",
    "/var/lib/dnf",
)


def manual(section: str) -> list[str]:
    """The commands of a section of docs/install.md, one string per code block."""
    text = (CHECKOUT / "docs/install.md").read_text()
    body = re.search(rf"^## {section}.*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert body is not None, f"docs/install.md has no section {section}"
    return re.findall(r"^```sh\n(.*?)^```", body[1], re.MULTILINE | re.DOTALL)


def start_every_command(root: Root, prefix: Sequence[str] = ()) -> None:
    """Start each installed program once."""
    programs = sorted(path.name for path in (root.path / "usr/bin").iterdir() if path.name in COMMANDS)
    assert programs == sorted(COMMANDS)
    for program in (*COMMANDS, "/usr/lib/guestlink/garcon"):
        assert VERSION in root.run(*prefix, program, "--version"), program
        assert "usage" in root.run(*prefix, program, "--help").lower(), program


COMMANDS = ("guestlink", "guestlink-host", "sommelier", "vsh")

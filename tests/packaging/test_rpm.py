"""The rpm packages: linted, reproducible, and installed by dnf from a signed repository.

The test does not use Fedora's archive: stand-in packages provide the dependencies, and the files are extracted into
a Debian that has the libraries, so that every command can start.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import build_rootfs, missing_tools
from support.needs import absent, need
from support.packages import NAMES, Root, SigningKey, build_rpms, manual, run, start_every_command
from support.stage import CHECKOUT

pytestmark = pytest.mark.slow

_STAND_INS = """\
Name: stand-ins
Version: 1
Release: 1
Summary: Provides what a distribution has
License: MIT
BuildArch: noarch
AutoReqProv: no
{provides}
%description
{name}
%files
"""


def _asked(rpms: list[Path], kind: str) -> set[str]:
    """The names of the packages that ours require, recommend or suggest."""
    return {line.split()[0] for path in rpms for line in run("rpm", "-qp", f"--{kind}", path).splitlines() if line}


def test_rpmlint_has_nothing_to_say(rpms: list[Path]) -> None:
    need("rpmlint", packages="rpmlint")
    run("rpmlint", "--strict", "-c", CHECKOUT / "packaging/rpm/rpmlint.toml", *rpms)


def test_built_twice_they_are_the_same(rpms: list[Path], tmp_path: Path) -> None:
    def digests(packages: list[Path]) -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in packages}

    assert digests(build_rpms(tmp_path / "again")) == digests(rpms)


def test_the_set_is_the_same_as_debians(rpms: list[Path]) -> None:
    assert {re.sub(r"-[^-]+-[^-]+$", "", path.name) for path in rpms} == NAMES


def test_a_container_without_a_desktop_gets_nothing_graphical(rpms: list[Path]) -> None:
    parts = [path for path in rpms if re.match(r"guestlink-(common|garcon|vshd)-", path.name)]
    names = _asked(parts, "requires") | _asked(parts, "recommends")
    assert "python3-grpcio" in names
    assert not [name for name in names if re.search(r"sommelier|host|wayland|x11|gtk|qt|pipewire|pulse|mesa", name)]
    (meta,) = (path for path in rpms if re.match(r"guestlink-\d", path.name))
    assert "guestlink-sommelier" in _asked([meta], "recommends")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    if missing := missing_tools():
        absent(f"a root file system needs {', '.join(missing)}")
    root = Root(build_rootfs("bookworm"), tmp_path_factory.mktemp("rpm") / "root")
    yield root
    run("rm", "-rf", root.path)


@pytest.fixture(scope="module")
def stand_ins(rpms: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("stand-ins")
    names = _asked(rpms, "requires") | _asked(rpms, "recommends")
    others = sorted(name for name in names if not re.match(r"guestlink|rpmlib\(", name))
    provides = "\n".join(f"Provides: {name} = 99" if "/" not in name else f"Provides: {name}" for name in others)
    spec = target / "stand-ins.spec"
    spec.write_text(_STAND_INS.format(provides=provides, name="stand-ins"))
    run("rpmbuild", "-D", f"_topdir {target}/build", "-D", f"_rpmdir {target}", "-bb", spec)
    (package,) = target.rglob("*.noarch.rpm")
    return package


@pytest.fixture(autouse=True)
def _no_agents(tmp_path: Path) -> Iterator[None]:
    """Stop the gpg agents that dnf starts for the keys in its cache."""
    yield
    for home in tmp_path.glob("cache/*/pubring"):
        run("gpgconf", "--homedir", home, "--kill", "all")


def _dnf(root: Root, repositories: Path, scratch: Path) -> list[str]:
    settings = [
        f"--setopt=reposdir={repositories}",
        f"--setopt=cachedir={scratch}/cache",
        f"--setopt=logdir={scratch}",
    ]
    return ["dnf", f"--installroot={root.path}", "--releasever=43", "-y", *settings]


def test_installed_from_a_signed_repository_started_and_removed(
    root: Root, rpms: list[Path], stand_ins: Path, key: SigningKey, tmp_path: Path
) -> None:
    need("dnf", "createrepo_c", "rpmsign", packages="dnf createrepo-c rpm")
    before = root.ours()
    repository = key.repository("dnf", tmp_path / "dnf", [*rpms, stand_ins])
    (text,) = (block for block in manual("Fedora") if "guestlink.repo" in block)
    settings = re.search(r"<<END\n(.*?)END", text, re.DOTALL)
    assert settings is not None
    (root.path / "etc/yum.repos.d").mkdir(parents=True, exist_ok=True)
    where = root.path / "etc/yum.repos.d/guestlink.repo"
    where.write_text(settings[1].replace("$repository/dnf", f"file://{repository}"))
    dnf = _dnf(root, where.parent, tmp_path)
    said = run(*dnf, "install", "guestlink", "guestlink-host")
    assert "Complete!" in said
    installed = set(run("rpm", "--root", root.path, "-qa", "--qf", "%{NAME}\n").split())
    assert installed >= NAMES
    assert run("rpm", "--root", root.path, "-V", *NAMES) == ""
    start_every_command(root)
    run(*dnf, "remove", *NAMES)
    assert root.ours() == before


def test_a_package_that_was_changed_is_refused(
    root: Root, rpms: list[Path], stand_ins: Path, key: SigningKey, tmp_path: Path
) -> None:
    repository = key.repository("dnf", tmp_path / "dnf", [*rpms, stand_ins])
    (page,) = (repository / "repodata").glob("repomd.xml")
    page.write_text(page.read_text().replace("<revision>", "<revision>1"))
    folder = tmp_path / "repos"
    folder.mkdir()
    (folder / "guestlink.repo").write_text(
        f"[guestlink]\nname=Guestlink\nbaseurl=file://{repository}\ngpgkey=file://{repository}/guestlink.asc\n"
        "gpgcheck=1\nrepo_gpgcheck=1\n"
    )
    with pytest.raises(AssertionError, match=r"(?i)signature|gpg"):
        run(*_dnf(root, folder, tmp_path), "install", "guestlink")

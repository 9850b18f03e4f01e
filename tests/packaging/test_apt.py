"""The Debian packages from a signed repository, installed as docs/install.md describes, in Debian 12 and 13.

Dependencies come from the distribution's own archive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import MINIMAL, build_rootfs, missing_tools
from support.needs import absent, need
from support.packages import NAMES, Root, SigningKey, manual, run, start_every_command
from support.stage import CHECKOUT

pytestmark = pytest.mark.slow

_GRAPHICAL = re.compile(
    r"lib(wayland|x11|xcb|gtk|qt|gl\d|egl|gbm|drm|mesa|cairo|pango|asound|pulse|gstreamer)|x11-|xserver|xwayland|"
    r"xfonts|mesa|pipewire|pulseaudio|fonts-"
)


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """A minimal Debian with the archive's package lists."""
    if missing := missing_tools():
        absent(f"a root file system needs {', '.join(missing)}")
    root = Root(
        build_rootfs(request.param, base=MINIMAL, user=False), tmp_path_factory.mktemp(request.param) / "root"
    )
    # apt must install recommended packages, as it does by default.
    for path in (root.path / "etc/apt/apt.conf.d").iterdir():
        path.write_text(path.read_text().replace("APT::Install-Recommends false;", ""))
    root.run("apt-get", "update")
    yield root
    run("rm", "-rf", root.path)


@pytest.fixture(scope="module")
def repository(debs: list[Path], key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that the manual's commands created."""
    need("apt-ftparchive", packages="apt-utils")
    directory = tmp_path_factory.mktemp("repository")
    (directory / "packaging").symlink_to(CHECKOUT / "packaging")
    (directory / "debs").symlink_to(debs[0].parent)
    made, _ = manual("Make a repository")
    run("sh", "-euc", made.replace("/srv/www", str(directory)), cwd=directory, environ=key.environ)
    return directory / "apt"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages with the names, relations and maintainer scripts of ChromeOS's own (packaging.md §1.1, §1.2)."""
    target = tmp_path_factory.mktemp("originals")
    garcon = "cros-garcon, cros-host-fonts, cros-notificationd, cros-sommelier, cros-ui-config"
    wants = "/etc/systemd/user/default.target.wants"
    units = "sommelier@0 sommelier@1 sommelier-x@0 sommelier-x@1"
    scripts = {
        "cros-garcon": (
            "update-alternatives --install /usr/bin/x-www-browser x-www-browser /usr/bin/garcon-url-handler 200",
            "update-alternatives --remove x-www-browser /usr/bin/garcon-url-handler",
        ),
        "cros-sommelier-config": (
            "update-alternatives --install /usr/bin/sommelier sommelier /opt/sommelier 10\n"
            f"mkdir -p {wants}; for unit in {units}; do\n"
            f"ln -s /usr/lib/systemd/user/${{unit%@*}}@.service {wants}/$unit.service; done",
            f"update-alternatives --remove sommelier /opt/sommelier\n"
            f"for unit in {units}; do rm -f {wants}/$unit.service; done",
        ),
    }
    files = {
        "cros-garcon": ["usr/bin/garcon-url-handler", "usr/bin/garcon-terminal-handler",
                        "usr/lib/systemd/user/cros-garcon.service",
                        "usr/share/applications/garcon_host_browser.desktop"],
        "cros-sommelier": ["usr/lib/systemd/user/sommelier@.service", "etc/sommelierrc"],
        "cros-sommelier-config": ["opt/sommelier"],
    }  # fmt: skip
    depends = {"cros-guest-tools": garcon, "cros-sommelier-config": "cros-sommelier"}
    names = ["cros-guest-tools", "cros-sommelier-config", *garcon.split(", ")]
    for name in names:
        tree = target / "trees" / name
        (tree / "DEBIAN").mkdir(parents=True)
        needs = f"Depends: {depends[name]}\n" if name in depends else ""
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: 0.30\nArchitecture: all\nMaintainer: Test <test@guestlink.invalid>\n"
            f"{needs}Description: stands in for the original\n"
        )
        for script, body in zip(("postinst", "prerm"), scripts.get(name, ()), strict=False):
            when = "configure" if script == "postinst" else "remove"
            path = tree / "DEBIAN" / script
            path.write_text(f'#!/bin/sh\nset -e\n[ "$1" = {when} ] || exit 0\n{body}\n')
            path.chmod(0o755)
        for file in files.get(name, []):
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            (tree / file).write_text("the original's\n")
        run("dpkg-deb", "--root-owner-group", "-b", tree, target)
    run("rm", "-rf", target / "trees")
    run("sh", "-c", "apt-ftparchive packages . > Packages", cwd=target)
    return target


def _status(root: Root) -> dict[str, str]:
    listed = root.run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status} ${Version}\n")
    words = [line.split() for line in listed.splitlines()]
    return {name: version for name, status, version in words if status == "installed"}


def test_a_container_without_a_desktop_gets_nothing_graphical(base: Root, repository: Path) -> None:
    """The packages that apt would install, including recommended packages."""
    base.copy(repository, "/repository/apt")
    added = "repository=file:///repository\n" + manual("Debian")[0]
    base.run("sh", "-euc", added.partition("apt-get install -y guestlink\n")[0])
    simulated = base.run("apt-get", "install", "-s", "guestlink-garcon", "guestlink-vshd")
    installed = {line.split()[1] for line in simulated.splitlines() if line.startswith("Inst ")}
    assert {"guestlink-garcon", "guestlink-vshd", "guestlink-common", "python3-grpcio"} <= installed
    assert not [name for name in installed if _GRAPHICAL.match(name)]
    assert "guestlink-sommelier" not in installed
    simulated = base.run("apt-get", "install", "-s", "guestlink")
    everything = {line.split()[1] for line in simulated.splitlines() if line.startswith("Inst ")}
    assert everything - installed == {"guestlink", "guestlink-sommelier", "libxkbcommon0", "xkb-data"}


def test_installed_started_upgraded_and_purged(base: Root, older_debs: list[Path], tmp_path: Path) -> None:
    """An upgrade does not re-enable what an administrator has disabled, and purging leaves no file."""
    before = base.ours()
    target = base.path / "older"
    target.mkdir()
    for path in older_debs:
        run("cp", path, target)
    base.run("sh", "-c", "apt-get install -y --no-install-recommends /older/*.deb")
    assert {_status(base)[name] for name in NAMES} == {"0.0.9"}
    wants = base.path / "etc/systemd/user/default.target.wants"
    assert {"guestlink-garcon.service", "guestlink-sommelier@0.service", "guestlink-sommelier-x@0.service"} <= {
        path.name for path in wants.iterdir()
    }
    base.run("systemctl", "--global", "disable", "guestlink-garcon.service", "guestlink-sommelier@0.service")
    base.run("apt-get", "install", "-y", "--no-install-recommends", *NAMES)
    assert "0.0.9" not in {_status(base)[name] for name in NAMES}
    assert "guestlink-sommelier-x@0.service" in {path.name for path in wants.iterdir()}
    assert not {"guestlink-garcon.service", "guestlink-sommelier@0.service"} & {
        path.name for path in wants.iterdir()
    }
    start_every_command(base)
    assert "PATH=" in base.run("sh", "-c", ". /etc/profile.d/guestlink.sh; env")
    assert base.run("readlink", "-f", "/usr/bin/x-www-browser").strip() == "/usr/bin/garcon-url-handler"
    base.run("apt-get", "purge", "-y", *NAMES)
    assert base.ours() == before


def test_it_takes_the_originals_place_and_gives_it_back(base: Root, originals: Path) -> None:
    base.copy(originals, "/originals")
    (base.path / "etc/apt/sources.list.d/originals.list").write_text("deb [trusted=yes] file:/originals ./\n")
    base.run("apt-get", "update")
    base.run("apt-get", "install", "-y", "cros-guest-tools", "cros-sommelier-config")
    before = base.ours()
    base.run("apt-get", "install", "-y", "--no-install-recommends", "guestlink", "guestlink-sommelier")
    status = _status(base)
    assert not {"cros-garcon", "cros-sommelier", "cros-sommelier-config"} & status.keys()
    assert {"cros-guest-tools", "cros-notificationd", "guestlink-garcon", "guestlink-sommelier"} <= status.keys()
    assert "Guestlink" in (base.path / "usr/lib/systemd/user/guestlink-garcon.service").read_text()
    assert (base.path / "usr/bin/sommelier").is_file()
    assert not (base.path / "usr/bin/sommelier").is_symlink()
    said = base.run("sh", "-euc", f"exec 2>&1; {manual('Debian')[1]}")
    assert "not found" not in said, said
    assert {"cros-garcon", "cros-sommelier", "cros-sommelier-config"} <= _status(base).keys()
    assert "guestlink" not in base.run("dpkg-query", "-W")
    assert base.ours() == before


def test_a_purge_keeps_the_list_of_what_adoption_has_changed(base: Root) -> None:
    before = base.run("cat", "/etc/passwd", "/etc/group")
    base.run("apt-get", "install", "-y", "--no-install-recommends", "guestlink-garcon")
    base.run("sh", "-c", "guestlink adopt || true")  # systemd is not running here
    assert base.run("id", "-u", "user") == "1000\n"
    said = base.run("apt-get", "purge", "-y", "guestlink-garcon")
    assert "install guestlink-garcon again and run: guestlink adopt --undo" in said
    base.run("apt-get", "install", "-y", "--no-install-recommends", "guestlink-garcon")
    base.run("guestlink", "adopt", "--undo")
    assert base.run("cat", "/etc/passwd", "/etc/group") == before
    base.run("apt-get", "purge", "-y", "guestlink-garcon")
    assert not (base.path / "var/lib/guestlink").exists()


def test_the_manual_installs_what_building_needs() -> None:
    control = (CHECKOUT / "packaging/debian/control").read_text()
    (line,) = re.findall(r"^Build-Depends: (.*)$", control, re.MULTILINE)
    needed = {word.split()[0].replace("debhelper-compat", "debhelper") for word in line.split(", ")}
    installed = set(manual("Build the packages")[0].split())
    assert needed - {"dh-sequence-python3"} <= installed
    assert "dh-python" in installed, "what has dh-sequence-python3"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    tree = tmp_path / "guestlink"
    tree.mkdir()
    run("sh", "-c", f"git -C {CHECKOUT} archive HEAD | tar -x -C {tree}")
    run("cp", "-r", CHECKOUT / "packaging/debian", tree / "debian")
    return tree


@pytest.mark.parametrize("base", ["trixie"], indirect=True)
def test_autopkgtest_passes(base: Root, debs: list[Path], source: Path) -> None:
    """autopkgtest is Debian's own test runner; it skips tests that need a container of their own."""
    need("autopkgtest", packages="autopkgtest")
    base.run(
        "apt-get", "install", "-y", "--no-install-recommends", "guestlink", "guestlink-sommelier", "guestlink-host"
    )
    # 2: some tests were skipped; 8: all tests were skipped or superficial.
    accept = '"$@"; case $? in 0 | 2 | 8) ;; *) exit 1 ;; esac'
    said = run("sh", "-c", accept, "sh", "autopkgtest", "-B", *debs, source, "--", "chroot", base.path)
    assert re.search(r"^commands +PASS", said, re.MULTILINE), said[-3000:]
    base.run("apt-get", "purge", "-y", *NAMES)

"""Packages are installed, upgraded, downgraded and removed in a running container: its user manager must follow.

dpkg runs inside. This machine's rpm and pacman work on the container's root, where their scripts run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import UID, Machine, missing_tools
from support.needs import absent, need
from support.packages import VERSION, build_arch_packages, build_debs, build_rpms, run
from support.pair import guest_rootfs
from support.parallel import made_once

pytestmark = [pytest.mark.slow, pytest.mark.container]

_GUEST = re.compile(r"guestlink-(common|garcon|vshd|sommelier)[-_]")
_VARIABLES = {"BROWSER", "QT_QPA_PLATFORMTHEME", "XCURSOR_THEME", "XDG_CURRENT_DESKTOP", "XDG_DATA_DIRS"}
_GARCON, _PROXY = "guestlink-garcon.service", "guestlink-sommelier@0.service"
_ORIGINAL = "cros-garcon.service"
_ORIGINAL_UNIT = """[Service]
ExecStart=/bin/sleep infinity
ExecStopPost=/bin/touch %t/original-stopped
Restart=always
[Install]
WantedBy=default.target
"""
"""As ChromeOS's own, without its program (packaging.md §1.1)."""


class Manager:
    """A package manager of one container.

    :param newer: the packages of this checkout.
    :param older: packages of an older version.
    """

    names = ("guestlink-sommelier", "guestlink-vshd", "guestlink-garcon", "guestlink-common")

    def __init__(self, machine: Machine, newer: list[Path], older: list[Path]) -> None:
        self.machine = machine
        self.newer = [path for path in newer if _GUEST.match(path.name)]
        self.older = [path for path in older if _GUEST.match(path.name)]

    def install(self, packages: list[Path]) -> None:
        """Install packages, whichever version is installed."""
        raise NotImplementedError

    def remove(self) -> None:
        """Remove all of our packages."""
        raise NotImplementedError


class Dpkg(Manager):
    """dpkg, which runs inside."""

    def install(self, packages: list[Path]) -> None:
        for path in packages:
            self.machine.put(path, f"/tmp/{path.name}")
        self._dpkg("-i", *(f"/tmp/{path.name}" for path in packages))

    def remove(self) -> None:
        self._dpkg("-r", *self.names)

    def _dpkg(self, *words: str) -> None:
        done = self.machine.root("dpkg", *words)
        assert done.returncode == 0, done.stdout + done.stderr


class Rpm(Manager):
    """rpm, run on this machine, where its database is; it resolves the container's link /proc/PID/root."""

    def install(self, packages: list[Path]) -> None:
        self._rpm("-U", "--oldpackage", "--replacepkgs", *packages)

    def remove(self) -> None:
        self._rpm("-e", *self.names)

    def _rpm(self, *words: str | Path) -> None:
        database = self.newer[0].parent / "database"
        database.mkdir(exist_ok=True)
        root = self.machine.root_directory
        run(*self.machine.beside, "rpm", "--root", root, "--dbpath", database, "--nodeps", *words)


class Pacman(Manager):
    """This machine's pacman with its libraries, run inside: outside it would resolve that link to another root."""

    def __init__(self, machine: Machine, newer: list[Path], older: list[Path]) -> None:
        super().__init__(machine, newer, older)
        self._libraries = re.findall(r"(/\S+) \(0x", run("ldd", "/usr/bin/pacman"))
        machine.root("mkdir", "-p", "/tmp/pacman", "/var/lib/pacman")
        for path in ("/usr/bin/pacman", *self._libraries):
            machine.put(Path(path), f"/tmp/pacman/{Path(path).name}")
        machine.root("sh", "-c", "chmod 755 /tmp/pacman/*; touch /tmp/pacman.conf")

    def install(self, packages: list[Path]) -> None:
        for path in packages:
            self.machine.put(path, f"/tmp/{path.name}")
        self._pacman("-Udd", *(f"/tmp/{path.name}" for path in packages))

    def remove(self) -> None:
        self._pacman("-Rdd", *self.names)

    def _pacman(self, *words: str) -> None:
        (loader,) = (Path(path).name for path in self._libraries if "ld-linux" in path)
        program = (f"/tmp/pacman/{loader}", "--library-path", "/tmp/pacman", "/tmp/pacman/pacman")
        done = self.machine.root(*program, "--config", "/tmp/pacman.conf", "--noconfirm", *words)
        assert done.returncode == 0, done.stdout + done.stderr


_SUFFIXES = (".deb", ".noarch.rpm", ".pkg.tar.zst")
_FORMATS = {
    "dpkg on bookworm": (Dpkg, build_debs, "debs", "bookworm"),
    "dpkg on trixie": (Dpkg, build_debs, "debs", "trixie"),
    "rpm": (Rpm, build_rpms, "rpms", "trixie"),
    "pacman": (Pacman, build_arch_packages, "arch_packages", "trixie"),
}


@pytest.fixture(scope="module", params=_FORMATS)
def manager(
    request: pytest.FixtureRequest, older: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Manager]:
    """A running container without Guestlink."""
    if missing := missing_tools():
        absent(f"a system container needs {', '.join(missing)}")
    need("rpm", "pacman", packages="rpm pacman-package-manager")
    kind, build, built, suite = _FORMATS[request.param]
    place = made_once(tmp_path_factory, f"older-{built}", lambda place: build(place, older))
    older_packages = [path for path in sorted(place.iterdir()) if path.name.endswith(_SUFFIXES)]
    with Machine(guest_rootfs(suite)) as machine:
        yield kind(machine, request.getfixturevalue(built), older_packages)


def _variables(machine: Machine) -> set[str]:
    shown = machine.check_user("systemctl", "--user", "show-environment")
    return {line.partition("=")[0] for line in shown.splitlines()}


def _pid(machine: Machine, unit: str) -> int:
    """The main process of a unit, once it is running."""
    machine.wait(f"{unit} runs", lambda: machine.user("systemctl", "--user", "is-active", unit).returncode == 0)
    return int(machine.check_user("systemctl", "--user", "show", "-P", "MainPID", unit))


def _environment_findings(machine: Machine) -> list[str]:
    findings = json.loads(machine.user("guestlink", "doctor", "--json").stdout)["findings"]
    return [finding["sentence"] for finding in findings if finding["check"] == "environment"]


def _version(machine: Machine) -> str:
    """The version that garcon reports."""
    return str(json.loads(machine.user("guestlink", "status", "--json").stdout)["version"])


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A package with the name and the unit of ChromeOS's own garcon; its scripts stop nothing."""
    tree = tmp_path / "original"
    units = tree / "usr/lib/systemd/user"
    (units / "default.target.wants").mkdir(parents=True)
    (units / _ORIGINAL).write_text(_ORIGINAL_UNIT)
    (units / "default.target.wants" / _ORIGINAL).symlink_to(f"../{_ORIGINAL}")
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        "Package: cros-garcon\nVersion: 0.30\nArchitecture: all\nMaintainer: Test <test@guestlink.invalid>\n"
        "Description: stands in for the original\n"
    )
    run("dpkg-deb", "--root-owner-group", "-b", tree, tmp_path / "cros-garcon.deb")
    return tmp_path / "cros-garcon.deb"


_BUS = ("dbus.socket", "dbus.service")


@pytest.fixture(params=["with a session bus", "without a session bus"])
def bus(request: pytest.FixtureRequest, manager: Manager) -> Iterator[None]:
    """The container's session bus, or none."""
    machine = manager.machine
    if request.param.startswith("without"):
        machine.check_user("systemctl", "--user", "mask", "--runtime", "--now", *_BUS)
        machine.root("rm", "-f", f"/run/user/{UID}/bus")
    yield
    machine.check_user("systemctl", "--user", "unmask", "--runtime", *_BUS)
    machine.check_user("systemctl", "--user", "start", *_BUS[:1])


@pytest.mark.usefixtures("bus")
@pytest.mark.parametrize("manager", ["dpkg on bookworm", "dpkg on trixie"], indirect=True)
def test_the_originals_service_stops_and_ours_runs(manager: Manager, original: Path) -> None:
    """The links that a removal leaves make a unit of our name, in which the original's process could get lost."""
    machine = manager.machine
    manager.install(manager.newer)
    manager.remove()
    manager.install([original])
    machine.check_user("systemctl", "--user", "daemon-reload")
    machine.check_user("systemctl", "--user", "start", _ORIGINAL)
    pid = _pid(machine, _ORIGINAL)

    manager.install(manager.newer)
    ours = _pid(machine, _GARCON)
    assert machine.root("test", "-e", f"/proc/{pid}").returncode != 0, "the original goes on"
    # As a part of our unit, the process would have been killed without the original's ExecStopPost=.
    assert machine.root("test", "-e", f"/run/user/{UID}/original-stopped").returncode == 0
    assert "guestlink" in machine.root("cat", f"/proc/{ours}/cmdline").stdout
    assert _version(machine) == VERSION
    running = machine.check_user("systemctl", "--user", "list-units", "--plain", "--no-legend", "*garcon*")
    assert [line.split()[0] for line in running.splitlines()] == [_GARCON]
    # In this order apt removes them where another package takes the place of one of them.
    done = machine.root("dpkg", "--force-depends", "--remove", "guestlink-common")
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.root("test", "-e", f"/proc/{ours}").returncode != 0, "our service goes on without its code"
    done = machine.root("dpkg", "--purge", *manager.names)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_running_user_manager_follows_its_packages(manager: Manager) -> None:
    machine = manager.machine
    assert not _VARIABLES & _variables(machine)

    manager.install(manager.older)
    assert _variables(machine) >= _VARIABLES
    garcon, proxy = _pid(machine, _GARCON), _pid(machine, _PROXY)
    environ = machine.root("cat", f"/proc/{garcon}/environ").stdout.split("\0")
    assert "BROWSER=/usr/bin/garcon-url-handler" in environ
    assert any("/var/lib/flatpak/exports/share" in line for line in environ if line.startswith("XDG_DATA_DIRS="))
    assert _environment_findings(machine) == []
    assert _version(machine) == "0.0.9"

    manager.install(manager.newer)
    assert _pid(machine, _GARCON) != garcon
    assert _version(machine) == VERSION
    assert _pid(machine, _PROXY) == proxy, "programs would lose their windows"

    manager.install(manager.older)
    _pid(machine, _GARCON)
    assert _version(machine) == "0.0.9"

    manager.remove()
    assert not _VARIABLES & _variables(machine)
    left = machine.check_user("systemctl", "--user", "list-units", "--plain", "--no-legend", "guestlink-*")
    assert left == ""
    assert machine.root("pgrep", "-f", "/usr/(lib|share)/guestlink").stdout == ""
    assert machine.root("update-alternatives", "--query", "x-www-browser").returncode != 0

    manager.install(manager.newer)
    assert _variables(machine) >= _VARIABLES
    _pid(machine, _GARCON)
    _a_stale_manager_is_reported(machine)


def _a_stale_manager_is_reported(machine: Machine) -> None:
    """This test produces the state after an installation that does not reach the user manager."""
    generators = "/usr/lib/systemd/user-environment-generators"
    machine.root("mv", generators, f"{generators}.away")
    machine.check_user("systemctl", "--user", "daemon-reload")
    machine.check_user("systemctl", "--user", "restart", _GARCON)
    machine.root("mv", f"{generators}.away", generators)
    (sentence,) = _environment_findings(machine)
    assert sentence.startswith("the user manager was started without variables of Guestlink: BROWSER,")
    machine.check_user("systemctl", "--user", "daemon-reload")
    (sentence,) = _environment_findings(machine)
    assert sentence.startswith("garcon was started without variables of Guestlink: BROWSER,")
    machine.check_user("systemctl", "--user", "restart", _GARCON)
    assert _environment_findings(machine) == []


def test_what_has_been_switched_off_stays_off(manager: Manager) -> None:
    machine = manager.machine
    manager.install(manager.newer)
    machine.check_user("systemctl", "--user", "mask", "--now", _GARCON)
    if isinstance(manager, Pacman):  # The Arch packages contain the links that enable the unit.
        machine.check_user("systemctl", "--user", "mask", _PROXY)
    else:
        machine.root("systemctl", "--global", "disable", _PROXY)
    machine.check_user("systemctl", "--user", "stop", _PROXY)
    manager.install(manager.older)
    for unit in (_GARCON, _PROXY):
        assert machine.user("systemctl", "--user", "is-active", unit).stdout == "inactive\n"

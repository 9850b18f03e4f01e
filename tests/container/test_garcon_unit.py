"""The packages as people use them: installed into a booted Debian, with the distribution's own libraries."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.compositor import Compositor
from support.machine import UID, Machine, build_rootfs, missing_tools
from support.needs import absent, need
from support.stage import CHECKOUT, Stage

pytestmark = pytest.mark.container

CARRIED = "/dev/.guestlink"


class Pair:
    """A host outside and a container inside."""

    def __init__(self, stage: Stage, machine: Machine, compositor: Compositor) -> None:
        self.stage = stage
        self.machine = machine
        self.compositor = compositor

    def status(self) -> str:
        return self.machine.user("guestlink", "status").stdout.strip()

    def host(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.stage.host(*words, check=check)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("dpkg-buildpackage", "dh_python3", packages="dpkg-dev debhelper dh-python")
    target = tmp_path_factory.mktemp("debs")
    subprocess.run([str(CHECKOUT / "packaging" / "build-deb"), str(target)], check=True, timeout=300)
    return target


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def pair(request: pytest.FixtureRequest, packages: Path) -> Iterator[Pair]:
    if missing := missing_tools():
        absent(f"a system container needs {', '.join(missing)}")
    root = build_rootfs(request.param, "foot,fonts-dejavu-core,init-system-helpers")
    stage = Stage("guest", as_uid=UID)
    contexts = ExitStack()
    try:
        compositor = contexts.enter_context(Compositor(stage.root / "compositor"))
        stage.host_environ |= compositor.environ
        opener = stage.root / "opener"
        opener.write_text(f'#!/bin/sh\necho "$1" >> {stage.root}/opened\n')
        opener.chmod(0o755)
        stage.host_environ["GUESTLINK_HOST_OPENER"] = str(opener)
        stage.start_host()
        stage.host("add", "guest")
        carried = stage.root / "host/run/guestlink-host/containers/guest"
        binds = [f"--bind={carried}:{CARRIED}", f"--bind-ro={carried}/token:/dev/.container_token"]
        binds.append(f"--bind-ro={packages}:/packages")
        with Machine(root, binds) as machine:
            _write_application(machine)
            done = machine.root("sh", "-c", "dpkg -i /packages/guestlink*.deb")
            assert done.returncode == 0, done.stdout + done.stderr
            machine.check_user("systemctl", "--user", "daemon-reload")
            machine.check_user("systemctl", "--user", "start", "default.target")
            stage.wait_registered()
            yield Pair(stage, machine, compositor)
    finally:
        stage.close()
        contexts.close()


def _write_application(machine: Machine) -> None:
    speaker = '#!/bin/sh\necho "it speaks $DESKTOP_STARTUP_ID"\nexec sleep 1000\n'
    _write(machine, "/usr/local/bin/speaker", speaker)
    machine.root("chmod", "755", "/usr/local/bin/speaker")
    for name, program in (("Speaker", "speaker"), ("Gone", "/bin/false-friend")):
        entry = f"[Desktop Entry]\nType=Application\nName={name}\nExec={program}\nStartupNotify=true\n"
        _write(machine, f"/usr/share/applications/org.example.{name}.desktop", entry)


def _write(machine: Machine, path: str, text: str) -> None:
    machine.root("sh", "-c", 'printf "%s" "$1" > "$0"', path, text)


def test_the_unit_says_where_it_stands(pair: Pair) -> None:
    shown = pair.machine.check_user(
        "systemctl", "--user", "show", "-p", "ActiveState,StatusText", "guestlink-garcon"
    )
    assert "ActiveState=active" in shown
    assert "StatusText=registered with the host at unix:/dev/.guestlink/listener.sock" in shown
    assert pair.status().startswith("registered with the host")


def test_applications_have_their_owners(pair: Pair) -> None:
    pair.stage.wait(
        "the owner of foot is known",
        lambda: {app["id"]: app["package_id"] for app in pair.stage.host_json("apps", "guest")}.get(
            "foot", ""
        ).startswith("foot;"),
        0.2,
    )


def test_an_application_runs_in_a_unit_of_its_own_and_survives_a_restart_of_garcon(pair: Pair) -> None:
    pair.host("launch", "guest", "org.example.Speaker")
    unit = "app-guestlink-org.example.Speaker@*.service"

    def journal() -> str:
        return pair.machine.user("journalctl", "--user", "-o", "cat", "--no-pager", f"--user-unit={unit}").stdout

    pair.machine.wait("its output is in the journal", lambda: "it speaks org.example.Speaker" in journal())
    running = pair.machine.check_user("systemctl", "--user", "list-units", "--no-legend", unit)
    assert "running" in running
    pair.machine.check_user("systemctl", "--user", "restart", "guestlink-garcon.service")
    pair.stage.wait_registered()
    assert "running" in pair.machine.check_user("systemctl", "--user", "list-units", "--no-legend", unit)
    pair.machine.check_user("systemctl", "--user", "stop", unit)


def test_a_program_that_cannot_start_is_told_to_the_host_and_the_journal(pair: Pair) -> None:
    done = pair.host("launch", "guest", "org.example.Gone", check=False)
    assert done.returncode != 0
    assert "/bin/false-friend" in done.stderr
    log = pair.machine.user(
        "journalctl", "--user", "-o", "cat", "--no-pager", "--user-unit=guestlink-garcon"
    ).stdout
    assert "cannot launch org.example.Gone" in log


def test_a_hanging_daemon_is_restarted_by_the_watchdog(pair: Pair) -> None:
    override = "[Service]\\nWatchdogSec=2\\n"
    directory = "/home/user/.config/systemd/user/guestlink-garcon.service.d"
    pair.machine.check_user("sh", "-c", f"mkdir -p {directory}; printf '{override}' > {directory}/watchdog.conf")
    pair.machine.check_user("systemctl", "--user", "daemon-reload")
    pair.machine.check_user("systemctl", "--user", "restart", "guestlink-garcon.service")

    def main_pid() -> str:
        return pair.machine.check_user("systemctl", "--user", "show", "-P", "MainPID", "guestlink-garcon").strip()

    pair.stage.wait_registered()
    before = main_pid()
    pair.machine.root("kill", "-STOP", before)
    pair.machine.wait("systemd starts another one", lambda: main_pid() not in ("0", before))
    pair.machine.wait("it registers", lambda: pair.status().startswith("registered with the host"))


def test_a_window_of_the_container_is_shown_by_the_hosts_compositor(pair: Pair) -> None:
    shown = pair.machine.check_user("systemctl", "--user", "show", "-p", "ActiveState", "guestlink-sommelier@0")
    assert "ActiveState=active" in shown
    assert "WAYLAND_DISPLAY=wayland-0" in pair.machine.check_user("systemctl", "--user", "show-environment")
    pair.host("launch", "guest", "foot")
    pair.machine.wait(
        "its window is shown", lambda: "guestlink-guest-foot" in [w["app_id"] for w in pair.compositor.windows()]
    )
    pair.machine.check_user("systemctl", "--user", "stop", "app-guestlink-foot@*.service")


def test_links_open_on_the_host(pair: Pair) -> None:
    chosen = pair.machine.check_user("readlink", "-f", "/usr/bin/x-www-browser")
    assert chosen.strip() == "/usr/bin/garcon-url-handler"
    pair.machine.check_user("xdg-open", "https://example.org/from-a-container")
    opened = pair.stage.root / "opened"
    pair.stage.wait("the host opens it", lambda: opened.exists() and "from-a-container" in opened.read_text())


def test_an_upgrade_keeps_what_the_administrator_disabled_and_purge_leaves_nothing(pair: Pair) -> None:
    assert pair.machine.user("systemctl", "--user", "is-enabled", "guestlink-garcon").stdout.strip() == "enabled"
    pair.machine.root("systemctl", "--global", "disable", "guestlink-garcon.service")
    done = pair.machine.root("sh", "-c", "dpkg -i /packages/guestlink-garcon_*.deb")
    assert done.returncode == 0, done.stderr
    assert pair.machine.root("systemctl", "--global", "is-enabled", "guestlink-garcon").stdout.strip() == "disabled"
    pair.machine.root("systemctl", "--global", "enable", "guestlink-garcon.service")
    pair.machine.check_user("systemctl", "--user", "stop", "guestlink-garcon.service")
    done = pair.machine.root("sh", "-c", "dpkg --purge $(dpkg-query -W -f '${Package} ' 'guestlink*')")
    assert done.returncode == 0, done.stderr
    left = pair.machine.root(
        "sh", "-c", "find /usr /etc /var/lib -path '*guestlink*' -not -path '/usr/share/python3/*'"
    )
    assert left.stdout == ""
    assert "garcon" not in pair.machine.root("sh", "-c", "readlink -f /usr/bin/x-www-browser; true").stdout
    done = pair.machine.root("sh", "-c", "dpkg -i /packages/guestlink*.deb")
    assert done.returncode == 0, done.stderr
    pair.machine.check_user("systemctl", "--user", "daemon-reload")
    pair.machine.check_user("systemctl", "--user", "start", "guestlink-garcon.service")
    pair.stage.wait_registered()


def test_a_container_that_stops_says_so(pair: Pair) -> None:
    token = Path(pair.stage.guest_environ["GUESTLINK_TOKEN_FILE"])
    before = token.read_text()
    pair.machine.root("systemctl", "poweroff")
    pair.stage.wait("the host gives the next start a new token", lambda: token.read_text() != before)
    assert not pair.stage.host_json("list")[0]["registered"]

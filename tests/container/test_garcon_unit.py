"""The packages as people use them: installed into a booted Debian, with the distribution's own libraries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import Machine
from support.pair import SUITES, Pair, booted_pair, write

pytestmark = pytest.mark.container


@pytest.fixture(scope="module", params=SUITES)
def pair(request: pytest.FixtureRequest, packages: Path) -> Iterator[Pair]:
    with booted_pair(request.param, packages) as made:
        _write_application(made.machine)
        done = made.machine.root("sh", "-c", "dpkg -i /packages/guestlink*.deb")
        assert done.returncode == 0, done.stdout + done.stderr
        made.machine.check_user("systemctl", "--user", "daemon-reload")
        made.machine.check_user("systemctl", "--user", "start", "default.target")
        made.stage.wait_registered()
        yield made


def _write_application(machine: Machine) -> None:
    speaker = '#!/bin/sh\necho "it speaks $DESKTOP_STARTUP_ID"\nexec sleep 1000\n'
    write(machine, "/usr/local/bin/speaker", speaker)
    machine.root("chmod", "755", "/usr/local/bin/speaker")
    for name, program in (("Speaker", "speaker"), ("Gone", "/bin/false-friend")):
        entry = f"[Desktop Entry]\nType=Application\nName={name}\nExec={program}\nStartupNotify=true\n"
        write(machine, f"/usr/share/applications/org.example.{name}.desktop", entry)


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


@pytest.mark.parametrize("unit", ["guestlink-garcon.service", "guestlink-sommelier@0.service"])
def test_a_restart_of_a_unit_keeps_the_container_registered(pair: Pair, unit: str) -> None:
    token = pair.outside.token
    before = pair.stage.wait_registered()
    pair.machine.check_user("systemctl", "--user", "restart", unit)
    pair.machine.wait("it says so", lambda: pair.status().startswith("registered with the host"))
    assert pair.outside.token == token
    assert pair.stage.wait_registered()["name"] == before["name"]


def test_no_unit_of_the_user_has_failed(pair: Pair) -> None:
    assert pair.machine.check_user("systemctl", "--user", "list-units", "--failed", "--no-legend", "--plain") == ""
    for unit in ("guestlink-sommelier@1", "guestlink-sommelier-x@0", "guestlink-sommelier-x@1"):
        shown = pair.machine.check_user("systemctl", "--user", "show", "-p", "ActiveState,LoadState", unit)
        assert "LoadState=loaded" in shown, unit
        assert "ActiveState=inactive" in shown, unit


def test_the_units_answer_to_the_originals_names(pair: Pair) -> None:
    for name in ("cros-garcon", "sommelier@0"):
        assert pair.machine.check_user("systemctl", "--user", "is-active", name) == "active\n", name


def test_launched_programs_and_the_user_manager_have_the_originals_variables(pair: Pair) -> None:
    block = pair.machine.check_user("systemctl", "--user", "show-environment")
    for line in (
        "BROWSER=/usr/bin/garcon-url-handler",
        "QT_QPA_PLATFORMTHEME=gtk2",
        "XDG_CURRENT_DESKTOP=X-Generic",
        "XDG_DATA_DIRS=/home/user/.local/share:/home/user/.local/share/flatpak/exports/share:",
    ):
        assert line in block
    write(pair.machine, "/usr/local/bin/teller", "#!/bin/sh\nexec env > /tmp/told\n")
    pair.machine.root("chmod", "755", "/usr/local/bin/teller")
    entry = "[Desktop Entry]\nType=Application\nName=Teller\nExec=teller\n"
    write(pair.machine, "/usr/share/applications/org.example.Teller.desktop", entry)
    pair.machine.wait(
        "it is published",
        lambda: "org.example.Teller" in [app["id"] for app in pair.stage.host_json("apps", "guest")],
    )
    pair.host("launch", "guest", "org.example.Teller")
    pair.machine.wait("it has told", lambda: "XDG_CURRENT_DESKTOP" in pair.machine.root("cat", "/tmp/told").stdout)
    told = pair.machine.root("cat", "/tmp/told").stdout
    for variable in (
        "BROWSER=/usr/bin/garcon-url-handler",
        "WAYLAND_DISPLAY=wayland-0",
        "XDG_SESSION_TYPE=wayland",
    ):
        assert variable in told.splitlines()
    # No limits of the daemons' units reach programs: sudo would refuse (packaging.md §2.6).
    write(pair.machine, "/usr/local/bin/teller", "#!/bin/sh\nexec grep NoNewPrivs /proc/self/status > /tmp/told\n")
    pair.host("launch", "guest", "org.example.Teller")
    pair.machine.wait("it has told", lambda: "NoNewPrivs:\t0" in pair.machine.root("cat", "/tmp/told").stdout)


def test_what_the_units_run_is_checked_by_the_containers_own_systemd(pair: Pair) -> None:
    for name in ("guestlink-garcon", "guestlink-sommelier@0", "guestlink-sommelier@1", "guestlink-sommelier-x@0"):
        done = pair.machine.user("systemd-analyze", "--user", "--man=no", "verify", f"{name}.service")
        said = [line for line in done.stderr.splitlines() if "guestlink" in line]
        assert done.returncode == 0, done.stderr
        assert not said, said


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
    opened = pair.outside.opened
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

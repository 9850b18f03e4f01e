"""The first boot of an unprivileged LXC container with the packages installed: systemd starts every service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.needs import need
from support.pair import SUITES, Pair, unprivileged_pair

pytestmark = pytest.mark.container


@pytest.fixture(scope="module", params=SUITES)
def pair(request: pytest.FixtureRequest, packages: Path) -> Iterator[Pair]:
    need("lxc-start", "unshare", packages="lxc util-linux")
    with unprivileged_pair(request.param, packages) as made:
        made.stage.wait_registered()
        yield made


def test_the_user_manager_comes_up_without_a_failed_unit(pair: Pair) -> None:
    assert pair.machine.check_user("systemctl", "--user", "--wait", "is-system-running") == "running\n"
    assert pair.machine.check_user("systemctl", "--user", "is-active", "guestlink-garcon") == "active\n"
    assert pair.machine.user("systemctl", "--user", "is-active", "guestlink-sommelier@0").stdout == "inactive\n"


def test_root_inside_is_nobody_outside(pair: Pair) -> None:
    assert "1000000" in pair.machine.root("cat", "/proc/self/uid_map").stdout
    assert pair.machine.root("stat", "-c", "%u", "/home/user").stdout.strip() == "1000"


def test_applications_are_published_and_one_shows_its_window(pair: Pair) -> None:
    pair.stage.wait(
        "foot is published", lambda: "foot" in [app["id"] for app in pair.stage.host_json("apps", "guest")]
    )
    pair.host("launch", "guest", "foot")
    pair.machine.wait(
        "its window is shown", lambda: "guestlink-guest-foot" in [w["app_id"] for w in pair.compositor.windows()]
    )
    pair.machine.check_user("systemctl", "--user", "stop", "app-guestlink-foot@*.service")
    assert "windows: programs use the host's socket themselves; a proxy on the host passes them on" in pair.status()


def test_links_open_on_the_host(pair: Pair) -> None:
    pair.machine.check_user("xdg-open", "https://example.org/unprivileged")
    pair.stage.wait(
        "the host opens it",
        lambda: pair.outside.opened.exists() and "unprivileged" in pair.outside.opened.read_text(),
    )


def test_a_command_and_a_shell_of_the_host(pair: Pair) -> None:
    assert pair.stage.vsh("guest", "--", "id", "-un").stdout == "user\n"
    done = pair.stage.vsh("guest", "--", "sh", "-c", "echo $XDG_RUNTIME_DIR $WAYLAND_DISPLAY; exit 7", check=False)
    assert (done.returncode, done.stdout) == (7, "/run/user/1000 wayland-0\n")
    # Shells do not inherit restrictions of a unit, so sudo works in them.
    assert "NoNewPrivs:\t0" in pair.stage.vsh("guest", "--", "cat", "/proc/self/status").stdout


def test_the_socket_for_a_host_that_connects_in_is_off_and_can_be_turned_on(pair: Pair) -> None:
    unit = "guestlink-vshd.socket"
    assert pair.machine.user("systemctl", "--user", "is-enabled", unit).stdout == "disabled\n"
    assert pair.machine.user("systemctl", "--user", "is-active", unit).stdout == "inactive\n"
    # vsock within one machine is not available here, so a Unix socket takes its place.
    override = "[Socket]\\nListenStream=\\nListenStream=/home/user/shell.sock\\n"
    directory = f"/home/user/.config/systemd/user/{unit}.d"
    pair.machine.check_user("sh", "-c", f"mkdir -p {directory}; printf '{override}' > {directory}/here.conf")
    pair.machine.check_user("systemctl", "--user", "daemon-reload")
    pair.machine.check_user("systemctl", "--user", "start", unit)
    assert pair.machine.user("systemctl", "--user", "is-active", "guestlink-vshd.service").stdout == "inactive\n"
    address = f"--connect=unix:{pair.machine.outside('/home/user/shell.sock')}"
    assert pair.stage.vsh(address, "--", "id", "-un").stdout == "user\n"
    assert pair.machine.user("systemctl", "--user", "is-active", "guestlink-vshd.service").stdout == "active\n"
    pair.machine.check_user("systemctl", "--user", "stop", unit, "guestlink-vshd.service")
    pair.machine.check_user("rm", "-r", directory)
    pair.machine.check_user("systemctl", "--user", "daemon-reload")


def test_the_doctor_finds_nothing_serious(pair: Pair) -> None:
    done = pair.machine.user("guestlink", "doctor", "--json")
    errors = [finding for finding in json.loads(done.stdout)["findings"] if finding["severity"] == "error"]
    assert errors == []


def test_a_report_can_be_written(pair: Pair) -> None:
    done = pair.machine.user("sh", "-c", "cd && guestlink bugreport && tar -tzf guestlink-report-*.tar.gz")
    assert done.returncode == 0, done.stderr
    assert "guestlink-report/report.txt" in done.stdout


def test_a_container_that_stops_says_so(pair: Pair) -> None:
    token = pair.outside.token
    pair.machine.root("systemctl", "poweroff")
    pair.stage.wait("the host gives the next start a new token", lambda: pair.outside.token != token)
    assert not pair.stage.host_json("list")[0]["registered"]

"""garcon as people run it: installed, as a user unit of a booted Debian, with the distribution's own libraries."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import UID, Machine, build_rootfs, missing_tools
from support.stage import CHECKOUT, Stage

pytestmark = pytest.mark.container

CARRIED = "/dev/.guestlink"


class Pair:
    """A host outside and a container inside."""

    def __init__(self, stage: Stage, machine: Machine) -> None:
        self.stage = stage
        self.machine = machine

    def status(self) -> str:
        return self.machine.user("guestlink", "status").stdout.strip()

    def host(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.stage.host(*words, check=check)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    if missing := missing_tools():
        message = f"a system container needs {', '.join(missing)}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    root = build_rootfs("bookworm", "foot")
    subprocess.run(["make", "-s", "install", f"DESTDIR={root}"], cwd=CHECKOUT, check=True, timeout=120)
    stage = Stage("guest", as_uid=UID)
    try:
        stage.start_host()
        stage.host("add", "guest")
        carried = stage.root / "host/run/guestlink-host/containers/guest"
        binds = [f"--bind={carried}:{CARRIED}", f"--bind-ro={carried}/token:/dev/.container_token"]
        with Machine(root, binds) as machine:
            _write_application(machine)
            machine.check_user("systemctl", "--user", "start", "guestlink-garcon.service")
            stage.wait_registered()
            yield Pair(stage, machine)
    finally:
        stage.close()


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


def test_a_container_that_stops_says_so(pair: Pair) -> None:
    token = Path(pair.stage.guest_environ["GUESTLINK_TOKEN_FILE"])
    before = token.read_text()
    pair.machine.root("systemctl", "poweroff")
    pair.stage.wait("the host gives the next start a new token", lambda: token.read_text() != before)
    assert not pair.stage.host_json("list")[0]["registered"]

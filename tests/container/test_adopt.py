"""Adoption of a container that lacks almost everything that hosts expect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import UID, Machine
from support.pair import CARRIED, SUITES, Pair, booted_pair

pytestmark = pytest.mark.container

BARE = f"""
systemctl stop user@{UID} user-{UID}.slice
userdel -r user
rm -f /run/systemd/users/{UID}; systemctl restart systemd-logind
for group in render kvm video floppy; do groupdel -f $group || true; done
rm -f /var/lib/systemd/linger/* /etc/gshadow /etc/gshadow- /etc/sommelierrc
rm -f /etc/systemd/user/default.target.wants/guestlink*
mv /usr/sbin/usermod /usr/local/bin/
"""
LOOK = "cat /etc/passwd /etc/group; ls -ld /etc/gshadow /usr/sbin/usermod /etc/sommelierrc; " + (
    "ls /var/lib/systemd/linger /var/lib/guestlink /etc/systemd/user /etc/systemd/user/default.target.wants; true"
)


@pytest.fixture(scope="module", params=SUITES)
def pair(request: pytest.FixtureRequest, packages: Path) -> Iterator[Pair]:
    with booted_pair(request.param, packages) as made:
        done = made.machine.root("sh", "-c", "dpkg -i /packages/guestlink*.deb")
        assert done.returncode == 0, done.stdout + done.stderr
        done = made.machine.root("sh", "-c", BARE)
        assert made.machine.root("id", "user").returncode != 0, done.stderr
        yield made


def _adopt(machine: Machine, *words: str, status: int = 0) -> dict[str, tuple[str, str]]:
    done = machine.root("guestlink", "adopt", "--json", *words)
    assert done.returncode == status, done.stdout + done.stderr
    return {row["step"]: (row["state"], row["sentence"]) for row in json.loads(done.stdout)["steps"]}


def _look(machine: Machine) -> str:
    return machine.root("sh", "-c", LOOK).stdout


def test_a_user_may_look_but_not_adopt(pair: Pair) -> None:
    become = ("setpriv", "--reuid=1234", "--clear-groups")
    done = pair.machine.root(*become, "guestlink", "adopt")
    assert done.returncode == 1
    assert "needs root" in done.stderr
    for who in (become, ()):
        done = pair.machine.root(*who, "guestlink", "status")
        assert done.returncode == 1
        assert "`guestlink adopt`" in done.stderr
    done = pair.machine.root(*become, "guestlink", "adopt", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would   lingering" in done.stdout


def test_a_bare_container_becomes_a_guest_and_registers(pair: Pair) -> None:
    machine = pair.machine
    before = _look(machine)
    planned = _adopt(machine, "--user", "anna", "--dry-run")
    assert _look(machine) == before
    made = _adopt(machine, "--user", "anna")
    assert {step for step, (state, _) in made.items() if state == "made"} >= {
        "account files", "user", "groups", "memberships", "account tools", "lingering", "units",
        "/etc/sommelierrc", "services",
    }  # fmt: skip
    assert {step for step, (state, _) in planned.items() if state == "would"} == {
        step for step, (state, _) in made.items() if state == "made"
    }
    assert machine.root("id", "-u", "anna").stdout == f"{UID}\n"
    assert "video" in machine.root("id", "-Gn", "anna").stdout.split()
    assert "sudo" not in machine.root("id", "-Gn", "anna").stdout.split()
    pair.stage.wait_registered()
    again = _adopt(machine)
    assert "made" not in {state for state, _ in again.values()}


_BELOW_THE_USER = """
import os, subprocess, sys
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.read(read, 1)
    done = subprocess.run(["guestlink", "adopt", "--undo"])
    os._exit(done.returncode)
os.setuid(1000)
os.write(write, b"1")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
"""A process of the user that starts, as sudo does, a process of root."""


def test_the_user_who_asks_is_not_removed(pair: Pair) -> None:
    before = _look(pair.machine)
    done = pair.machine.root("python3", "-c", _BELOW_THE_USER)
    assert done.returncode == 1
    assert "you are logged in as anna" in done.stderr
    assert "lxc exec" in done.stderr
    assert _look(pair.machine) == before


def test_all_of_it_is_taken_back_while_the_services_run(pair: Pair) -> None:
    machine = pair.machine
    assert machine.user("systemctl", "--user", "is-active", "guestlink-garcon").stdout == "active\n"
    machine.root("su", "anna", "-c", "setsid sleep 1000 > /dev/null 2>&1 &")
    done = machine.root("guestlink", "adopt", "--undo")
    assert done.returncode == 0, done.stdout
    assert machine.root("id", "anna").returncode != 0
    for path in ("/etc/gshadow", "/usr/sbin/usermod", "/var/lib/systemd/linger/anna", "/etc/sommelierrc"):
        assert machine.root("test", "-e", path).returncode != 0, path
    assert machine.root("test", "-d", "/home/anna").returncode == 0, "a home directory is nobody's to remove"
    assert "there is nothing to undo" in machine.root("guestlink", "adopt", "--undo").stdout


def test_the_services_of_another_user(pair: Pair) -> None:
    machine = pair.machine
    machine.root(
        "sh", "-c", "mv /usr/local/bin/usermod /usr/sbin/; useradd -m -u 1000 anna; useradd -m -u 1001 bea"
    )
    # The mounted files belong to uid 1000, so garcon runs and reaches no host.
    made = _adopt(machine, "--user", "bea", status=1)
    assert made["units' user"][0] == "made"
    assert made["services"][0] == "failed"
    assert made["services"][1] == f"they run for bea, but the host lets another user use {CARRIED}"
    run = ("setpriv", "--reuid=1001", "--regid=1001", "--init-groups", "env", "XDG_RUNTIME_DIR=/run/user/1001")
    machine.wait(
        "the other user has a display",
        lambda: machine.root("readlink", "/run/user/1001/wayland-0").stdout == f"{CARRIED}/wayland-0\n",
    )

    def condition(unit: str) -> str:
        return machine.root(*run, "systemctl", "--user", "show", "-P", "ConditionResult", unit).stdout

    machine.wait("garcon is started", lambda: condition("guestlink-garcon") == "yes\n")
    assert condition("guestlink-sommelier@1") == "no\n", "the low-density proxy keeps its own condition"

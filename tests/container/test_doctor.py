"""The doctor in a running container, which each test breaks in one way."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.machine import UID
from support.pair import CARRIED, SUITES, TOKEN, Pair, booted_pair, write

pytestmark = pytest.mark.container

GARCON = "guestlink-garcon.service"


@pytest.fixture(scope="module", params=SUITES)
def pair(request: pytest.FixtureRequest, packages: Path) -> Iterator[Pair]:
    with booted_pair(request.param, packages) as made:
        done = made.machine.root("sh", "-c", "dpkg -i /packages/guestlink*.deb")
        assert done.returncode == 0, done.stdout + done.stderr
        made.stage.wait_registered()
        yield made


def _findings(pair: Pair, *, by: str = "user") -> list[dict[str, Any]]:
    run = pair.machine.user if by == "user" else pair.machine.root
    done = run("guestlink", "doctor", "--json")
    assert done.stdout, done.stderr
    answer = json.loads(done.stdout)
    assert done.returncode == answer["status"]
    return list(answer["findings"])


def _errors(pair: Pair, *, by: str = "user") -> list[str]:
    return [finding["sentence"] for finding in _findings(pair, by=by) if finding["severity"] == "error"]


@contextmanager
def _broken(pair: Pair, breaking: str, mending: str) -> Iterator[None]:
    """Run ``breaking`` as root, and ``mending`` at the end; then wait until the container is registered again."""
    done = pair.machine.root("sh", "-ec", breaking)
    try:
        assert done.returncode == 0, done.stderr
        yield
    finally:
        done = pair.machine.root("sh", "-ec", mending)
        assert done.returncode == 0, done.stderr
    pair.machine.wait("it is in order again", lambda: pair.status().startswith("registered with the host"))


def _says(pair: Pair, sentence: str) -> None:
    """Wait until the doctor reports exactly this error; systemd and garcon may notice the change after a moment."""
    last: list[str] = []

    def heard() -> bool:
        last[:] = _errors(pair)
        return len(last) == 1 and last[0].startswith(sentence)

    try:
        pair.machine.wait(f"the doctor says: {sentence}", heard)
    except AssertionError as error:
        raise AssertionError(f"the doctor says {last}") from error


def _as_user(words: str) -> str:
    runtime = f"/run/user/{UID}"
    return (
        f"setpriv --reuid={UID} --regid={UID} --init-groups env XDG_RUNTIME_DIR={runtime} HOME=/home/user {words}"
    )


def test_nothing_is_wrong(pair: Pair) -> None:
    assert _errors(pair) == []
    assert _errors(pair, by="root") == []
    done = pair.machine.user("guestlink", "doctor", "--verbose")
    assert "ok       the host knows this container" in done.stdout
    # The container has a private network without an address, and none of the host's devices.
    for note, claim in (
        ("this container has no network", "the container has a network"),
        ("the host gives this container no GPU", "the GPU can be used"),
    ):
        assert f"note     {note}" in done.stdout
        assert f"ok       {claim}" not in done.stdout


def test_no_token(pair: Pair) -> None:
    mount = f"touch {TOKEN}; mount --bind {CARRIED}/token {TOKEN}"
    with _broken(pair, f"umount -l {TOKEN}; rm {TOKEN}", mount):
        _says(pair, f"there is no token file {TOKEN} yet")


def test_another_token(pair: Pair) -> None:
    breaking = f"echo {uuid.uuid4()} > /run/other; mount --bind /run/other {TOKEN}"
    breaking += f"; {_as_user(f'systemctl --user restart {GARCON}')}"
    mending = f"umount -l {TOKEN}; {_as_user(f'systemctl --user restart {GARCON}')}"
    with _broken(pair, breaking, mending):
        _says(pair, "the host at unix:/dev/.guestlink/listener.sock does not accept this container")


def test_the_host_is_down(pair: Pair) -> None:
    pair.stage.stop("host")
    try:
        _says(pair, "the host does not answer")
    finally:
        pair.stage.start_host()
    pair.machine.wait("it is in order again", lambda: pair.status().startswith("registered with the host"))


def test_a_dead_compositor(pair: Pair) -> None:
    dead = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('/run/dead'); s.close()"
    breaking = f'rm -f /run/dead; python3 -c "{dead}"; mount --bind /run/dead {CARRIED}/wayland-0'
    with _broken(pair, breaking, f"umount -l {CARRIED}/wayland-0"):
        _says(pair, "the host's compositor does not answer: /dev/.guestlink/wayland-0")


def test_no_user_manager(pair: Pair) -> None:
    with _broken(pair, f"systemctl stop user@{UID}", f"systemctl start user@{UID}"):
        _says(pair, "no user manager runs for user")


def test_a_daemon_that_hangs(pair: Pair) -> None:
    pid = pair.machine.check_user("systemctl", "--user", "show", "-P", "MainPID", GARCON).strip()
    with _broken(pair, f"kill -STOP {pid}", f"kill -CONT {pid}"):
        _says(pair, "garcon does not answer: garcon did not answer within 5 s")


def test_another_user(pair: Pair) -> None:
    machine = pair.machine
    assert machine.root("useradd", "-m", "-u", "1001", "anna").returncode == 0
    session = ("env", "HOME=/home/anna", "XDG_RUNTIME_DIR=/run/user/1001")
    become = ("setpriv", "--reuid=1001", "--regid=1001", "--init-groups", *session)
    # The units are enabled for every user; for other users they log once that they do nothing.
    assert machine.root("systemctl", "start", "user@1001").returncode == 0
    machine.wait(
        "the other user's manager is up",
        lambda: machine.root(*become, "systemctl", "--user", "is-system-running").stdout == "running\n",
    )
    for unit in (GARCON, "guestlink-sommelier@0"):
        assert machine.root(*become, "systemctl", "--user", "is-enabled", unit).stdout == "enabled\n"
        assert machine.root(*become, "systemctl", "--user", "is-active", unit).stdout == "inactive\n"
    said = machine.root("journalctl", "-b", "-o", "cat", "--no-pager").stdout.splitlines()
    assert len([line for line in said if GARCON in line and "ConditionUser=1000" in line]) == 1
    done = machine.root(*become, "guestlink", "doctor", "--json")
    findings = json.loads(done.stdout)["findings"]
    sentences = [finding["sentence"] for finding in findings if finding["severity"] == "error"]
    assert sentences == ["the services run for user (uid 1000), and you are anna (uid 1001)"]
    assert machine.root("systemctl", "stop", "user@1001").returncode == 0
    assert machine.root("userdel", "-r", "anna").returncode == 0


def test_missing_groups(pair: Pair) -> None:
    with _broken(pair, "groupdel floppy", "groupadd -r floppy"):
        findings = [finding for finding in _findings(pair) if finding["check"] == "groups"]
        assert len(findings) == 1
        assert "floppy" in findings[0]["sentence"]
        assert "guestlink adopt" in findings[0]["advice"]


def test_an_old_protobuf(pair: Pair) -> None:
    directory = "/usr/local/lib/python3*/dist-packages"
    version = "__version__ = '3.12.4'"
    breaking = f'd=$(echo {directory})/google/protobuf; mkdir -p $d; echo "{version}" > $d/__init__.py'
    with _broken(pair, breaking, f"rm -r {directory}/google"):
        _says(pair, "the Python library protobuf 3.12.4 is too old; 3.19.6 is the oldest that works")


def test_a_full_disk(pair: Pair) -> None:
    breaking = "mount -t tmpfs -o size=64k,mode=700,uid=1000 full /home/user; "
    breaking += "dd if=/dev/zero of=/home/user/fill bs=4k 2> /dev/null || true"
    with _broken(pair, breaking, "umount -l /home/user"):
        _says(pair, "/home/user is full: no bytes are free")


def test_a_wrong_setting(pair: Pair) -> None:
    restart = _as_user(f"systemctl --user restart {GARCON}")
    breaking = (
        "mkdir -p /etc/guestlink; printf '[garcon]\\nhost_address = nowhere\\n' > /etc/guestlink/guestlink.conf"
    )
    with _broken(pair, f"{breaking}; {restart} || true", f"rm -r /etc/guestlink; {restart}"):
        _says(pair, "/etc/guestlink/guestlink.conf:2: ")
        # systemd restarts garcon after every failure except a wrong setting.
        shown = pair.machine.check_user("systemctl", "--user", "show", "-P", "ActiveState", GARCON)
        assert shown == "failed\n"


def test_a_masked_unit(pair: Pair) -> None:
    mending = f"{_as_user(f'systemctl --user unmask {GARCON}')}; {_as_user(f'systemctl --user start {GARCON}')}"
    with _broken(pair, _as_user(f"systemctl --user mask --now {GARCON}"), mending):
        _says(pair, f"{GARCON} is masked")


def test_a_daemon_that_is_killed_comes_back_however_often(pair: Pair) -> None:
    for _ in range(6):  # by default systemd gives up after five restarts
        restarts = pair.machine.check_user("systemctl", "--user", "show", "-P", "NRestarts", GARCON)
        pair.machine.user("systemctl", "--user", "kill", "--signal=KILL", GARCON)
        pair.machine.wait(
            "systemd starts it again",
            lambda before=restarts: (
                pair.machine.check_user("systemctl", "--user", "show", "-P", "NRestarts", GARCON) != before
            ),
        )
        pair.machine.wait(
            "it runs",
            lambda: pair.machine.user("systemctl", "--user", "is-active", "-q", GARCON).returncode == 0,
        )
    pair.machine.wait("it registers", lambda: pair.status().startswith("registered with the host"))


def test_a_report_holds_no_token_and_no_name(pair: Pair) -> None:
    write(
        pair.machine, "/etc/guestlink/guestlink.conf", f"[garcon]\nicon_theme = Papirus\n# {pair.outside.token}\n"
    )
    done = pair.machine.user(
        "sh", "-c", "guestlink bugreport -o - | tar -xzO > /tmp/report; cat /tmp/report; rm /tmp/report"
    )
    pair.machine.root("rm", "-r", "/etc/guestlink")
    assert done.returncode == 0, done.stderr
    for part in (
        "guestlink-garcon-", "Filtered journalctl for guestlink-garcon:", "systemctl user status:", "Papirus",
        "registered with the host", "guestlink-sommelier@0.service",
    ):  # fmt: skip
        assert part in done.stdout, part
    assert pair.outside.token not in done.stdout
    assert "/home/user" not in done.stdout

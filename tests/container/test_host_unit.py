"""guestlink-host's unit in real user managers: its sandbox holds, and what the daemon starts works outside it."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import UID, USER, Machine, build_rootfs, missing_tools
from support.needs import absent
from support.pair import CARRIED, SUITES, TOKEN, write
from support.pixels import alpha_range

pytestmark = pytest.mark.container

REPORT = "/usr/local/bin/report"
"""A program that writes to /tmp/NAME what the sandbox would change: the effective user of a setuid program, the
control group, the namespaces that may be made, and its arguments."""
_REPORT = """\
#!/bin/sh
name=$(basename "$0")
{
    echo "euid $(/usr/local/bin/setuid-id -u)"
    echo "group $(cat /proc/self/cgroup | tail -1)"
    unshare -Ur true && echo "namespaces allowed"
    grep -E "NoNewPrivs|Max open files" /proc/self/status /proc/self/limits
    printf '[%s]' "$@"
} > "/tmp/$name.new" 2>&1
mv "/tmp/$name.new" "/tmp/$name"
"""
ENDS = {"opener": "exit 0", "terminal": "exec sleep 1000", "dialog": "exit 0", "lxc-start": "exit 0"}
"""How each of the programs that the daemon starts ends."""
_LXC_INFO = '#!/bin/sh\ncase $* in *" -s "*) echo STOPPED ;; *" -c "*) echo ;; *) echo 1 ;; esac\n'
_RUNTIME = "/run/user/1000"
_DIRECTORY = f"{_RUNTIME}/guestlink-host/containers/guest"


@pytest.fixture(scope="module", params=SUITES)
def machine(request: pytest.FixtureRequest, packages: Path) -> Iterator[Machine]:
    """A desktop's machine with guestlink-host as a unit, and garcon, which plays the container ``guest`` on it."""
    if missing := missing_tools():
        absent(f"a system container needs {', '.join(missing)}")
    with Machine(
        build_rootfs(request.param, "librsvg2-2,libseccomp2,sway"), [f"--bind-ro={packages}:/packages"]
    ) as made:
        done = made.root("sh", "-c", "dpkg -i /packages/guestlink-common*.deb /packages/guestlink-[ghsv]*.deb")
        assert done.returncode == 0, done.stdout + done.stderr
        made.root("install", "-m", "4755", "/usr/bin/id", "/usr/local/bin/setuid-id")
        for name, end in ENDS.items():
            write(made, f"/usr/local/bin/{name}", f"{_REPORT}{end}\n")
        write(made, "/usr/local/bin/lxc-info", _LXC_INFO)
        made.root("sh", "-c", "chmod 755 /usr/local/bin/*; chmod 4755 /usr/local/bin/setuid-id")
        settings = "opener = opener\nterminal = terminal -e\nask = dialog\nshell = true\n"
        write(made, f"/home/{USER}/.config/guestlink/guestlink-host.conf", settings)
        made.root("chown", "-R", f"{USER}:{USER}", f"/home/{USER}")
        _start_desktop(made)
        made.check_user("systemctl", "--user", "start", "guestlink-host")
        made.check_user("guestlink-host", "add", "guest")
        for source, target in ((_DIRECTORY, CARRIED), (f"{_DIRECTORY}/token", TOKEN)):
            make = "mkdir" if target == CARRIED else "touch"
            done = made.root("sh", "-c", f"{make} {target} && mount --bind {source} {target}")
            assert done.returncode == 0, done.stderr
        made.check_user("systemctl", "--user", "restart", "guestlink-garcon")
        made.wait("the container is registered", lambda: _registered(made))
        yield made


def _start_desktop(machine: Machine) -> None:
    """Start a compositor without a screen, as a desktop does that runs under systemd."""
    machine.check_user("systemctl", "--user", "stop", "guestlink-sommelier@0")  # It plays no part here.
    environ = ("WLR_BACKENDS=headless", "WLR_LIBINPUT_NO_DEVICES=1", "WLR_RENDERER=pixman")
    switches = [f"--setenv={line}" for line in environ]
    write(machine, "/etc/sway/plain", "exec true\n")
    machine.check_user("systemd-run", "--user", "--unit=sway", *switches, "sway", "-c", "/etc/sway/plain")
    machine.wait("the compositor runs", lambda: machine.user("test", "-S", f"{_RUNTIME}/wayland-1").returncode == 0)
    machine.check_user("systemctl", "--user", "set-environment", "WAYLAND_DISPLAY=wayland-1")


def _registered(machine: Machine) -> bool:
    listed = machine.user("guestlink-host", "list", "--json").stdout
    return any(one["registered"] for one in json.loads(listed or "[]"))


def reported(machine: Machine, name: str) -> str:
    """The report of a program that the daemon has started, which then is removed."""
    machine.wait(f"{name} has run", lambda: machine.root("test", "-e", f"/tmp/{name}").returncode == 0)
    text = machine.root("cat", f"/tmp/{name}").stdout
    machine.root("rm", f"/tmp/{name}")
    return text


def check_outside(report: str) -> None:
    """A program runs with the rights of the user, in a service of its own."""
    assert "euid 0\n" in report, report
    assert "namespaces allowed" in report
    assert "NoNewPrivs:\t0" in report
    assert "guestlink-host.service" not in report
    assert "app-guestlinkhost-" in report
    assert " 1024 " in report, "select(2) needs a soft limit of 1024 descriptors"


def test_the_daemon_runs_and_its_sandbox_holds(machine: Machine) -> None:
    shown = machine.check_user(
        "systemctl", "--user", "show", "-p", "ActiveState,NRestarts,MainPID", "guestlink-host"
    )
    assert "ActiveState=active" in shown
    assert "NRestarts=0" in shown
    bounds = (
        "systemctl",
        "--user",
        "show",
        "-p",
        "MemoryMax,TasksMax,LimitNOFILE,LimitNOFILESoft",
        "guestlink-host",
    )
    values = dict(line.split("=") for line in machine.check_user(*bounds).splitlines())
    assert values == {
        "MemoryMax": str(2 << 30),
        "TasksMax": "4096",
        "LimitNOFILE": "65536",
        "LimitNOFILESoft": "1024",
    }
    pid = dict(line.split("=") for line in shown.splitlines())["MainPID"]
    status = machine.root("cat", f"/proc/{pid}/status").stdout
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert "CapBnd:\t0000000000000000" in status
    assert machine.root("cat", f"/proc/{pid}/uid_map").stdout.split() == [str(UID), str(UID), "1"]
    groups = [line.split() for line in machine.root("cat", f"/proc/{pid}/mountinfo").stdout.splitlines()]
    assert any(line[4].startswith("/sys/fs/cgroup") and "ro" in line[5].split(",") for line in groups), groups
    journal = machine.user("journalctl", "--user", "-o", "cat", "--no-pager", "-u", "guestlink-host").stdout
    assert "Traceback" not in journal, journal
    assert "own sandbox" not in journal, journal
    complaints = machine.user("journalctl", "--user", "-o", "cat", "--no-pager", "-t", "systemd").stdout
    assert "guestlink-host.service:" not in complaints, complaints


_ATTACH = (
    "import sys; sys.path.insert(0, '/usr/share/guestlink')\n"
    "from pathlib import Path; from guestlink.control import ControlClient\n"
    f"client = ControlClient(Path('{_RUNTIME}/guestlink-host/control.sock'), daemon='guestlink-host')\n"
)
_USERS_OF = (
    "import os, struct, sys\n"
    "for path in sys.argv[1:]:\n"
    "    entries = struct.iter_unpack('<HHI', os.getxattr(path, 'system.posix_acl_access')[4:])\n"
    "    print(sorted(uid for tag, permissions, uid in entries if tag == 2 and permissions))\n"
)
"""Prints the users whom the access control lists of files name."""


def test_users_of_an_id_mapped_container_get_into_its_directory(machine: Machine) -> None:
    """The daemon has no ids for them; the service that names them exits afterwards."""
    call = f"client.call('attach', name='mapped', manager='lxc', place='{_RUNTIME}', uid=1000, users=[{{}}])\n"
    mounted = [f"{_RUNTIME}/guestlink-host/{kind}/mapped" for kind in ("containers", "tokens")]
    for users in ("100000, 101000", "200000"):
        machine.check_user("python3", "-c", _ATTACH + call.format(users))
        assert machine.root("python3", "-c", _USERS_OF, *mounted).stdout == f"[{users}]\n" * 2
    machine.check_user("systemctl", "--user", "restart", "guestlink-host")
    machine.wait("the daemon serves", lambda: machine.user("guestlink-host", "list").returncode == 0)
    assert machine.root("python3", "-c", _USERS_OF, *mounted).stdout == "[200000]\n" * 2
    # A container of another user is a stranger, and a user of the container is not.
    for uid, admitted in ((200000, True), (101000, False)):
        become = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
        machine.root("sh", "-c", f"mkdir -p /tmp/mapped && mount --bind {mounted[0]} /tmp/mapped")
        done = machine.root(*become, "ls", "/tmp/mapped")
        machine.root("umount", "/tmp/mapped")
        assert (done.returncode == 0) is admitted, done
    machine.check_user("guestlink-host", "remove", "mapped")
    units = ("systemctl", "--user", "list-units", "--all", "--plain", "--no-legend", "guestlink-host-access@*")
    machine.wait("the service has exited", lambda: machine.check_user(*units) == "")
    machine.wait("the container is registered again", lambda: _registered(machine))


def test_root_talks_to_the_daemon_in_its_sandbox(machine: Machine) -> None:
    done = machine.root("env", f"XDG_RUNTIME_DIR={_RUNTIME}", "guestlink-host", "list")
    assert done.returncode == 0, done.stderr
    assert "guest" in done.stdout


def test_where_no_user_may_make_a_namespace_the_daemon_runs_without(machine: Machine) -> None:
    write(machine, "/usr/local/bin/unshare", "#!/bin/sh\nexit 1\n")
    machine.root("chmod", "755", "/usr/local/bin/unshare")

    def ids() -> list[str]:
        machine.check_user("systemctl", "--user", "daemon-reload")
        machine.check_user("systemctl", "--user", "restart", "guestlink-host")
        pid = machine.check_user("systemctl", "--user", "show", "-P", "MainPID", "guestlink-host").strip()
        return machine.root("cat", f"/proc/{pid}/uid_map").stdout.split()

    assert ids() == machine.root("cat", "/proc/1/uid_map").stdout.split()
    machine.root("rm", "/usr/local/bin/unshare")
    assert ids() == [str(UID), str(UID), "1"]
    machine.wait("the container is registered again", lambda: _registered(machine))


def test_a_picture_is_drawn_within_the_sandbox(machine: Machine) -> None:
    """The renderer confines itself further within the unit's limits. Text uses threads, fonts and their caches."""
    text = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><text y="60" font-size="60">A</text></svg>'
    )
    write(machine, "/usr/share/icons/hicolor/scalable/apps/drawn.svg", text)
    entry = "[Desktop Entry]\nType=Application\nName=Drawn\nIcon=drawn\nExec=true\n"
    write(machine, "/usr/share/applications/drawn.desktop", entry)
    theme = f"/home/{USER}/.local/share/icons/hicolor"

    def drawn() -> list[str]:
        return sorted(machine.root("find", theme, "-name", "guestlink-guest-drawn.png").stdout.split())

    machine.wait("the icon is drawn in all sizes", lambda: len(drawn()) == 9)
    shown = "/tmp/drawn.png"
    machine.check_user("guestlink-host", "icon", "guest", "drawn", "--size", "64", "-o", shown)
    assert alpha_range(b64decode(machine.root("base64", shown).stdout)) == (0, 255)
    assert "icons cannot be drawn" not in machine.check_user("guestlink-host", "list")


def test_an_opener_runs_outside_the_sandbox(machine: Machine) -> None:
    machine.check_user("guestlink-host", "policy", "guest", "url", "allow")
    machine.check_user("guestlink", "open", "https://example.org/?a=$HOME&b=%h")
    report = reported(machine, "opener")
    check_outside(report)
    assert report.endswith("[https://example.org/?a=$HOME&b=%h]")


def test_what_an_opener_leaves_in_the_background_goes_on(machine: Machine) -> None:
    """xdg-open starts a browser and exits, and so does lxc-start with a container."""
    write(machine, "/usr/local/bin/opener", "#!/bin/sh\nsleep 1234 &\necho $! > /tmp/background\n")
    machine.check_user("guestlink", "open", "https://example.org/")
    write(machine, "/usr/local/bin/opener", f"{_REPORT}exit 0\n")
    pid = machine.root("cat", "/tmp/background").stdout.strip()
    units = ("systemctl", "--user", "show", "-p", "ExecMainCode,ActiveState", "app-guestlinkhost-opener@*")
    machine.wait("systemd knows that it has exited", lambda: "ExecMainCode=1" in machine.check_user(*units))
    assert machine.root("cat", f"/proc/{pid}/cmdline").stdout == "sleep\0001234\0"
    assert machine.root("kill", pid).returncode == 0


@pytest.mark.parametrize(("end", "said"), [("exit 3", "failed with 3"), ("kill -SEGV $$", "killed by SIGSEGV")])
def test_an_opener_that_fails_at_once_is_the_callers_error(machine: Machine, end: str, said: str) -> None:
    write(machine, "/usr/local/bin/opener", f"#!/bin/sh\n{end}\n")
    done = machine.user("guestlink", "open", "https://example.org/")
    write(machine, "/usr/local/bin/opener", f"{_REPORT}exit 0\n")
    assert done.returncode != 0
    assert said in done.stderr


def test_a_missing_opener_is_the_callers_error(machine: Machine) -> None:
    machine.root("mv", "/usr/local/bin/opener", "/usr/local/bin/opener.away")
    done = machine.user("guestlink", "open", "https://example.org/")
    machine.root("mv", "/usr/local/bin/opener.away", "/usr/local/bin/opener")
    assert done.returncode != 0
    assert "the host cannot start opener: there is no such program" in done.stderr


def test_a_terminal_outlives_the_daemon(machine: Machine) -> None:
    machine.check_user("guestlink-host", "policy", "guest", "terminal", "allow")
    machine.check_user("guestlink", "terminal", "echo", "$5", "%h")
    report = reported(machine, "terminal")
    check_outside(report)
    machine.check_user("systemctl", "--user", "restart", "guestlink-host")
    running = machine.check_user("systemctl", "--user", "list-units", "--no-legend", "app-guestlinkhost-terminal@*")
    assert "running" in running
    machine.wait("the container is registered again", lambda: _registered(machine))
    machine.check_user("systemctl", "--user", "stop", "app-guestlinkhost-terminal@*")


@pytest.mark.parametrize(("end", "status"), [("exit 0", 0), ("exit 1", 1)])
def test_the_answer_to_a_question_arrives(machine: Machine, end: str, status: int) -> None:
    machine.check_user("guestlink-host", "policy", "guest", "url", "ask")
    write(machine, "/usr/local/bin/dialog", f"{_REPORT}{end}\n")
    done = machine.user("guestlink", "open", "https://example.org/")
    check_outside(reported(machine, "dialog"))
    assert (done.returncode != 0) == bool(status), done.stderr
    machine.root("rm", "-f", "/tmp/opener")
    machine.check_user("guestlink-host", "policy", "guest", "url", "allow")


def test_a_proxy_shows_a_containers_windows_from_within_the_sandbox(machine: Machine) -> None:
    machine.check_user(
        "guestlink-host", "policy", "guest", "clipboard", "deny"
    )  # Without a policy it may be direct.
    display = f"--setenv=WAYLAND_DISPLAY={CARRIED}/wayland-0"
    machine.check_user("systemd-run", "--user", "--collect", "--unit=window", display, "foot", "sleep", "1000")
    tree = ("sh", "-c", "SWAYSOCK=$(ls $XDG_RUNTIME_DIR/sway-ipc*) swaymsg -t get_tree")
    window = '"app_id": "guestlink-guest-foot"'
    machine.wait("the window is there", lambda: window in machine.user(*tree).stdout)
    shown = machine.check_user("systemctl", "--user", "status", "guestlink-host")
    assert "/usr/lib/guestlink/sommelier --parent --for-container=guest" in shown
    machine.check_user("systemctl", "--user", "stop", "window")


def test_a_container_managers_command_runs_outside_the_sandbox(machine: Machine) -> None:
    place = f"/home/{USER}/lxc"
    machine.check_user("mkdir", "-p", f"{place}/work")
    machine.check_user("touch", f"{place}/work/config")
    call = (
        f"{_ATTACH}client.call('attach', name='work', manager='lxc', place='{place}', uid=1000, users=[])\n"
        "client.call('start_and_wait', name='work', first=True)\n"
    )
    machine.check_user("python3", "-c", call)
    report = reported(machine, "lxc-start")
    check_outside(report)
    assert report.endswith(f"[-P][{place}][-n][work][-d]")


def test_no_service_of_the_daemon_stays(machine: Machine) -> None:
    machine.wait(
        "all programs have ended",
        lambda: (
            "app-guestlinkhost" not in machine.check_user("systemctl", "--user", "list-units", "--all", "--plain")
        ),
    )
    failed = machine.check_user("systemctl", "--user", "list-units", "--failed", "--no-legend", "--plain")
    assert failed == ""

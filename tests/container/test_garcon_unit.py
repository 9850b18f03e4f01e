"""The packages in real use: installed into a booted Debian, with the distribution's own libraries."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import Machine
from support.pair import SUITES, Pair, booted_pair, write

pytestmark = pytest.mark.container

NATIVE_DIRECTORY = "/opt/google/cros-containers"
NATIVE = """\
#!/bin/sh
words=$*
for word; do
    case $word in
        --socket=*) export WAYLAND_DISPLAY=${word#*=}; file=/tmp/native-$WAYLAND_DISPLAY ;;
        --x-display=*) export DISPLAY=:${word#*=}; file=/tmp/native-x-${word#*=} ;;
        /bin/sh) break ;;
    esac
done
printf '%s' "$words" > "$file"
while [ "$1" != /bin/sh ]; do shift; done
export SOMMELIER_VERSION=native XCURSOR_SIZE=24
"$@" && systemd-notify --ready
exec sleep infinity
"""


@pytest.fixture(scope="module", params=SUITES)
def pair(request: pytest.FixtureRequest, packages: Path) -> Iterator[Pair]:
    with booted_pair(request.param, packages) as made:
        _write_application(made.machine)
        done = made.machine.root("sh", "-c", "dpkg -i /packages/guestlink*.deb")
        assert done.returncode == 0, done.stdout + done.stderr
        made.stage.wait_registered()
        yield made


def _write_application(machine: Machine) -> None:
    speaker = '#!/bin/sh\necho "it speaks $DESKTOP_STARTUP_ID"\nexec sleep 1000\n'
    write(machine, "/usr/local/bin/speaker", speaker)
    machine.root("chmod", "755", "/usr/local/bin/speaker")
    for name, program in (("Speaker", "speaker"), ("Gone", "/bin/false-friend"), ("Fails", 'sh -c "exit 3"')):
        entry = f"[Desktop Entry]\nType=Application\nName={name}\nExec={program}\nStartupNotify=true\n"
        write(machine, f"/usr/share/applications/org.example.{name}.desktop", entry)


def test_the_unit_says_where_it_stands(pair: Pair) -> None:
    shown = pair.machine.check_user(
        "systemctl", "--user", "show", "-p", "ActiveState,StatusText", "guestlink-garcon"
    )
    assert "ActiveState=active" in shown
    assert "StatusText=registered with the host at unix:/dev/.guestlink/listener.sock" in shown
    assert pair.status().startswith("registered with the host")


def test_no_application_is_offered_for_removal_while_none_can_be_removed(pair: Pair) -> None:
    assert {app["id"]: app["package_id"] for app in pair.stage.host_json("apps", "guest")}["foot"] == ""


def test_a_program_that_fails_right_after_its_start_is_not_called_launched(pair: Pair) -> None:
    done = pair.host("launch", "guest", "org.example.Fails", check=False)
    assert done.returncode == 1
    said = re.search(
        r"sh ended with status 3 right after its start; `journalctl --user-unit (\S+)` in", done.stderr
    )
    assert said is not None, done.stderr
    assert said[1].startswith("app-guestlink-org.example.Fails@")
    last = pair.stage.host_json("events", "guest")[-1]
    assert (last["event"], last["detail"].partition(":")[0]) == ("failed", "org.example.Fails")
    failed = pair.machine.check_user(
        "systemctl", "--user", "list-units", "--state=failed", "--no-legend", "--plain"
    )
    assert "app-guestlink" not in failed


LATE = {
    "Late": "echo hello; {wait}; echo no more coffee >&2; exit 3",
    "Crashes": "{wait}; kill -SEGV $$",
    "Tidy": "{wait}; echo bye; exit 0",
    "Closed": "{wait}; kill -TERM $$",
    "Stopped": "trap 'exit 7' TERM; while :; do sleep 0.1; done",
}
SERVED = """\
import asyncio, os, sys
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

async def main():
    bus = await MessageBus().connect()
    handled = lambda message: message.message_type is MessageType.METHOD_CALL and message.member == "Activate"
    bus.add_message_handler(lambda message: Message.new_method_return(message) if handled(message) else None)
    await bus.request_name("org.example.Served")
    while not os.path.exists("/tmp/go"):
        await asyncio.sleep(0.1)
    print("no tea either", file=sys.stderr, flush=True)
    os._exit(1)  # Otherwise the bus connection ends first, and systemd stops the service for that.

asyncio.run(main())
"""


def test_programs_that_fail_later_reach_the_hosts_events(pair: Pair) -> None:
    """All of them count as launched, and run while garcon restarts, except the D-Bus service."""
    machine = pair.machine
    for name, text in LATE.items():
        script = f"#!/bin/sh\n{text.format(wait='until [ -e /tmp/go ]; do sleep 0.1; done')}\n"
        write(machine, f"/usr/local/bin/{name.lower()}", script)
        entry = f"[Desktop Entry]\nType=Application\nName={name}\nExec=/usr/local/bin/{name.lower()}\n"
        write(machine, f"/usr/share/applications/org.example.{name}.desktop", entry)
        machine.root("chmod", "755", f"/usr/local/bin/{name.lower()}")
        pair.host("launch", "guest", f"org.example.{name}")
    machine.check_user("systemctl", "--user", "restart", "guestlink-garcon")
    garcon = ("journalctl", "--user", "-o", "cat", "--no-pager", "--user-unit=guestlink-garcon")
    machine.wait("it watches them", lambda: "watching 5 applications" in machine.user(*garcon).stdout)
    machine.wait("it is registered", lambda: pair.status().startswith("registered with the host"))
    _launch_service(pair)
    machine.wait("it watches it", lambda: "watching org.example.Served.service" in machine.user(*garcon).stdout)
    machine.check_user("systemctl", "--user", "stop", "app-guestlink-org.example.Stopped@*.service")
    machine.root("touch", "/tmp/go")

    def failed() -> set[str]:
        events = pair.stage.host_json("events", "guest")
        return {event["detail"] for event in events if event["event"] == "failed"}

    expected = {
        "org.example.Late: ended with status 3: no more coffee",
        "org.example.Crashes: was killed by SIGSEGV",
        "org.example.Served: ended with status 1: no tea either",
    }
    machine.wait("the host knows", lambda: expected <= failed())
    assert not [detail for detail in failed() if re.match(r"org\.example\.(Tidy|Closed|Stopped)", detail)]
    machine.check_user("systemctl", "--user", "reset-failed", "org.example.Served.service")
    machine.root("sh", "-c", "rm /tmp/go /usr/share/applications/org.example.[LCTS][aelrito]*.desktop")


OUT_OF_MEMORY = """\
import os, signal, sys
group, pid = sys.argv[1:]
os.setxattr("/sys/fs/cgroup" + group, "user.oomd_ooms", b"1")
os.kill(int(pid), signal.SIGKILL)
"""
"""What systemd-oomd does to a control group when memory runs out. Without the memory controller of cgroup 2, which
containers of a test machine may lack, the kernel's own killing goes unnoticed by systemd."""


def test_what_a_program_leaves_in_the_background_goes_on(pair: Pair) -> None:
    """Editors and wrappers start a process and exit."""
    machine = pair.machine
    write(machine, "/usr/local/bin/forks", "#!/bin/sh\nsleep 4321 &\necho $! > /tmp/background\n")
    machine.root("chmod", "755", "/usr/local/bin/forks")
    entry = "[Desktop Entry]\nType=Application\nName=Forks\nExec=forks\n"
    write(machine, "/usr/share/applications/org.example.Forks.desktop", entry)
    pair.host("launch", "guest", "org.example.Forks")
    pid = machine.root("cat", "/tmp/background").stdout.strip()
    show = ("systemctl", "--user", "show", "-p", "ExecMainCode", "app-guestlink-org.example.Forks@*")
    machine.wait("systemd knows that it has exited", lambda: "ExecMainCode=1" in machine.check_user(*show))
    assert machine.root("cat", f"/proc/{pid}/cmdline").stdout == "sleep\0004321\0"
    assert machine.root("kill", pid).returncode == 0
    machine.root("rm", "/usr/share/applications/org.example.Forks.desktop")


def test_a_program_in_a_shell_that_is_killed_for_memory_ends_no_other(pair: Pair) -> None:
    pair.stage.vsh("guest", "true")  # The vshd of all shells runs now, if it did not before.
    for unit in ("guestlink-garcon.service", "guestlink-vshd.service", "app-guestlink-vshd@*.service"):
        shown = pair.machine.check_user("systemctl", "--user", "show", "-p", "OOMPolicy", unit)
        assert set(shown.split()) == {"OOMPolicy=continue"}, unit


def test_a_program_that_ran_out_of_memory_reaches_the_hosts_events(pair: Pair) -> None:
    machine, name = pair.machine, "Hungry"
    write(machine, f"/usr/local/bin/{name}", "#!/bin/sh\nsleep 1000 & wait\n")
    machine.root("chmod", "755", f"/usr/local/bin/{name}")
    entry = f"[Desktop Entry]\nType=Application\nName={name}\nExec={name}\n"
    write(machine, f"/usr/share/applications/org.example.{name}.desktop", entry)
    pair.host("launch", "guest", f"org.example.{name}")
    pattern = f"app-guestlink-org.example.{name}@*.service"
    unit = machine.check_user("systemctl", "--user", "list-units", "--plain", "--no-legend", pattern).split()[0]
    shown = machine.check_user("systemctl", "--user", "show", "-p", "ControlGroup,MainPID", unit)
    values = dict(line.split("=", 1) for line in shown.splitlines())
    done = machine.root("python3", "-c", OUT_OF_MEMORY, values["ControlGroup"], values["MainPID"])
    assert done.returncode == 0, done.stderr
    expected = f"org.example.{name}: was killed by SIGKILL: out of memory"
    machine.wait(
        "the host knows", lambda: expected in [one["detail"] for one in pair.stage.host_json("events", "guest")]
    )
    machine.root("rm", f"/usr/share/applications/org.example.{name}.desktop")


def _launch_service(pair: Pair) -> None:
    """Launch an application that the session bus starts as a unit."""
    machine, name = pair.machine, "org.example.Served"
    write(machine, "/usr/local/bin/served", SERVED)
    unit = f"[Service]\nType=dbus\nBusName={name}\nExecStart=/usr/bin/python3 /usr/local/bin/served\n"
    write(machine, f"/etc/systemd/user/{name}.service", unit)
    activation = f"[D-BUS Service]\nName={name}\nExec=/bin/false\nSystemdService={name}.service\n"
    write(machine, f"/usr/share/dbus-1/services/{name}.service", activation)
    entry = "[Desktop Entry]\nType=Application\nName=S\nExec=/bin/false\nDBusActivatable=true\n"
    write(machine, f"/usr/share/applications/{name}.desktop", entry)
    machine.check_user("systemctl", "--user", "daemon-reload")
    machine.check_user(
        "busctl", "--user", "call", *["org.freedesktop.DBus", "/", "org.freedesktop.DBus"], "ReloadConfig"
    )
    pair.host("launch", "guest", name)
    assert machine.user("systemctl", "--user", "is-active", name).stdout == "active\n"


def test_a_program_that_finds_no_x_server_says_so_whatever_it_is_written_in(pair: Pair) -> None:
    machine = pair.machine
    script = '#!/usr/bin/python3\nimport sys\nsys.exit("Error: Can\'t open display: ")\n'
    write(machine, "/usr/local/bin/old", script)
    machine.root("chmod", "755", "/usr/local/bin/old")
    write(
        machine,
        "/usr/share/applications/org.example.Old.desktop",
        "[Desktop Entry]\nType=Application\nName=Old\nExec=old\n",
    )
    done = pair.host("launch", "guest", "org.example.Old", check=False)
    assert "old needs X11, and this container has no X server" in done.stderr
    machine.root("rm", "/usr/share/applications/org.example.Old.desktop")


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
        shown = pair.machine.check_user("systemctl", "--user", "show", "-P", "Id", name)
        assert shown == f"{name.replace('cros', 'guestlink').replace('somm', 'guestlink-somm')}.service\n"


def test_launched_programs_and_the_user_manager_have_the_originals_variables(pair: Pair) -> None:
    block = pair.machine.check_user("systemctl", "--user", "show-environment")
    for line in (
        "BROWSER=/usr/bin/garcon-url-handler",
        "QT_QPA_PLATFORMTHEME=gtk2",
        "XDG_CURRENT_DESKTOP=X-Generic",
        "XDG_DATA_DIRS=/home/user/.local/share:/home/user/.local/share/flatpak/exports/share:",
    ):
        assert line in block
    write(pair.machine, "/usr/local/bin/teller", "#!/bin/sh\nenv > /tmp/told.new\nmv /tmp/told.new /tmp/told\n")
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
    # Programs must not inherit restrictions of the daemons' units: sudo would refuse to run (packaging.md §2.6).
    write(pair.machine, "/usr/local/bin/teller", "#!/bin/sh\nexec grep NoNewPrivs /proc/self/status > /tmp/told\n")
    pair.host("launch", "guest", "org.example.Teller")
    pair.machine.wait("it has told", lambda: "NoNewPrivs:\t0" in pair.machine.root("cat", "/tmp/told").stdout)


def test_programs_get_their_arguments_as_they_are_written(pair: Pair) -> None:
    """systemd interprets special characters in arguments, descriptions, directories and variables."""
    machine = pair.machine
    teller = '#!/bin/sh\nprintf \'%s\\n\' "$PWD" "$@" > /tmp/told.new\nmv /tmp/told.new /tmp/told\n'
    machine.root("rm", "-f", "/tmp/told")  # of an earlier test
    directory = "/opt/$HOME %h/../100%h"
    write(machine, f"{directory}/tell $5%%", teller)
    machine.root("mkdir", "-p", "/opt/$HOME %h")
    machine.root("chmod", "755", f"{directory}/tell $5%%")
    entry = (
        f"[Desktop Entry]\nType=Application\nName=Price\nPath={directory}\nStartupNotify=true\n"
        'Exec="tell \\\\$5%%%%" "\\\\$HOME" "x\\\\${HOME}y" "\\\\$\\\\$" "\\\\$5" "100%%h" "a \\\\"b\\\\" \'c\'"'
        " '; $(id)' \"\" %F\n"
    )
    name = "price %h $HOME " + "é" * 40
    write(machine, f"/usr/share/applications/{name}.desktop", entry)
    files = ["/home/user/${HOME}.txt", "/home/user/US$$ 5.txt", "/tmp/%n", "/tmp/back\\slash", "/tmp/$é"]
    machine.wait("it is published", lambda: name in [app["id"] for app in pair.stage.host_json("apps", "guest")])
    pair.host("launch", "guest", name, *files)
    machine.wait("it has told", lambda: machine.root("test", "-e", "/tmp/told").returncode == 0)
    told = machine.root("cat", "/tmp/told").stdout.splitlines()
    expected = ["$HOME", "x${HOME}y", "$$", "$5", "100%h", "a \"b\" 'c'", "; $(id)", ""]
    assert told == [os.path.normpath(directory), *expected, *files]
    machine.check_user("systemctl", "--user", "daemon-reload")
    assert "/transient/app-guestlink" not in machine.journal(), "systemd complains about its own file"
    machine.root("rm", "/tmp/told", f"/usr/share/applications/{name}.desktop")


def test_what_profiles_add_is_published_and_found(pair: Pair) -> None:
    """garcon runs all the time: it reads profiles again when they change."""
    machine = pair.machine
    for path in ("/home/user/.local/bin/own-tool", "/home/user/tools/profile-tool", "/home/user/.nix/bin/nix-tool"):
        write(machine, path, '#!/bin/sh\necho "$0" > "/tmp/$(basename "$0")"\n')
        machine.root("chmod", "755", path)
    for share, tool in (("usr/share", "own"), ("usr/share", "profile"), ("home/user/.nix/share", "nix")):
        text = f"[Desktop Entry]\nType=Application\nName=T\nExec={tool}-tool\nTryExec={tool}-tool\n"
        write(machine, f"/{share}/applications/org.example.{tool}.desktop", text)
    nix = "export PATH=~/.nix/bin:$PATH XDG_DATA_DIRS=${XDG_DATA_DIRS:-/usr/local/share:/usr/share}:~/.nix/share\n"
    write(machine, "/etc/profile.d/nix.sh", nix)
    write(machine, "/home/user/.profile", "echo hello\nPATH=~/tools:$PATH\nsystemctl --user set-environment A=1\n")
    machine.root("chown", "-R", "user:user", "/home/user")
    wanted = {f"org.example.{tool}" for tool in ("own", "profile", "nix")}
    machine.wait("published", lambda: wanted <= {app["id"] for app in pair.stage.host_json("apps", "guest")})
    for application in wanted:
        pair.host("launch", "guest", application)
    machine.wait(
        "all run", lambda: machine.root("ls", *(f"/tmp/{name[12:]}-tool" for name in wanted)).returncode == 0
    )
    write(machine, "/etc/profile.d/nix.sh", "sleep 1000\n")
    machine.check_user("systemctl", "--user", "restart", "guestlink-garcon")
    machine.wait("it is registered", lambda: pair.status().startswith("registered with the host"))
    machine.root("rm", "-r", "/etc/profile.d/nix.sh", "/home/user/.profile", "/home/user/.local/bin")


def test_commands_wait_while_the_service_restarts(pair: Pair) -> None:
    machine, opened = pair.machine, pair.outside.opened
    machine.check_user("systemctl", "--user", "restart", "--no-block", "guestlink-garcon")
    for number in range(5):
        machine.check_user("xdg-open", f"https://example.org/restart-{number}")
    pair.stage.wait("the host opens all", lambda: opened.exists() and opened.read_text().count("/restart-") == 5)
    machine.check_user("systemctl", "--user", "stop", "guestlink-garcon")
    done = machine.user("guestlink", "status")
    machine.check_user("systemctl", "--user", "start", "guestlink-garcon")
    assert "garcon is not running" in done.stdout + done.stderr
    assert machine.user("x-terminal-emulator", "-e").stderr.startswith("garcon: -e needs a command")


def test_what_the_units_run_is_checked_by_the_containers_own_systemd(pair: Pair) -> None:
    for name in ("guestlink-garcon", "guestlink-sommelier@0", "guestlink-sommelier@1", "guestlink-sommelier-x@0"):
        done = pair.machine.user("systemd-analyze", "--user", "--man=no", "verify", f"{name}.service")
        said = [line for line in done.stderr.splitlines() if "guestlink" in line]
        assert done.returncode == 0, done.stderr
        assert not said, said


@pytest.mark.parametrize("unit", ["guestlink-garcon.service", "guestlink-sommelier@0.service"])
def test_a_hanging_daemon_is_restarted_by_the_watchdog(pair: Pair, unit: str) -> None:
    directory = f"/home/user/.config/systemd/user/{unit}.d"
    pair.machine.check_user(
        "sh", "-c", f"mkdir -p {directory}; printf '[Service]\\nWatchdogSec=2\\n' > {directory}/watchdog.conf"
    )
    write(pair.machine, "/home/user/.config/guestlink/guestlink.conf", "[sommelier]\nimplementation = guestlink\n")
    pair.machine.check_user("systemctl", "--user", "daemon-reload")
    pair.machine.check_user("systemctl", "--user", "restart", unit)

    def main_pid() -> str:
        return pair.machine.check_user("systemctl", "--user", "show", "-P", "MainPID", unit).strip()

    pair.stage.wait_registered()
    before = main_pid()
    pair.machine.root("kill", "-STOP", before)
    pair.machine.wait("systemd starts another one", lambda: main_pid() not in ("0", before))
    pair.machine.wait("it registers", lambda: pair.status().startswith("registered with the host"))
    pair.machine.root("rm", "-r", directory, "/home/user/.config/guestlink")
    pair.machine.check_user("systemctl", "--user", "daemon-reload")
    pair.machine.check_user("systemctl", "--user", "restart", unit)


def test_a_persons_environment_wins(pair: Pair) -> None:
    directory = "/home/user/.config/environment.d"
    pair.machine.check_user(
        "sh", "-c", f"mkdir -p {directory}; echo QT_QPA_PLATFORMTHEME=kde > {directory}/mine.conf"
    )
    pair.machine.check_user("systemctl", "--user", "daemon-reload")
    block = pair.machine.check_user("systemctl", "--user", "show-environment").splitlines()
    pair.machine.check_user("rm", "-r", directory)
    assert "QT_QPA_PLATFORMTHEME=kde" in block
    assert "BROWSER=/usr/bin/garcon-url-handler" in block


def test_the_hosts_own_proxy_runs_where_it_is_mounted(pair: Pair) -> None:
    """A script takes the place of ChromeOS's program: it prints its arguments, and behaves as described in
    chromeos-sommelier.md §2.4."""
    machine = pair.machine
    write(machine, f"{NATIVE_DIRECTORY}/bin/sommelier", NATIVE)
    machine.root("chmod", "755", f"{NATIVE_DIRECTORY}/bin/sommelier")
    units = [f"guestlink-sommelier{kind}@{number}" for kind in ("", "-x") for number in (0, 1)]
    machine.check_user("systemctl", "--user", "restart", *units)
    for unit in units:
        shown = machine.check_user("systemctl", "--user", "show", "-p", "ActiveState,WatchdogUSec", unit)
        assert "ActiveState=active" in shown, unit
        assert "WatchdogUSec=0" in shown, "the program gives no signs of life"
    block = machine.check_user("systemctl", "--user", "show-environment").splitlines()
    for line in (
        "WAYLAND_DISPLAY=wayland-0", "WAYLAND_DISPLAY_LOW_DENSITY=wayland-1", "DISPLAY=:0",
        "DISPLAY_LOW_DENSITY=:1", "XCURSOR_SIZE=24", "SOMMELIER_VERSION=native",
    ):  # fmt: skip
        assert line in block
    called = machine.root("cat", "/tmp/native-wayland-0", "/tmp/native-x-0").stdout
    assert "--parent --sd-notify=READY=1 --socket=wayland-0" in called
    assert "-X --x-display=0 --sd-notify=READY=1 --no-exit-with-child --x-auth=/home/user/.Xauthority" in called
    write(machine, "/home/user/.config/guestlink/guestlink.conf", "[sommelier]\nimplementation = guestlink\n")
    machine.check_user("systemctl", "--user", "restart", *units)
    for unit, state in zip(units, ("active", "active", "inactive", "inactive"), strict=True):
        assert machine.user("systemctl", "--user", "is-active", unit).stdout.strip() == state, unit
    status = pair.machine.check_user("guestlink", "status")
    assert "wayland-0: shows" in status
    log = machine.user("journalctl", "--user", "-o", "cat", "-u", "guestlink-sommelier-x@0").stdout
    assert "X11 programs need the X server" in log
    machine.root("rm", "-r", NATIVE_DIRECTORY, "/home/user/.config/guestlink")
    machine.check_user("systemctl", "--user", "unset-environment", "DISPLAY", "DISPLAY_LOW_DENSITY", "XCURSOR_SIZE")
    machine.check_user("systemctl", "--user", "restart", *units)


def test_a_window_of_the_container_is_shown_by_the_hosts_compositor(pair: Pair) -> None:
    """Without a proxy in the container, and with one when a setting needs it."""
    unit, settings = "guestlink-sommelier@0", "/home/user/.config/guestlink/guestlink.conf"
    for state, said in (
        ("inactive", "windows: programs use the host's socket themselves; a proxy on the host passes them on"),
        (
            "active",
            "windows: programs use a proxy here, because the setting title_prefix is set; a proxy on the host",
        ),
        ("inactive", "windows: programs use the host's socket themselves"),
    ):
        if state == "active":
            write(pair.machine, settings, "[sommelier]\ntitle_prefix = prefix\n")
        pair.machine.check_user("systemctl", "--user", "restart", unit)
        assert pair.machine.user("systemctl", "--user", "is-active", unit).stdout.strip() == state
        assert "WAYLAND_DISPLAY=wayland-0" in pair.machine.check_user("systemctl", "--user", "show-environment")
        assert said in pair.status()
        assert said in pair.machine.user("guestlink", "doctor").stdout
        pair.host("launch", "guest", "foot")
        pair.machine.wait("its window is shown", lambda: _shows_foot(pair))
        pair.machine.check_user("systemctl", "--user", "stop", "app-guestlink-foot@*.service")
        pair.machine.wait("its window has gone", lambda: not _shows_foot(pair))
        pair.machine.root("rm", "-f", settings)


def _shows_foot(pair: Pair) -> bool:
    return "guestlink-guest-foot" in [window["app_id"] for window in pair.compositor.windows()]


def test_links_open_on_the_host(pair: Pair) -> None:
    chosen = pair.machine.check_user("readlink", "-f", "/usr/bin/x-www-browser")
    assert chosen.strip() == "/usr/bin/garcon-url-handler"
    pair.machine.check_user("xdg-open", "https://example.org/from-a-container")
    opened = pair.outside.opened
    pair.stage.wait("the host opens it", lambda: opened.exists() and "from-a-container" in opened.read_text())


def test_an_upgrade_of_a_running_container_is_told_and_a_restart_keeps_it_registered(
    pair: Pair, packages: Path, tmp_path: Path
) -> None:
    machine, token = pair.machine, pair.outside.token
    newer = _with_version(packages, tmp_path, "0.1.0+newer")
    machine.root("mkdir", "-p", "/newer")
    for path in newer:
        machine.put(path, f"/newer/{path.name}")
    done = machine.root("sh", "-c", "dpkg -i /newer/*.deb")
    assert done.returncode == 0, done.stdout + done.stderr
    machine.wait("it is registered", lambda: pair.status().startswith("registered with the host"))
    running = json.loads(machine.check_user("guestlink", "status", "--json"))["version"]
    said = machine.user("guestlink", "doctor").stdout
    if running != "0.1.0+newer":
        assert f"garcon {running} still runs although 0.1.0+newer is installed" in said
    machine.check_user("systemctl", "--user", "daemon-reload")
    machine.check_user("systemctl", "--user", "restart", "guestlink-garcon")
    machine.wait("it is registered", lambda: pair.status().startswith("registered with the host"))
    assert json.loads(machine.check_user("guestlink", "status", "--json"))["version"] == "0.1.0+newer"
    assert pair.outside.token == token
    done = machine.root("sh", "-c", "dpkg -i --force-downgrade /packages/guestlink*.deb")
    assert done.returncode == 0, done.stderr
    machine.check_user("systemctl", "--user", "restart", "guestlink-garcon")


def _with_version(packages: Path, directory: Path, version: str) -> list[Path]:
    """Copies of the packages with another version number."""
    made = []
    for package in sorted(packages.glob("guestlink*.deb")):
        tree = directory / package.stem
        subprocess.run(["dpkg-deb", "-R", str(package), str(tree)], check=True, timeout=60)
        control = tree / "DEBIAN/control"
        old = re.search(r"^Version: (.*)$", control.read_text(), re.MULTILINE)
        assert old is not None
        text = control.read_text().replace(f"Version: {old[1]}\n", f"Version: {version}\n")
        control.write_text(text.replace(f"(= {old[1]})", f"(= {version})"))
        module = tree / "usr/share/guestlink/guestlink/__init__.py"
        if module.exists():
            module.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', module.read_text()))
        made.append(directory / f"{package.name.partition('_')[0]}_{version}_all.deb")
        subprocess.run(
            ["dpkg-deb", "-Znone", "--root-owner-group", "-b", str(tree), str(made[-1])], check=True, timeout=60
        )
    return made


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

"""Root attaches a container of LXC to a user's session, and runs nothing that the user's daemon says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guestlink.control import ControlClient, DaemonNotRunning
from guestlink.errors import GuestlinkError
from guestlink_host.managers import STOPPED, Instance, ManagerError, Mounts
from guestlink_host.managers.lxc import Lxc
from guestlink_host.session_directory import session_directory
from support.stage import CHECKOUT, LIMIT

DESKTOP, STRANGER = 4501, 4600
"""Ids of the desktop's user and of another one."""
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="root attaches containers of LXC")

_INFO = 'case " $* " in *" -s "*) echo STOPPED ;; *" lxc.idmap "*) echo "lxc.idmap = u 0 300000 65536" ;; esac'


class Machine:
    """LXC with the stopped container ``work``, and a session's directory of the desktop's user."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.chmod(0o755)
        self.lxc = root / "lxc"
        self.container = self.lxc / "work"
        self.container.mkdir(parents=True)
        (self.container / "config").write_text("lxc.uts.name = work\n")
        self.programs = root / "bin"
        self.programs.mkdir()
        self.program("lxc-info", _INFO)
        self.program("lxc-config", f"echo {self.lxc}")
        self.program("guestlink-host", f'exec {sys.executable} -m guestlink_host "$@"')
        self.session = self.of_desktop(root / "session")
        self.home = self.of_desktop(root / "home")
        self.daemon: subprocess.Popen[bytes] | None = None

    def program(self, name: str, script: str) -> None:
        """Install a stand-in for a program."""
        (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / name).chmod(0o755)

    def of_desktop(self, path: Path, uid: int = DESKTOP) -> Path:
        """Make a private directory of a user."""
        path.mkdir(mode=0o700, parents=True)
        os.chown(path, uid, uid)
        return path

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(str(CHECKOUT / part) for part in ("lib", "host")),
            "LANG": "C.UTF-8",
        }

    def start_daemon(self) -> None:
        """Start the user's guestlink-host."""
        environ = {"XDG_RUNTIME_DIR": str(self.session), "HOME": str(self.home), "GUESTLINK_HOST_MANAGERS": "none"}
        with (self.root / "log").open("wb") as log:
            self.daemon = subprocess.Popen(
                [sys.executable, "-m", "guestlink_host", "serve"],
                env=self.environ | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=DESKTOP,
                group=DESKTOP,
                extra_groups=[],
            )
        client = ControlClient(self.session / "guestlink-host/control.sock", server=DESKTOP)
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                client.call("list")
                return
            except DaemonNotRunning:
                assert self.daemon.poll() is None, (self.root / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def types(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line of the documentation in the user's shell; ``sudo`` empties the environment, as sudo does."""
        kept = " ".join(f'{name}="{value}"' for name, value in self.environ.items())
        self.program("sudo", f'exec env -i HOME=/root {kept} "$@"')
        environ = self.environ | {"XDG_RUNTIME_DIR": str(self.session)}
        return subprocess.run(
            ["sh", "-c", line], env=environ, capture_output=True, text=True, check=False, timeout=LIMIT
        )

    def mounts(self, name: str = "work") -> Mounts:
        """What the user's daemon makes for a container."""
        run = self.session / "guestlink-host"
        for directory in (run, run / "containers", run / "containers" / name, run / "tokens"):
            if not directory.exists():
                self.of_desktop(directory)
        token = run / "tokens" / name
        token.write_text("token")
        os.chown(token, DESKTOP, DESKTOP)
        return Mounts(run / "containers" / name, token)

    def attach(self, mounts: Mounts, name: str = "work") -> str:
        """Attach a container as root; returns the hook."""
        Lxc(self.lxc).attach(Instance("lxc", str(self.lxc), name, STOPPED), mounts)
        return (self.lxc / name / "guestlink-hook").read_text()

    def close(self) -> None:
        """Stop the daemon."""
        if self.daemon is not None:
            self.daemon.terminate()
            self.daemon.wait(LIMIT)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    root = Path(tempfile.mkdtemp(prefix="glh-"))  # where another user may enter
    made = Machine(root)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(made.session))
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(root)


def _documented() -> str:
    page = (CHECKOUT / "docs/host.md").read_text()
    [line] = re.findall(r"^sudo .*guestlink-host attach work$", page, re.MULTILINE)
    return str(line)


def test_the_documented_command_attaches_roots_container_to_the_users_session(machine: Machine) -> None:
    machine.start_daemon()
    done = machine.types(_documented())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("work is attached")
    run = machine.session / "guestlink-host"
    hook = (machine.container / "guestlink-hook").read_text()
    assert f"show {run}/containers/work /run/guestlink-lxc/work/directory\n" in hook
    assert f"show {run}/tokens/work /run/guestlink-lxc/work/token\n" in hook
    assert f"= {DESKTOP} ]" in hook
    assert "guestlink.conf" in (machine.container / "config").read_text()
    foreign = [path for path in machine.session.rglob("*") if path.lstat().st_uid != DESKTOP]
    assert foreign == []
    done = machine.types(_documented().replace("attach", "detach"))
    assert done.returncode == 0, done.stderr
    assert (machine.container / "config").read_text() == "lxc.uts.name = work\n"


def test_without_a_daemon_the_documented_command_says_so_and_makes_nothing(machine: Machine) -> None:
    done = machine.types(_documented())
    assert done.returncode != 0
    assert "guestlink-host is not running" in done.stderr
    assert list(machine.session.iterdir()) == []


def test_root_quotes_the_sessions_path_in_each_line_of_the_hook(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.session = machine.of_desktop(machine.root / "it's $(id); #")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(machine.session))
    monkeypatch.setenv("PATH", machine.environ["PATH"])
    mounts = machine.mounts()
    hook = machine.attach(mounts)
    assert subprocess.run(["sh", "-n"], input=hook, text=True, check=False).returncode == 0
    lines = [line for line in hook.splitlines() if str(machine.root) in line]
    assert len(lines) == 3
    for line in lines:
        assert shlex.split(line)[2 if line.startswith("#") else 1] in map(str, mounts[:2])
    [attached] = Lxc(machine.lxc).instances()
    assert attached.directory == mounts.directory


def _newline(machine: Machine, mounts: Mounts) -> Mounts:
    path = machine.of_desktop(Path(f"{mounts.directory}\ntouch {machine.root}/owned\n#"))
    return mounts._replace(directory=path)


def _elsewhere(machine: Machine, mounts: Mounts) -> Mounts:
    return mounts._replace(directory=machine.of_desktop(machine.session / "elsewhere"))


def _another_containers(machine: Machine, mounts: Mounts) -> Mounts:
    return mounts._replace(directory=machine.mounts("other").directory)


def _dots(machine: Machine, mounts: Mounts) -> Mounts:
    return mounts._replace(directory=Path(f"{mounts.directory}/../work"))


def _link(machine: Machine, mounts: Mounts) -> Mounts:
    mounts.directory.rmdir()
    mounts.directory.symlink_to("/etc")
    return mounts


def _directory_of_another_user(machine: Machine, mounts: Mounts) -> Mounts:
    os.chown(mounts.directory, STRANGER, STRANGER)
    return mounts


def _token_link(machine: Machine, mounts: Mounts) -> Mounts:
    mounts.token.unlink()
    mounts.token.symlink_to("/etc/shadow")
    return mounts


def _foreign_token(machine: Machine, mounts: Mounts) -> Mounts:
    return mounts._replace(token=Path("/etc/shadow"))


def _disk(machine: Machine, mounts: Mounts) -> Mounts:
    return mounts._replace(devices=[Path("/dev/null")])


def _node_with_a_line(machine: Machine, mounts: Mounts) -> Mounts:
    return mounts._replace(devices=[Path("/dev/dri/x none bind\nlxc.hook.start-host = /bin/x")])


@pytest.mark.parametrize(
    "attack",
    [
        _newline,
        _elsewhere,
        _another_containers,
        _dots,
        _link,
        _directory_of_another_user,
        _token_link,
        _foreign_token,
        _disk,
        _node_with_a_line,
    ],
)
def test_root_refuses_what_no_daemon_of_this_session_makes(
    machine: Machine, attack: Callable[[Machine, Mounts], Mounts]
) -> None:
    mounts = attack(machine, machine.mounts())
    with pytest.raises(ManagerError, match="LXC's hook and configuration cannot have") as refused:
        machine.attach(mounts)
    assert "\n" not in refused.value.message
    assert [path.name for path in machine.container.iterdir()] == ["config"]


@pytest.mark.parametrize("name", ["a b", "a\nb", "a;b", "$(id)", "../work"])
def test_root_refuses_a_containers_name_that_is_code(machine: Machine, name: str) -> None:
    with pytest.raises(ManagerError, match="the container's name"):
        machine.attach(machine.mounts(), name)


@pytest.mark.parametrize("part", ["a b", "a\nb", "a;b", "$(id)", "'"])
def test_root_refuses_a_directory_of_lxc_that_is_code(machine: Machine, part: str) -> None:
    machine.lxc = machine.lxc / part
    (machine.lxc / "work").mkdir(parents=True)
    with pytest.raises(ManagerError, match="LXC's directory"):
        machine.attach(machine.mounts())


def test_root_follows_no_link_to_a_session(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    link = machine.root / "link"
    link.symlink_to(machine.session)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(link))
    with pytest.raises(GuestlinkError, match="root does not follow links"):
        session_directory()


def test_root_enters_no_directory_of_another_user_in_a_session(machine: Machine) -> None:
    machine.of_desktop(machine.session / "guestlink-host", STRANGER)
    with pytest.raises(GuestlinkError, match=f"not a directory of the user {DESKTOP}"):
        session_directory()


def test_root_talks_to_no_daemon_of_another_user(machine: Machine) -> None:
    machine.mounts()
    path = session_directory().control_socket
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)  # Root connects as the session's user.
        listener.listen()  # as root, who is not the session's user
        with pytest.raises(GuestlinkError, match=f"served by the user 0 instead of {DESKTOP}"):
            ControlClient(path, server=DESKTOP).call("list")

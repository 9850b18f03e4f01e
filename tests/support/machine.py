"""System containers with systemd as PID 1: built with mmdebstrap, booted with systemd-nspawn. Needs root.

A root file system is built once per list of packages and cached below ``.cache``; a machine that boots from it
writes to memory only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import psutil

from support.parallel import locked
from support.stage import CHECKOUT

LIMIT = 60.0
USER, UID = "user", 1000
MINIMAL = "apt,init-system-helpers,passwd,python3-minimal,systemd"
"""The packages of a container without Guestlink's dependencies."""
_BASE = (
    "apt,systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,procps,python3,python3-grpcio,python3-protobuf,"
    "python3-watchdog,python3-xdg,python3-psutil,python3-sdnotify,python3-dbus-fast,xdg-utils,desktop-file-utils,"
    "shared-mime-info,foot,fonts-dejavu-core"
)
"""The dependencies of our packages, a terminal and a font."""
_MASKED = (
    "sys-kernel-debug.mount",
    "systemd-binfmt.service",
    "proc-sys-fs-binfmt_misc.automount",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "systemd-timesyncd.service",
)
"""Units to mask: they cannot work in a container or only cost time."""


class MachineError(AssertionError):
    """The machine exited, or a condition did not hold in time."""


def missing_tools() -> list[str]:
    """The programs that booting containers needs and this machine lacks."""
    tools = [tool for tool in ("mmdebstrap", "systemd-nspawn", "nsenter", "setpriv") if shutil.which(tool) is None]
    return tools + (["root"] if os.getuid() != 0 else [])


def build_rootfs(suite: str, extra: str = "", *, base: str = _BASE, user: bool = True) -> Path:
    """Build a Debian root file system, or return the cached one.

    mmdebstrap builds one with :data:`MINIMAL` per suite. The others are copies of that one, or of another copy,
    into which apt installs the other packages. Processes that want the same root file system wait for the first.

    :param extra: comma-separated packages, besides the base.
    :param base: comma-separated packages: garcon's dependencies, or :data:`MINIMAL`.
    :param user: whether to create a lingering user.
    """
    packages = sorted({*base.split(","), *extra.split(",")} - {""})
    digest = hashlib.sha256(" ".join([*packages, f"user={user}"]).encode()).hexdigest()[:12]
    root = CHECKOUT / ".cache" / f"rootfs-{suite}-{digest}"
    with locked(root.with_suffix(".lock")):
        if root.exists():
            return root
        building = root.with_suffix(".new")
        shutil.rmtree(building, ignore_errors=True)
        if extra or user:
            _copy(build_rootfs(suite, base=base, user=False), building)
        elif base != MINIMAL:
            _copy(build_rootfs(suite, base=MINIMAL, user=False), building)
        else:
            _bootstrap(suite, building)
        if packages != MINIMAL.split(","):
            _install(building, packages)
        if user:
            _add_user(building)
        building.rename(root)
    return root


def _copy(source: Path, target: Path) -> None:
    # -x: a killed process may have left a /proc mounted in the source, and copying that never ends.
    subprocess.run(["cp", "-ax", "--reflink=auto", str(source), str(target)], check=True, timeout=900)


def _bootstrap(suite: str, target: Path) -> None:
    options = ["--aptopt=APT::Install-Recommends false", '--aptopt=Acquire::Languages "none"']
    options += ["--dpkgopt=force-unsafe-io", "--skip=cleanup/apt/lists", "--variant=minbase"]
    target.mkdir(parents=True)
    # An archive, because mmdebstrap may leave its /proc mounted in a directory.
    archive = target.with_suffix(".tar")
    subprocess.run(
        ["mmdebstrap", *options, f"--include={MINIMAL}", suite, str(archive)],
        check=True,
        timeout=900,
        capture_output=True,
    )
    subprocess.run(["tar", "-C", str(target), "--numeric-owner", "-xpf", str(archive)], check=True, timeout=900)
    archive.unlink()
    for unit in _MASKED:
        (target / "etc/systemd/system" / unit).symlink_to("/dev/null")
    (target / "etc/machine-id").write_text("")


def _install(root: Path, packages: Sequence[str]) -> None:
    """Install packages into a root file system that is not running, with its own apt; apt starts no service."""
    resolver, policy = root / "etc/resolv.conf", root / "usr/sbin/policy-rc.d"
    before = resolver.read_bytes()
    resolver.write_bytes(Path("/etc/resolv.conf").read_bytes())
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    script = 'apt-get -qq update && apt-get -qq install -y "$@" && apt-get clean'
    inside = ["chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"]
    done = subprocess.run(
        [*inside, "sh", "-ec", script, "sh", *packages],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    policy.unlink()
    resolver.write_bytes(before)
    if done.returncode != 0:
        raise MachineError(f"apt in {root}: {done.stdout[-3000:]}{done.stderr[-3000:]}")


def _add_user(root: Path) -> None:
    words = ["chroot", str(root), "useradd", "-m", "-u", str(UID), "-s", "/bin/bash", USER]
    subprocess.run(words, check=True, timeout=60)
    linger = root / "var/lib/systemd/linger"
    linger.mkdir(parents=True, exist_ok=True)
    (linger / USER).touch()


def install_packages(root: Path, packages: Path) -> None:
    """Install all of our packages into a root file system that is not running.

    :param root: the root file system: a copy, because this function changes it.
    :raises MachineError: dpkg fails.
    """
    target = root / "packages"
    shutil.copytree(packages, target)
    words = ["chroot", str(root), "sh", "-c", "dpkg -i /packages/guestlink*.deb"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    shutil.rmtree(target)
    if done.returncode != 0:
        raise MachineError(done.stdout + done.stderr)


class Booted:
    """A container with systemd as PID 1, seen from the machine."""

    def root(self, *argv: str, timeout: float = LIMIT) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root."""
        raise NotImplementedError

    def died(self) -> str:
        """The reason why waiting is useless; ``""`` while the container runs."""
        return ""

    def user(self, *argv: str, timeout: float = LIMIT) -> subprocess.CompletedProcess[str]:
        """Run a command inside as the user, with the variables of a login session."""
        runtime = f"/run/user/{UID}"
        session = [f"HOME=/home/{USER}", f"USER={USER}", f"XDG_RUNTIME_DIR={runtime}"]
        session.append(f"DBUS_SESSION_BUS_ADDRESS=unix:path={runtime}/bus")
        become = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--init-groups", "env", *session]
        return self.root(*become, *argv, timeout=timeout)

    def check_user(self, *argv: str) -> str:
        """Like :meth:`user`, for commands that must succeed; returns their output."""
        done = self.user(*argv)
        if done.returncode != 0:
            raise MachineError(f"{' '.join(argv)}: {done.stdout}{done.stderr}\n{self.journal()}")
        return done.stdout

    def wait(self, what: str, condition: Callable[[], object]) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + LIMIT
        while True:
            asked = time.monotonic()
            if condition():
                return
            reason = self.died()
            if reason or time.monotonic() > deadline:
                raise MachineError(f"it did not happen: {what}\n{reason}\n{self.journal()}")
            # A condition that took long has slowed down the container, so pause for as long.
            time.sleep(max(0.05, time.monotonic() - asked))

    def journal(self) -> str:
        """The end of the journal."""
        return self.root("journalctl", "-b", "--no-pager", "-n", "60").stdout


class Machine(Booted):
    """A booted container of systemd-nspawn.

    :param root: the container's root file system, which stays unchanged.
    :param arguments: more switches for systemd-nspawn.
    """

    def __init__(self, root: Path, arguments: Sequence[str] = ()) -> None:
        self._root = root
        self._arguments = list(arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch = Path(tempfile.mkdtemp(prefix="guestlink-machine-"))
        self._name = f"guestlink-{uuid.uuid4().hex[:8]}"
        self._groups: list[Path] = []
        self._leader = 0

    def __enter__(self) -> Machine:
        # Otherwise containers that start from the same control group would share the groups that systemd creates.
        for hierarchy in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup"):
            if Path(hierarchy, "cgroup.procs").exists():
                group = Path(hierarchy, self._name)
                group.mkdir()
                self._groups.append(group)
        enter = "".join(f"echo $$ > {group}/cgroup.procs; " for group in self._groups)
        with open(self._scratch / "console", "wb") as console:
            self._process = subprocess.Popen(
                ["sh", "-c", f'{enter}exec "$@"', "sh", *self._command()],
                env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        try:
            self.wait("systemd runs", self._find_leader)
            self.wait("the user manager runs", lambda: self.user("systemctl", "--user", "status").returncode == 0)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _command(self) -> list[str]:
        """The command that boots the container in the foreground."""
        argv = ["systemd-nspawn", f"--directory={self._root}", "--boot", "--volatile=overlay", "--register=no"]
        argv += ["--keep-unit", f"--machine={self._name}", "--private-network", "--console=read-only"]
        return argv + self._arguments

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._leader and self._process.poll() is None:
            self.root("systemctl", "poweroff")
        try:
            self._process.wait(LIMIT if self._leader else 0)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        for group in self._groups:
            _end(group)
        shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def root_directory(self) -> Path:
        """The container's root file system as mounted inside, seen from the machine."""
        return Path(f"/proc/{self._leader}/root")

    @property
    def beside(self) -> tuple[str, ...]:
        """A command prefix for this machine's programs that work on :attr:`root_directory`: systemd inside answers
        only processes that it can see."""
        return ("nsenter", "-t", str(self._leader), "--pid", "--")

    def root(self, *argv: str, timeout: float = LIMIT) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root."""
        entered = ["nsenter", "-t", str(self._leader), "-a", "--", "env", "-i"]
        environ = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        return subprocess.run(
            [*entered, *environ, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def put(self, path: Path, inside: str) -> None:
        """Copy a file into the container; root owns the copy."""
        with path.open("rb") as stream:
            subprocess.run(
                ["nsenter", "-t", str(self._leader), "-a", "--", "sh", "-c", 'cat > "$0"', inside],
                stdin=stream,
                check=True,
                timeout=LIMIT,
            )

    def died(self) -> str:
        """The console's output, if the container has exited."""
        assert self._process is not None
        ended = self._process.poll() is not None
        return (self._scratch / "console").read_text(errors="replace")[-3000:] if ended else ""

    def journal(self) -> str:
        """The end of the journal."""
        return super().journal() if self._leader else ""

    def _find_leader(self) -> bool:
        assert self._process is not None
        for child in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # nspawn's helpers come and go
                if child.name() == "systemd" and child.ppid() != 1:
                    self._leader = child.pid
                    return self.root("systemctl", "is-active", "-q", f"user@{UID}.service").returncode == 0
        return False


def _end(group: Path) -> None:
    """Remove a control group and its descendants, and kill the processes in them."""
    deadline = time.monotonic() + LIMIT
    while group.exists():
        for path in sorted([group, *(path for path in group.rglob("*") if path.is_dir())], reverse=True):
            try:
                for pid in (path / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
                path.rmdir()
            except OSError:  # The killed processes take a moment to exit.
                if time.monotonic() > deadline:
                    raise
        time.sleep(0.02)


class UnprivilegedMachine(Machine):
    """A container of plain LXC whose root is an unprivileged user on the machine; the user's uid is the same on
    both sides, as on a Chromebook.

    :param root: the container's root file system: a copy, because LXC changes it.
    :param mounts: the bind mounts: path on the machine, path inside.
    """

    def __init__(self, root: Path, mounts: Sequence[tuple[Path, str]] = ()) -> None:
        super().__init__(root)
        self._mounts = list(mounts)

    def outside(self, path: str) -> Path:
        """The path on the machine of a file inside, outside of file systems that the container mounts."""
        return Path(f"{self._root}{path}")

    def _command(self) -> list[str]:
        maps = [(0, 1000000, UID), (UID, UID, 1), (UID + 1, 1000000 + UID + 1, 65535 - UID)]
        lines = [
            "lxc.include = /usr/share/lxc/config/common.conf",
            "lxc.include = /usr/share/lxc/config/userns.conf",
        ]
        lines += [
            f"lxc.idmap = {kind} {inside} {outside} {count}" for kind in "ug" for inside, outside, count in maps
        ]
        lines += [f"lxc.rootfs.path = dir:{self._root}", "lxc.rootfs.options = idmap=container"]
        lines += [f"lxc.uts.name = {self._name}", "lxc.apparmor.profile = unconfined", "lxc.net.0.type = empty"]
        for outside, inside in self._mounts:
            kind = "dir" if outside.is_dir() else "file"
            lines.append(f"lxc.mount.entry = {outside} {inside.lstrip('/')} none bind,ro,create={kind} 0 0")
        (self._scratch / self._name).mkdir()
        (self._scratch / self._name / "config").write_text("\n".join(lines) + "\n")
        subordinate = self._scratch / "subordinate"
        subordinate.write_text("".join(f"root:{outside}:{count}\n" for _, outside, count in maps))
        self._scratch.chmod(0o755)
        # This delegates root's subordinate ids to this container only, not to the whole machine.
        script = 'mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && exec "$@"'
        words = ["lxc-start", "-P", str(self._scratch), "-n", self._name, "-F", "-o", str(self._scratch / "log")]
        return ["unshare", "-m", "--propagation", "private", "sh", "-c", script, str(subordinate), *words]

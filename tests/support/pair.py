"""A host with a headless desktop, and a booted container that the host knows as ``guest``."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.compositor import Compositor
from support.machine import UID, Machine, UnprivilegedMachine, build_rootfs, install_packages, missing_tools
from support.needs import absent
from support.stage import Stage

CARRIED = "/dev/.guestlink"
TOKEN = "/dev/.container_token"
SUITES = ("bookworm", "trixie")


class Outside:
    """The host's side.

    :ivar carried: the directory that the container mounts.
    :ivar opened: a file with a line for each URL that the host opened.
    """

    def __init__(self, stage: Stage, compositor: Compositor) -> None:
        self.stage = stage
        self.compositor = compositor
        self.carried = stage.root / "host/run/guestlink-host/containers/guest"
        self.opened = stage.root / "opened"

    def host(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of guestlink-host."""
        return self.stage.host(*words, check=check)

    @property
    def token(self) -> str:
        """The container's current token."""
        return (self.carried / "token").read_text()


class Pair:
    """Both sides."""

    def __init__(self, outside: Outside, machine: Machine) -> None:
        self.outside = outside
        self.stage = outside.stage
        self.compositor = outside.compositor
        self.host = outside.host
        self.machine = machine

    def status(self) -> str:
        """The output of ``guestlink status`` for the container's user."""
        return self.machine.user("guestlink", "status").stdout.strip()


@contextmanager
def outside() -> Iterator[Outside]:
    """A host that has added a container which is not running yet."""
    if missing := missing_tools():
        absent(f"a system container needs {', '.join(missing)}")
    stage = Stage("guest", as_uid=UID)
    try:
        with Compositor(stage.root / "compositor") as compositor:
            made = Outside(stage, compositor)
            stage.host_environ |= compositor.environ
            opener = stage.root / "opener"
            opener.write_text(f'#!/bin/sh\necho "$1" >> {made.opened}\n')
            opener.chmod(0o755)
            stage.host_environ["GUESTLINK_HOST_OPENER"] = str(opener)
            stage.start_host()
            stage.host("add", "guest")
            yield made
    finally:
        stage.close()


def guest_rootfs(suite: str, extra: str = "") -> Path:
    """The containers' root file system: the dependencies of our packages, a terminal and fonts.

    :param extra: comma-separated packages besides these.
    """
    return build_rootfs(suite, extra)


@contextmanager
def booted_pair(suite: str, packages: Path, extra: str = "") -> Iterator[Pair]:
    """A container of systemd-nspawn; dpkg installs the packages while it runs.

    :param extra: as for :func:`guest_rootfs`.
    """
    with outside() as made:
        binds = [f"--bind-ro={made.carried}:{CARRIED}", f"--bind-ro={made.carried}/token:{TOKEN}"]
        binds.append(f"--bind-ro={packages}:/packages")
        with Machine(guest_rootfs(suite, extra), binds) as machine:
            yield Pair(made, machine)


@contextmanager
def unprivileged_pair(suite: str, packages: Path) -> Iterator[Pair]:
    """An unprivileged container of LXC that boots with the packages installed."""
    with outside() as made:
        directory = Path(tempfile.mkdtemp(prefix="guestlink-", dir="/var/tmp"))
        directory.chmod(0o755)
        try:
            root = directory / "root"
            # A copy, because an overlay mount cannot be shifted to other ids.
            subprocess.run(
                ["cp", "-ax", "--reflink=auto", str(guest_rootfs(suite)), str(root)], check=True, timeout=300
            )
            install_packages(root, packages)
            with UnprivilegedMachine(root, [(made.carried, CARRIED), (made.carried / "token", TOKEN)]) as machine:
                yield Pair(made, machine)
        finally:
            shutil.rmtree(directory)


def write(machine: Machine, path: str, text: str) -> None:
    """Write a file inside the container as root."""
    machine.root("sh", "-c", 'mkdir -p "${0%/*}"; printf "%s" "$1" > "$0"', path, text)

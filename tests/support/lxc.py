"""An unprivileged container of plain LXC, without a daemon or network. Needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from support.machine import LIMIT, Booted

_IDS = (1000000, 1000000000)
"""Ids for containers on a machine where root has none: the first id, and their number."""
_CONFIG = """\
lxc.include = /usr/share/lxc/config/common.conf
lxc.include = /usr/share/lxc/config/userns.conf
lxc.idmap = u 0 {first} 65536
lxc.idmap = g 0 {first} 65536
lxc.rootfs.path = dir:{root}
lxc.rootfs.options = idmap=container
lxc.uts.name = {name}
lxc.apparmor.profile = unconfined
lxc.net.0.type = empty
"""


def missing_tools() -> list[str]:
    """The programs that LXC needs and this machine lacks."""
    tools = [tool for tool in ("lxc-start", "lxc-attach", "lxc-info", "setpriv") if shutil.which(tool) is None]
    return tools + (["root"] if os.getuid() != 0 else [])


@contextmanager
def root_ids() -> Iterator[int]:
    """Let root delegate ids to containers inside this block; yields the first id."""
    files = {
        path: path.read_bytes() if path.exists() else b"" for path in (Path("/etc/subuid"), Path("/etc/subgid"))
    }
    lines = [line.split(":") for line in files[Path("/etc/subuid")].decode().splitlines()]
    known = [int(line[1]) for line in lines if line[0] == "root"]
    try:
        if not known:
            for path, content in files.items():
                path.write_bytes(content + b"root:%d:%d\n" % _IDS)
        yield known[0] if known else _IDS[0]
    finally:
        if not known:
            for path, content in files.items():
                path.write_bytes(content)


class LxcContainer(Booted):
    """A container that is not running yet.

    :param directory: LXC's directory, where the container is created; every user can enter it and its parents.
    :param root: the container's root file system: a copy, because LXC changes it.
    :param first: the id on this machine of the container's root.
    """

    def __init__(self, directory: Path, name: str, root: Path, first: int) -> None:
        self.directory = directory
        self.name = name
        self.config = directory / name / "config"
        self.config.parent.mkdir()
        self.config.write_text(_CONFIG.format(first=first, root=root, name=name))

    def __enter__(self) -> LxcContainer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lxc("lxc-stop", "-k")

    def lxc(self, program: str, *words: str, timeout: float = LIMIT) -> subprocess.CompletedProcess[str]:
        """Run one of LXC's commands on the container."""
        return subprocess.run(
            [program, "-P", str(self.directory), "-n", self.name, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def root(self, *argv: str, timeout: float = LIMIT) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root."""
        environ = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        return self.lxc("lxc-attach", "--clear-env", "--", "env", *environ, *argv, timeout=timeout)

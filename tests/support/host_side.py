"""The host's side of one container, from which other projects' programs reach the container."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.stage import LIMIT, Stage, stage


@contextmanager
def reachable_container(name: str, *, known: str = "username") -> Iterator[Stage]:
    """A host and a container that the host can call.

    :param known: the field of ``guestlink-host list --json`` that the container has sent once it can be called.
    """
    with stage(name) as made:
        made.start_host()
        made.host("add", name)
        made.start_garcon()
        made.wait_registered()
        made.wait("the container can be called", lambda: made.host_json("list")[0][known])
        yield made


class HostSide:
    """Runs programs on the host, in a folder of their own.

    :ivar here: the folder.
    :ivar environ: the programs' variables.
    """

    def __init__(self, running: Stage) -> None:
        self.stage = running
        self.here = running.root / "here"
        self.here.mkdir(exist_ok=True)
        self.environ = dict(running.host_environ)

    def add_picture(self, size: int) -> None:
        """Write random bytes to ``picture``, the file that programs copy."""
        (self.here / "picture").write_bytes(os.urandom(size))

    def same(self, *paths: Path) -> bool:
        """Whether each file has the content of ``picture``."""
        return {_digest(path) for path in paths} == {_digest(self.here / "picture")}

    def run(
        self, *argv: str | bytes, status: int = 0, stdin: bytes = b"", **more: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program, which must end with this status.

        :param more: variables besides :attr:`environ`.
        """
        done = subprocess.run(
            argv,
            env=self.environ | more,
            input=stdin,
            capture_output=True,
            timeout=LIMIT,
            cwd=self.here,
            check=False,
        )
        said = (
            f"{shlex.join(map(os.fsdecode, argv))} ended with {done.returncode}\n{done.stdout!r}\n{done.stderr!r}"
        )
        assert done.returncode == status, f"{said}\n{self.stage.logs()}"
        return done


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()

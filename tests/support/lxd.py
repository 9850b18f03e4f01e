"""A private LXD daemon with images of our root file systems. Needs root; no systemd, no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from support.lxc import root_ids
from support.machine import LIMIT, UID, Booted

_PRESEED = """\
storage_pools:
- {name: default, driver: dir}
profiles:
- name: default
  devices:
    root: {path: /, pool: default, type: disk}
"""
_IMAGE = "guest"


class LxdError(AssertionError):
    """LXD did not do what was asked of it."""


def missing_tools() -> list[str]:
    """What this machine lacks to run LXD."""
    tools = [tool for tool in ("lxd", "lxc", "mksquashfs", "setpriv") if shutil.which(tool) is None]
    return tools + (["root"] if os.getuid() != 0 else [])


class Lxd:
    """A running daemon with one image.

    :param root: the root file system of the image.
    :ivar environ: what its clients need.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._directory = Path(tempfile.mkdtemp(prefix="glxd-"))
        self.environ = {"LXD_DIR": str(self._directory)}
        self._process: subprocess.Popen[bytes] | None = None
        self._ids = root_ids()

    def __enter__(self) -> Lxd:
        self._ids.__enter__()
        self._directory.chmod(0o711)
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                ["lxd", "--group", "root"],
                env=os.environ | self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._run(["lxd", "waitready", "--timeout", "60"])
            self._run(["lxd", "init", "--preseed"], _PRESEED)
            self._import_image()
            # The desktop's user stands for a member of LXD's group.
            os.chown(self._directory / "unix.socket", UID, 0)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            names = self.client("list", "-f", "csv", "-c", "n", check=False).stdout.split()
            if names:
                self.client("delete", "-f", *names, check=False)
            self._run(["lxd", "shutdown", "--timeout", "30"], check=False)
            try:
                self._process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for name in ("shmounts", "devlxd"):
            subprocess.run(["umount", "-l", str(self._directory / name)], check=False, capture_output=True)
        self._ids.__exit__(None, None, None)
        shutil.rmtree(self._directory, ignore_errors=True)
        self._log.unlink(missing_ok=True)

    @property
    def _log(self) -> Path:
        return self._directory.with_suffix(".log")

    def client(self, *words: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run ``lxc``."""
        return self._run(["lxc", *words], check=check, timeout=timeout)

    def devices(self, name: str) -> dict[str, dict[str, str]]:
        """The devices that an instance has besides its profiles'."""
        found: dict[str, dict[str, str]] = self.instance(name)["devices"]
        return found

    def instance(self, name: str) -> dict[str, Any]:
        """An instance as the interface shows it."""
        return dict(json.loads(self.client("query", f"/1.0/instances/{name}").stdout))

    def launch(self, name: str, *words: str) -> LxdContainer:
        """Start a new container and wait for its user manager."""
        self.client("-q", "launch", _IMAGE, name, *words)
        container = LxdContainer(self, name)
        container.wait_booted()
        return container

    def _import_image(self) -> None:
        scratch = Path(tempfile.mkdtemp(prefix="glxd-image-"))
        try:
            metadata = scratch / "metadata.yaml"
            metadata.write_text("architecture: x86_64\ncreation_date: 1700000000\nproperties: {os: guest}\n")
            with tarfile.open(scratch / "metadata.tar.gz", "w:gz") as archive:
                archive.add(metadata, "metadata.yaml")
            squashed = scratch / "rootfs.squashfs"
            fast = ["-noappend", "-comp", "zstd", "-Xcompression-level", "1", "-quiet", "-no-progress"]
            self._run(["mksquashfs", str(self._root), str(squashed), *fast])
            self.client("-q", "image", "import", str(scratch / "metadata.tar.gz"), str(squashed), "--alias", _IMAGE)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _run(
        self, argv: list[str], stdin: str = "", *, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            argv,
            env=os.environ | self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            log = self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""
            raise LxdError(f"{' '.join(argv)}: {done.stdout}{done.stderr}\n{log}")
        return done


class LxdContainer(Booted):
    """A container of it."""

    def __init__(self, lxd: Lxd, name: str) -> None:
        self._lxd = lxd
        self.name = name

    def root(self, *argv: str, timeout: float = LIMIT) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root."""
        return self._lxd.client("exec", self.name, "--", *argv, check=False, timeout=timeout)

    def wait_booted(self) -> None:
        """Wait for the user manager."""
        self.wait("the user manager runs", lambda: self.user("systemctl", "--user", "status").returncode == 0)

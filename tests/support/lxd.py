"""Private LXD and Incus daemons with images of our root file systems. Needs root; no systemd, no network.

The Incus daemon runs in a root file system of Debian 13, in its own mount namespace, so the machine's distribution
need not have Incus. Its client needs only a C library and runs on this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from support import debian_13
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
GUEST = "guest"
"""The image of a new container unless the caller passes another."""


class LxdError(AssertionError):
    """A command of the daemon failed, or a condition did not hold in time."""


class Image(NamedTuple):
    """The parts of an image.

    :ivar root: its root file system.
    :ivar templates: files that the daemon writes into each new container, in the daemon's template language.
    """

    root: Path
    templates: Mapping[str, str] = {}


class Lxd:
    """A running daemon.

    :param images: its images.
    :ivar environ: the environment of the daemon's clients.
    """

    kind = "lxd"
    title = "LXD"
    tools: Sequence[str] = ("lxd", "lxc", "dnsmasq", "nft", "mksquashfs", "setpriv")
    """The programs that this manager needs."""

    def __init__(self, images: Mapping[str, Image]) -> None:
        self._images = images
        self._directory = Path(tempfile.mkdtemp(prefix="glxd-"))
        self.environ = {"LXD_DIR": str(self._directory)}
        self._process: subprocess.Popen[bytes] | None = None
        self._ids = root_ids()

    @classmethod
    def missing_tools(cls) -> list[str]:
        """The programs that the manager needs and this machine lacks."""
        missing = [tool for tool in cls.tools if shutil.which(tool) is None]
        return missing + (["root"] if os.getuid() != 0 else [])

    def _serve(self) -> list[str]:
        """The command line of the daemon."""
        return ["lxd", "--group", "root"]

    def _admin(self) -> list[str]:
        """The command prefix of the daemon's administration tool."""
        return ["lxd"]

    def _client(self) -> str:
        return "lxc"

    def __enter__(self) -> Lxd:
        self._ids.__enter__()
        self._directory.chmod(0o711)
        try:
            self.start_daemon()
            self._run([*self._admin(), "init", "--preseed"], _PRESEED)
            for name, image in self._images.items():
                self._import(name, image)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def start_daemon(self) -> None:
        """Start the daemon, or start it again."""
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                self._serve(),
                env=os.environ | self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._run([*self._admin(), "waitready", "--timeout", "60"])
        # The desktop's user takes the place of a member of the daemon's group.
        os.chown(self._directory / "unix.socket", UID, 0)

    def stop_daemon(self) -> None:
        """Stop the daemon as an update does: its containers keep running."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(LIMIT)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            names = self.client("list", "-f", "csv", "-c", "n", check=False).stdout.split()
            if names:
                self.client("delete", "-f", *names, check=False)
            self._run([*self._admin(), "shutdown", "--timeout", "30"], check=False)
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

    def client(
        self, *words: str, stdin: str = "", check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run the client, ``lxc`` or ``incus``."""
        return self._run([self._client(), *words], stdin, check=check, timeout=timeout)

    def devices(self, name: str) -> dict[str, dict[str, str]]:
        """An instance's own devices, without those of its profiles."""
        found: dict[str, dict[str, str]] = self.instance(name)["devices"]
        return found

    def instance(self, name: str) -> dict[str, Any]:
        """An instance as the REST API describes it."""
        return dict(json.loads(self.client("query", f"/1.0/instances/{name}").stdout))

    def launch(self, name: str, *words: str) -> LxdContainer:
        """Start a new container and wait for its user manager."""
        self.client("-q", "launch", GUEST, name, *words)
        container = LxdContainer(self, name)
        container.wait_booted()
        return container

    def _import(self, name: str, image: Image) -> None:
        scratch = Path(tempfile.mkdtemp(prefix="glxd-image-"))
        try:
            (scratch / "templates").mkdir()
            templates = {path: f"{number}.tpl" for number, path in enumerate(image.templates)}
            for path, file in templates.items():
                (scratch / "templates" / file).write_text(image.templates[path])
            metadata = {
                "architecture": "x86_64",
                "creation_date": 1700000000,
                "properties": {"os": name},
                "templates": {
                    path: {"when": ["create", "copy"], "template": file} for path, file in templates.items()
                },
            }
            (scratch / "metadata.yaml").write_text(json.dumps(metadata))
            with tarfile.open(scratch / "metadata.tar.gz", "w:gz") as archive:
                for file in ("metadata.yaml", "templates"):
                    archive.add(scratch / file, file)
            squashed = scratch / "rootfs.squashfs"
            fast = ["-noappend", "-comp", "zstd", "-Xcompression-level", "1", "-quiet", "-no-progress"]
            self._run(["mksquashfs", str(image.root), str(squashed), *fast])
            self.client("-q", "image", "import", str(scratch / "metadata.tar.gz"), str(squashed), "--alias", name)
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


class Incus(Lxd):
    """An Incus daemon."""

    kind = "incus"
    title = "Incus"
    tools = (*debian_13.TOOLS, "mksquashfs", "nsenter")

    def __init__(self, images: Mapping[str, Image]) -> None:
        super().__init__(images)
        self._root = debian_13.root_file_system()
        self._mounts = -1
        self.environ = {"INCUS_DIR": str(self._directory), "INCUS_CONF": str(self._directory / "client")}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._mounts >= 0:
            os.close(self._mounts)

    def stop_daemon(self) -> None:
        """See :class:`Lxd`. The next daemon keeps using this one's mounts, because containers see them."""
        assert self._process is not None
        if self._mounts < 0:
            self._mounts = os.open(f"/proc/{self._process.pid}/ns/mnt", os.O_RDONLY)
        super().stop_daemon()

    def _serve(self) -> list[str]:
        daemon = ["/usr/libexec/incus/incusd", "--group", "root"]
        if self._mounts >= 0:
            return ["nsenter", f"--mount=/proc/{os.getpid()}/fd/{self._mounts}", *daemon]
        return debian_13.inside(*daemon)

    def _admin(self) -> list[str]:
        return [self._client(), "admin"]

    def _client(self) -> str:
        return str(self._root / "usr/bin/incus")


class LxdContainer(Booted):
    """A container of the daemon."""

    def __init__(self, lxd: Lxd, name: str) -> None:
        self._lxd = lxd
        self.name = name

    def root(self, *argv: str, timeout: float = LIMIT) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root."""
        return self._lxd.client("exec", self.name, "--", *argv, check=False, timeout=timeout)

    def wait_booted(self) -> None:
        """Wait for the user manager."""
        self.wait("the user manager runs", lambda: self.user("systemctl", "--user", "status").returncode == 0)

"""A desktop with a container manager: a host with guestlink-host and a compositor, and a container."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support.compositor import Compositor
from support.lxd import GUEST, Image, Lxd, LxdContainer
from support.machine import UID, build_rootfs
from support.pair import guest_rootfs
from support.readme import follow_readme, nobody_has_logged_in
from support.stage import Stage

NODE = f"guestlink-test-{os.getpid()}"
"""The name of a device node that stands for the host's GPU."""
PROFILE = "guestlink"
CLOUD = "cloud"
"""An image with cloud-init and without a user."""
_SEED = "/var/lib/cloud/seed/nocloud-net"


def _config(key: str, default: str) -> str:
    return "{{ config_get(" + json.dumps(key) + ", " + json.dumps(default) + ") }}\n"


_TEMPLATES = {
    f"{_SEED}/meta-data": "instance-id: {{ container.name }}\nlocal-hostname: {{ container.name }}\n",
    f"{_SEED}/user-data": _config("cloud-init.user-data", "#cloud-config"),
    f"{_SEED}/vendor-data": _config("cloud-init.vendor-data", "#cloud-config"),
    "/etc/apt/apt.conf.d/99mmdebstrap": "# Recommended packages are installed, too.\n",
    "/etc/apt/sources.list": "# What Debian's archive would give is in the image.\n",
}
"""The files that the managers' images with cloud-init have for it."""


class Desk:
    """A desktop with LXD or Incus, and the container ``work``.

    :ivar lxd: the manager; it has an empty profile :data:`PROFILE`.
    :ivar story: the result of each README step that made ``work`` a guest.
    """

    def __init__(
        self,
        stage: Stage,
        lxd: Lxd,
        compositor: Compositor,
        work: LxdContainer,
        story: Sequence[subprocess.CompletedProcess[str]],
    ) -> None:
        self.stage = stage
        self.lxd = lxd
        self.compositor = compositor
        self.work = work
        self.story = story

    def host(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of guestlink-host."""
        return self.stage.host(*words, check=check)

    def state(self, name: str) -> tuple[str, bool]:
        """The state that the manager reports for a container, and whether the container is registered."""
        entries = {entry["name"]: entry for entry in self.stage.host_json("list")}
        return (entries[name]["instance"], entries[name]["registered"]) if name in entries else ("", False)

    def devices(self, name: str) -> set[str]:
        """The names of a container's devices after the daemon has polled it."""
        self.stage.host_json("list")
        return set(self.lxd.devices(name))

    def launchers(self, name: str) -> list[Path]:
        """The launchers of a container's applications."""
        directory = Path(self.stage.host_environ["XDG_DATA_HOME"], "applications")
        return sorted(directory.glob(f"guestlink-{name}-*.desktop"))

    def wait_for(self, name: str, instance: str, registered: bool) -> None:
        """Wait for a :meth:`state`."""
        self.stage.wait(
            f"{name} is {instance} and {'' if registered else 'not '}registered",
            lambda: self.state(name) == (instance, registered),
            0.2,
        )

    def person(self, script: str) -> str:
        """Run a shell script as the desktop's user and return its output. The user has a name in ``/etc/passwd``,
        because ssh and FUSE need one."""
        home = self.stage.host_environ["HOME"]
        names = self.stage.root / "passwd"
        names.write_text(f"person:x:{UID}:{UID}::{home}:/bin/sh\n" + Path("/etc/passwd").read_text())
        own = 'mount --bind "$1" /etc/passwd; shift; cd; exec "$@"'
        become = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        done = subprocess.run(
            ["unshare", "-m", "sh", "-euc", own, "sh", str(names), *become, "sh", "-euc", script],
            env=self.stage.host_environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr + self.stage.logs()
        return done.stdout

    def click(self, name: str, application: str) -> subprocess.CompletedProcess[str]:
        """Run a launcher's command as a desktop runs it."""
        [launcher] = [path for path in self.launchers(name) if path.stem.endswith(f"-{application}")]
        [line] = [line for line in launcher.read_text().splitlines() if line.startswith("Exec=")]
        words = [word for word in shlex.split(line.removeprefix("Exec=")) if not word.startswith("%")]
        return self.host(*words[words.index("launch") :], check=False)

    def windows(self) -> set[str]:
        """The app ids of the windows on the desktop."""
        return {window["app_id"] for window in self.compositor.windows()}


@contextmanager
def running_desk(kind: type[Lxd], packages: Path) -> Iterator[Desk]:
    """Start the desktop, the manager and the container.

    :param packages: a directory with our packages.
    """
    stage = Stage("work", as_uid=UID)
    contexts = ExitStack()
    try:
        extra = "cloud-init,ifupdown,openssh-server"
        cloud = Image(build_rootfs("bookworm", extra, user=False), _TEMPLATES)
        lxd = contexts.enter_context(kind({GUEST: Image(guest_rootfs("bookworm")), CLOUD: cloud}))
        compositor = contexts.enter_context(Compositor(stage.root / "compositor"))
        node = Path("/dev", NODE)
        os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # reads like /dev/zero
        contexts.callback(node.unlink)
        stage.host_environ |= compositor.environ | lxd.environ | {"GUESTLINK_HOST_GPU": str(node)}
        stage.start_host()
        lxd.client("profile", "create", PROFILE)
        work = lxd.launch("work")
        nobody_has_logged_in(work)
        lxd.client("config", "device", "add", "work", "packages", "disk", f"source={packages}", "path=/packages")
        done = work.root("sh", "-c", "dpkg -i /packages/guestlink*.deb")
        assert done.returncode == 0, done.stdout + done.stderr
        lxd.client("config", "device", "remove", "work", "packages")
        yield Desk(stage, lxd, compositor, work, follow_readme(stage, work, "work"))
    finally:
        contexts.close()
        stage.close()

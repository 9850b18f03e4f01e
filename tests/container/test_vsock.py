"""The packages over real vsock: a host and an LXC container in a virtual machine, with ChromeOS's addresses."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from support import virtual_machine
from support.machine import build_rootfs, install_packages
from support.needs import absent
from support.stage import CHECKOUT

pytestmark = [pytest.mark.container, pytest.mark.slow]

LIMIT = 900.0
"""Time limit of the machine, in seconds; it is emulated, and a busy computer has little time for it."""


def test_everything_goes_by_vsock_and_strangers_are_refused(packages: Path) -> None:
    if missing := virtual_machine.missing_tools():
        absent(f"a virtual machine needs {', '.join(missing)}")
    built = build_rootfs("bookworm", "lxc,kmod,udev,iproute2")
    directory = Path(tempfile.mkdtemp(prefix="guestlink-", dir="/var/tmp"))
    try:
        root = directory / "root"
        subprocess.run(["cp", "-ax", "--reflink=auto", str(built), str(root)], check=True, timeout=300)
        install_packages(root, packages)
        _write(root / "usr/share/applications/org.example.Hello.desktop", _APPLICATION)
        _write(root / "usr/local/bin/hello", '#!/bin/sh\necho "hello from $(hostname)" > /tmp/hello\n', 0o755)
        _write(root / "usr/local/bin/opener", '#!/bin/sh\necho "$1" >> /tmp/opened\n', 0o755)
        _write(root / "etc/guestlink/guestlink-host.conf", "[guestlink-host]\nopener = /usr/local/bin/opener\n")
        for unit in ("system/lxc.service", "system/lxc-net.service", "user/guestlink-sommelier@.service"):
            (root / "etc/systemd" / unit).symlink_to("/dev/null")  # The machine lacks a network and a compositor.
        console = virtual_machine.run(root, CHECKOUT / "tests/container/vsock_pass.py", LIMIT)
    finally:
        shutil.rmtree(directory)
    seen = dict(re.findall(r"SEEN ([^:]+): (.*)", console))
    assert seen.get("end") == "reached", console[-6000:]
    for unit in ("guestlink-garcon.service", "guestlink-sommelier-x@0.service"):
        assert seen[f"state of {unit}"] == "inactive"
        sentences = seen[f"journal of {unit}"].split(" | ")
        assert len(sentences) == 1, sentences
        assert "was skipped because" in sentences[0]
    assert seen["failed units"] == "none"
    assert seen["host"] == "active"
    assert "if it is guestlink-host, set host_kind = linux" in seen["default"]
    assert seen["registered without a handshake"] == seen["garcon of a Linux host listens"] == "False"
    assert seen["stranger at garcon"] == seen["stranger at host"] == "False"
    assert seen["expected at garcon"] == seen["expected at host"] == "True"
    assert "registered with the host at vsock:1:8889" in seen["told"]
    assert not any(value.startswith("failed") for value in seen.values())
    assert "user\nbox" in console
    assert seen["token after stop"] == "True"


_APPLICATION = "[Desktop Entry]\nType=Application\nName=Hello\nExec=hello\n"


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)

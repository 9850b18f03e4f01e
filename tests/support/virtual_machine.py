"""A virtual machine with its own kernel, for features that containers lack: real vsock. QEMU without KVM.

The root file system becomes a disk, a small initramfs loads the modules, and a script runs as root on the console.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

_KERNELS = "vmlinuz-*-cloud-amd64"
_MODULES = (
    "crc32c_generic libcrc32c virtio_pci virtio_blk ext4 virtio_rng overlay vsock_loopback vhost_vsock autofs4"
).split()
_UNIT = """\
[Unit]
After=multi-user.target user@1000.service
# A container with the same root file system does not run it.
ConditionVirtualization=vm
[Service]
Type=oneshot
Environment=TERM=dumb SYSTEMD_PAGER= SYSTEMD_COLORS=0 LANG=C.UTF-8
ExecStart=/bin/sh -c 'python3 /root/script.py; echo ended with $?'
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
ExecStopPost=/bin/systemctl poweroff --no-block
"""
_INIT = """\
#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc p /proc; $B mount -t sysfs s /sys; $B mount -t devtmpfs d /dev
for module in $($B cat /order); do $B insmod /modules/$module; done
while [ ! -b /dev/vda ]; do $B sleep .1; done
$B mount -o noatime -t ext4 /dev/vda /new
$B mount -o move /dev /new/dev; $B umount /proc; $B umount /sys
exec $B switch_root /new /sbin/init
"""


def missing_tools() -> list[str]:
    """The programs that virtual machines need and this machine lacks."""
    tools = [tool for tool in ("qemu-system-x86_64", "busybox", "mke2fs", "cpio") if shutil.which(tool) is None]
    tools += [] if list(Path("/boot").glob(_KERNELS)) else ["linux-image-cloud-amd64"]
    return tools + (["root"] if os.getuid() != 0 else [])


def run(root: Path, script: Path, timeout: float) -> str:
    """Boot, run a Python script, and power off.

    :param root: the root file system: a copy, because this function changes it.
    :returns: the console's output, with the script's status at the end.
    :raises subprocess.TimeoutExpired: the run took longer than ``timeout``.
    """
    scratch = Path(tempfile.mkdtemp(prefix="guestlink-vm-", dir="/var/tmp"))
    try:
        shutil.copy(script, root / "root/script.py")
        units = root / "etc/systemd/system"
        (units / "script.service").write_text(_UNIT)
        (units / "graphical.target.wants").mkdir(exist_ok=True)
        (units / "graphical.target.wants/script.service").symlink_to("../script.service")
        for name in ("serial-getty@ttyS0.service", "getty@tty1.service"):
            (units / name).symlink_to("/dev/null")
        disk = scratch / "disk"
        subprocess.run(
            ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", str(root), str(disk), "3G"],
            check=True,
            timeout=300,
            capture_output=True,
        )
        kernel = sorted(Path("/boot").glob(_KERNELS))[-1]
        argv = [
            "qemu-system-x86_64",
            "-nodefaults",
            "-no-user-config",
            "-machine",
            "q35",
            "-cpu",
            "max",
            "-smp",
            "2",
        ]
        argv += ["-accel", "tcg,thread=multi,tb-size=512", "-m", "2048", "-nographic", "-serial", "stdio"]
        argv += ["-no-reboot", "-kernel", str(kernel), "-initrd", str(_initramfs(scratch, kernel))]
        argv += ["-append", "console=ttyS0 quiet mitigations=off nokaslr audit=0"]
        argv += [
            "-drive",
            f"if=none,id=d0,file={disk},format=raw,cache=unsafe",
            "-device",
            "virtio-blk-pci,drive=d0",
        ]
        argv += ["-device", "virtio-rng-pci"]
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
        return done.stdout.decode(errors="replace").replace("\r", "")
    finally:
        shutil.rmtree(scratch)


def _initramfs(scratch: Path, kernel: Path) -> Path:
    tree = scratch / "initramfs"
    for name in ("bin", "dev", "proc", "sys", "new", "modules"):
        (tree / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, tree / "bin/busybox")
    order = _in_order(Path("/lib/modules", kernel.name.removeprefix("vmlinuz-")))
    for path in order:
        shutil.copy(path, tree / "modules" / path.name)
    (tree / "order").write_text("\n".join(path.name for path in order))
    (tree / "init").write_text(_INIT)
    (tree / "init").chmod(0o755)
    archive = scratch / "initrd"
    command = "find . | cpio -o -H newc -R 0:0 --quiet | gzip -1"
    with archive.open("wb") as stream:
        subprocess.run(["sh", "-c", command], cwd=tree, stdout=stream, check=True, timeout=60)
    return archive


def _in_order(directory: Path) -> list[Path]:
    """The wanted modules and their dependencies, each after its dependencies."""
    needs = {}
    for line in (directory / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[re.sub(r"\.ko$", "", Path(path).name).replace("-", "_")] = [path, *others.split()]
    found: dict[str, None] = {}
    for name in _MODULES:
        for path in reversed(needs.get(name, [])):  # Modules built into the kernel are not in the list.
            found.setdefault(path)
    return [directory / path for path in found]

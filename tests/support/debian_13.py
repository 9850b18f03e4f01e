"""Programs of Debian 13 on a machine of any distribution. They run in one root file system, which is built once and
never changed. Needs root."""

from __future__ import annotations

import tempfile
from pathlib import Path

from support.machine import build_rootfs

_PACKAGES = "fonts-dejavu-core,incus-base,incus-client,labwc,squashfs-tools,sway,systemd,wlrctl,xwayland"

_SCRIPT = """\
set -eu
PATH=$PATH:/usr/sbin
root=$1 shared=$2 directory=$PWD
shift 2
mount -t tmpfs none /run
mkdir /run/upper /run/work /run/root
mount -t overlay -o "lowerdir=$root,upperdir=/run/upper,workdir=/run/work" none /run/root
cd /run/root
for path in /dev /proc /sys "$shared"; do
    mkdir -p ".$path"
    mount --rbind "$path" ".$path"
done
mount -t tmpfs none run
mkdir .machine
pivot_root . .machine
umount -l /.machine
cd "$directory" 2> /dev/null || cd /
exec "$@"
"""
TOOLS = ("mmdebstrap", "setpriv", "unshare", "pivot_root")


def root_file_system() -> Path:
    """The root file system of Debian 13; builds it if it does not exist."""
    return build_rootfs("trixie", base=_PACKAGES, user=False)


def inside(*argv: str) -> list[str]:
    """The command line that runs one of Debian 13's programs, with this machine's processes, devices, network and
    temporary files. Files that the program writes elsewhere are discarded when it exits."""
    own = ["unshare", "-m", "--propagation", "private", "sh", "-c", _SCRIPT, "sh"]
    return [*own, str(root_file_system()), tempfile.gettempdir(), *argv]

"""A process of an id-mapped container that attacks the directory that the host mounts there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FIRST = 200_000
"""The host's id of the container's root; its user is ``FIRST + 1000``."""
ROOT, USER = 0, 1000
"""Ids inside."""
_LIMIT = 120.0

_MOUNT = """
mount --bind "$1" "$2" && mount -o "remount,bind,$3" "$2" && shift 3 && exec unshare --user --keep-caps "$@"
"""
_BECOME = """
echo ready
read -r go
exec setpriv --reuid="$1" --regid="$1" --clear-groups --ambient-caps=-all --inh-caps=-all "$2" -c "$3" "$4"
"""


def run_inside(directory: Path, script: str, *, uid: int, writable: bool = False) -> Any:
    """Run a Python script as a container's process, with the directory mounted.

    The process has all capabilities of its user namespace if it is root there.

    :param script: finds the mounted directory in ``sys.argv[1]`` and prints JSON.
    :param uid: :data:`ROOT` or :data:`USER`.
    :param writable: mount the directory for writing, so that only its owner and its list of users guard it.
    :returns: what the script has printed.
    """
    with tempfile.TemporaryDirectory() as mount_point:
        os.chmod(mount_point, 0o755)
        python = os.path.realpath(sys.executable)
        mode = "rw" if writable else "ro"
        words = ["sh", "-c", _MOUNT, "sh", str(directory), mount_point, mode]
        words += ["sh", "-c", _BECOME, "sh", str(uid), python, script, mount_point]
        process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate(timeout=_LIMIT)
            for kind in ("uid", "gid"):
                Path(f"/proc/{process.pid}/{kind}_map").write_text(f"0 {FIRST} 65536\n")
            output, errors = process.communicate("go\n", timeout=_LIMIT)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, errors
        return json.loads(output)

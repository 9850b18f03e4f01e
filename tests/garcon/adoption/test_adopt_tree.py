"""Adoption of a root file system that attacks the machine: links, the change log, and programs that run as root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from garcon.adoption.change_log import CHANGE_LOG
from garcon.diagnosis.facts import EXPECTED_GROUPS
from support.needs import need
from support.stage import CHECKOUT, LIMIT

_SHIFT = 200000
"""The uid of root in an unprivileged container."""
_ATTACK = """\
#!/bin/busybox sh
exec > /report 2>/dev/null
echo uid $(id -u)
for name in $(env); do case $name in GUESTLINK_TEST_SECRET=*) echo environment;; esac; done
mknod /root/disk b 8 0 && echo mknod
[ -c /dev/null ] && cat /dev/null && echo device
mount -t proc proc /proc && echo mount
chroot /bin /busybox true && echo chroot
kill -0 @PID@ && echo kill
[ -e /proc/@PID@ ] && echo proc
hostname attacked && echo hostname
ip link | grep -v LOOPBACK | grep -q state && echo network
(cat < /dev/tty) && echo terminal
ls @OUTSIDE@ && echo outside
[ -u /bin/su ] && /bin/su -c true && echo set-user-id
echo end
"""


@pytest.fixture(autouse=True)
def _root() -> None:
    if os.getuid() != 0:
        pytest.skip("only root enters another root file system")


def _write(path: Path, content: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory of the machine with a file."""
    _write(tmp_path / "outside/file", "precious\n")
    return tmp_path / "outside"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root file system whose accounts are in order."""
    tree = tmp_path / "tree"
    _write(tree / "etc/passwd", "root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n")
    _write(tree / "etc/group", "root:x:0:\n" + "".join(f"{name}:x:9:anna\n" for name in EXPECTED_GROUPS))
    for name in ("shadow", "gshadow"):
        _write(tree / "etc" / name, "root:*::\n")
    for path in ("etc/fonts/conf.d", "usr/bin", "usr/sbin", "root", "dev", "proc", "tmp"):
        (tree / path).mkdir(parents=True, exist_ok=True)
    _write(tree / "usr/bin/usermod")
    _write(tree / "usr/bin/useradd")
    return tree


def _adopt(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``guestlink adopt --root`` in a process of its own: gRPC's threads survive no fork of ours."""
    path = os.pathsep.join(str(CHECKOUT / part) for part in ("lib", "guest"))
    program = "import sys; from garcon.client.cli import main; sys.exit(main())"
    argv = [sys.executable, "-c", program, "adopt", "--root", str(tree), *words]
    environ = os.environ | {"PYTHONPATH": path, "GUESTLINK_TEST_SECRET": "x"}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def _everything(directory: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("path", ["etc/fonts/conf.d", "var/lib/systemd", "var", "var/lib/guestlink", "usr/sbin"])
@pytest.mark.parametrize("is_relative", [False, True])
def test_a_link_leads_nowhere_outside(tree: Path, outside: Path, path: str, is_relative: bool) -> None:
    place = tree / path
    if place.exists():
        place.rmdir()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to("../" * 40 + str(outside).lstrip("/") if is_relative else outside)
    before = _everything(outside)
    for words in ([], ["--undo"]):
        _adopt(tree, *words, "--dry-run")
        _adopt(tree, *words)
    assert _everything(outside) == before


def test_a_change_log_undoes_nothing_outside(tree: Path, outside: Path) -> None:
    (outside / "empty").mkdir()
    (outside / "link").symlink_to("file")
    changes = [
        {"do": "file", "path": f"{prefix}{outside}/file", "content": "precious\n"}
        for prefix in ("", "../../../../..")
    ]
    changes += [
        {"do": "link", "path": f"{outside}/link", "target": "file"},
        {"do": "directory", "path": f"{outside}/empty"},
        {"do": "lingering", "user": "../../../root"},
    ]
    _write(tree / CHANGE_LOG.lstrip("/"), json.dumps(changes))
    _adopt(tree, "--undo")
    assert sorted(path.name for path in outside.iterdir()) == ["empty", "file", "link"]


@pytest.mark.parametrize("path", ["etc/passwd", "etc/group", "etc/gshadow", CHANGE_LOG.lstrip("/")])
def test_a_fifo_holds_nobody_up(tree: Path, path: str) -> None:
    (tree / path).unlink(missing_ok=True)
    (tree / path).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(tree / path)
    _adopt(tree)
    _adopt(tree, "--undo")


def test_a_file_that_does_not_end_is_not_read(tree: Path) -> None:
    (tree / "etc/passwd").unlink()
    with (tree / "etc/passwd").open("wb") as stream:
        stream.truncate(1 << 40)
    (tree / CHANGE_LOG.lstrip("/")).parent.mkdir(parents=True)
    shutil.copyfile("/dev/null", tree / CHANGE_LOG.lstrip("/"))
    os.truncate(tree / CHANGE_LOG.lstrip("/"), 1 << 40)
    done = _adopt(tree)
    assert done.returncode == 1
    assert "cannot be read: file too large" in done.stderr


@pytest.mark.parametrize("is_shifted", [False, True])
def test_the_trees_programs_reach_nothing_outside(tree: Path, outside: Path, is_shifted: bool) -> None:
    """They run with root's uid, or with that of the container's root, and can do what account tools must do."""
    need("busybox", packages="busybox-static")
    shutil.copy(shutil.which("busybox") or "", tree / "busybox")
    (tree / "bin").mkdir()
    shutil.move(tree / "busybox", tree / "bin/busybox")
    shutil.copy(tree / "bin/busybox", tree / "bin/su")
    (tree / "bin/su").chmod(0o4755)
    attack = _ATTACK.replace("@PID@", str(os.getpid())).replace("@OUTSIDE@", str(outside))
    _write(tree / "usr/sbin/groupadd", attack.replace("\n", "\nPATH=/bin\nid() { busybox id $*; }\n", 1))
    (tree / "usr/sbin/groupadd").chmod(0o755)
    for name in ("id", "env", "mknod", "cat", "mount", "chroot", "hostname", "ip", "grep", "ls"):
        (tree / "bin" / name).symlink_to("busybox")
    (tree / "etc/group").write_text("root:x:0:\n")
    if is_shifted:
        for path in (tree, *tree.rglob("*")):
            os.lchown(path, _SHIFT, _SHIFT)
    hostname = os.uname().nodename
    _adopt(tree)
    report = (tree / "report").read_text().split("\n")
    assert report == ["uid 0", "end", ""]
    assert (tree / "report").stat().st_uid == (_SHIFT if is_shifted else 0)
    assert os.uname().nodename == hostname
    assert not (tree / "root/disk").exists()
    written = tree / "etc/sommelierrc"
    assert written.stat().st_uid == (_SHIFT if is_shifted else 0)


def test_a_tree_with_file_systems_in_it_is_refused(tree: Path) -> None:
    """Changes would go below the mount."""
    (tree / "var").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(tree / "var")], check=True)
    try:
        assert "is mounted in" in _adopt(tree).stderr
    finally:
        subprocess.run(["umount", str(tree / "var")], check=True)

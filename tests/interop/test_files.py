"""A container's files through other projects' programs: OpenSSH's sftp, sshfs and lftp."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from support.host_side import HostSide, reachable_container
from support.needs import need
from support.stage import LIMIT, Stage

NAME = "demo"
REMOVAL = 5.0
"""Seconds for the command `remove`, with the start of its process on a busy machine; it needs 0.5."""
PROGRAM = [sys.executable, "-m", "guestlink_host"]
SIZE = 3 * 1024 * 1024 + 17


@contextmanager
def files_stage() -> Iterator[Stage]:
    with reachable_container(NAME, known="sftp_port") as made:
        (made.root / "guest/home/letter.txt").write_text("from inside\n")
        HostSide(made).add_picture(SIZE)
        yield made


@pytest.fixture(scope="module")
def rig() -> Iterator[Stage]:
    with files_stage() as made:
        yield made


def inside(rig: Stage) -> Path:
    return rig.root / "guest/home"


def test_sftp_at_a_prompt_copies_each_way(rig: Stage) -> None:
    need("sftp", packages="openssh-client openssh-sftp-server")
    commands = "pwd\nput picture sent\nget sent received\nget letter.txt\nbye\n"
    host = HostSide(rig)
    done = host.run(*PROGRAM, "files", NAME, "--prompt", stdin=commands.encode())
    assert str(inside(rig)) in done.stdout.decode()
    assert host.same(inside(rig) / "sent", host.here / "received")
    assert (host.here / "letter.txt").read_text() == "from inside\n"


def test_lftp_copies_each_way(rig: Stage) -> None:
    need("lftp", packages="lftp openssh-sftp-server")
    program = shlex.join([*PROGRAM, "sftp-stream", NAME])
    script = f"""
        set sftp:connect-program "{program}"
        set net:max-retries 1; set cmd:fail-exit yes
        open sftp://user:none@{NAME}
        put picture -o by-lftp
        get by-lftp -o back
        ls
    """
    host = HostSide(rig)
    assert b"by-lftp" in host.run("lftp", "--norc", "-c", script, LFTP_HOME=str(rig.root / "lftp")).stdout
    assert host.same(inside(rig) / "by-lftp", host.here / "back")


@contextmanager
def mount(rig: Stage) -> Iterator[Path]:
    need("sshfs", "fusermount3", packages="sshfs fuse3 openssh-sftp-server")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("this machine has no FUSE")
    folder = Path(rig.host("files", NAME).stdout.strip())
    try:
        yield folder
    finally:
        deadline = time.monotonic() + LIMIT
        while rig.host("files", NAME, "--unmount", check=False).returncode != 0:
            assert time.monotonic() < deadline, "it cannot be unmounted"
            time.sleep(0.05)
        wait_until_sshfs_ended(rig)


@pytest.fixture
def mounted(rig: Stage) -> Iterator[Path]:
    with mount(rig) as folder:
        yield folder


def wait_until_sshfs_ended(rig: Stage) -> None:
    """Wait until sshfs and its sftp-stream exit: sshfs daemonizes, so neither process is a child of the test."""

    def ended() -> bool:
        for process in psutil.process_iter():
            try:
                ours = {"sshfs", "sftp-stream"} & set(process.cmdline())
                if ours and process.environ().get("XDG_RUNTIME_DIR") == rig.host_environ["XDG_RUNTIME_DIR"]:
                    return False
            except psutil.Error:
                continue
        return True

    rig.wait("sshfs has ended", ended)


def test_sshfs_shows_the_home_and_writes_into_it(rig: Stage, mounted: Path) -> None:
    assert mounted == rig.root / "host/home/guestlink" / NAME
    assert (mounted / "letter.txt").read_text() == "from inside\n"
    shutil.copyfile(rig.root / "here/picture", mounted / "by-sshfs")
    assert HostSide(rig).same(inside(rig) / "by-sshfs", mounted / "by-sshfs")
    (mounted / "folder").mkdir()
    (mounted / "by-sshfs").rename(mounted / "folder/moved")
    assert sorted(path.name for path in (inside(rig) / "folder").iterdir()) == ["moved"]
    shutil.rmtree(mounted / "folder")
    assert not (inside(rig) / "folder").exists()


def test_links_of_the_container_lead_nowhere_on_the_host(rig: Stage, mounted: Path) -> None:
    """A symbolic link means the container's file even if the host has a file of the same name."""
    secret = rig.root / "host/home/secret"
    secret.write_text("of the host\n")
    (inside(rig) / "link").symlink_to("letter.txt")
    assert not (mounted / "link").is_symlink()
    assert (mounted / "link").read_text() == "from inside\n"
    script = inside(rig) / "script"
    script.write_text("#!/bin/sh\necho ran\n")
    script.chmod(0o755)
    with pytest.raises(PermissionError):
        subprocess.run([str(mounted / "script")], check=True, timeout=LIMIT)


def test_a_mount_survives_a_restart_of_garcon() -> None:
    with files_stage() as rig, mount(rig) as mounted:
        assert (mounted / "letter.txt").exists()
        rig.stop("garcon")
        rig.start_garcon()

        def back() -> bool:
            try:
                return (mounted / "letter.txt").read_text() == "from inside\n"
            except OSError:
                return False

        rig.wait("the files are back", back, 0.1)


def test_a_mount_whose_sshfs_was_killed_can_be_ended(rig: Stage, mounted: Path) -> None:
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or [""]
        if words[0] == "sshfs" and str(mounted) in words:
            process.kill()
    rig.wait("the mount is dead", lambda: not os.path.exists(mounted))
    again = rig.host("files", NAME, check=False)
    assert "something is mounted at" in again.stderr
    rig.host("files", NAME, "--unmount")
    assert not os.path.lexists(mounted)
    rig.host("files", NAME)  # the fixture unmounts it


def test_mounting_twice_and_unmounting_nothing_are_told(rig: Stage, mounted: Path) -> None:
    again = rig.host("files", NAME, check=False)
    assert again.returncode == 1
    assert "something is mounted at" in again.stderr
    assert f"`guestlink-host files {NAME} --unmount` unmounts it" in again.stderr
    here = str(rig.root / "here too")
    rig.host("files", NAME, "--at", here)
    again = rig.host("files", NAME, "--at", here, check=False)
    advised = again.stderr.split("`")[1]
    assert rig.host(*shlex.split(advised)[1:]).returncode == 0
    assert not os.path.lexists(here)
    nothing = rig.host("files", NAME, "--unmount", "--at", str(rig.root / "here"), check=False)
    assert f"nothing is mounted at {rig.root}/here" in nothing.stderr


def test_a_container_that_is_forgotten_is_unmounted() -> None:
    need("sshfs", "fusermount3", packages="sshfs fuse3 openssh-sftp-server")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("this machine has no FUSE")
    with files_stage() as rig:
        folder = Path(rig.host("files", NAME).stdout.strip())
        assert os.path.ismount(folder)
        rig.host("remove", NAME)
        assert not folder.exists()
        wait_until_sshfs_ended(rig)


def test_a_container_whose_files_do_not_answer_is_forgotten_in_a_second() -> None:
    need("sshfs", "fusermount3", packages="sshfs fuse3 openssh-sftp-server")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("this machine has no FUSE")
    with files_stage() as rig:
        folder = Path(rig.host("files", NAME).stdout.strip())
        servers = [
            process
            for process in psutil.Process(rig.processes["garcon"].pid).children()
            if "sftp-server" in process.cmdline()[0]
        ]
        assert servers
        for server in servers:
            server.suspend()
        try:
            began = time.monotonic()
            rig.host("remove", NAME)
            assert time.monotonic() - began < REMOVAL
        finally:
            for server in servers:
                server.resume()
        assert str(folder) not in Path("/proc/self/mounts").read_text()
        wait_until_sshfs_ended(rig)


def test_a_folder_that_holds_something_is_left_alone(rig: Stage) -> None:
    need("sshfs", packages="sshfs")
    done = rig.host("files", NAME, "--at", str(rig.root / "here"), check=False)
    assert done.returncode == 1
    assert "is not empty" in done.stderr


def test_a_container_that_is_not_there_is_named(rig: Stage) -> None:
    for words in (["files", "nobody"], ["files", "nobody", "--prompt"], ["sftp-stream", "nobody"]):
        done = rig.host(*words, check=False)
        assert done.returncode == 1
        assert "no container 'nobody' is known here" in done.stderr

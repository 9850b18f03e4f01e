"""ssh into a container through vsh, with other projects' programs: OpenSSH, rsync, Ansible, rclone."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestlink.errors import GuestlinkError
from guestlink_host.vsh.ssh_access import stanza
from support.host_side import HostSide, reachable_container
from support.needs import need
from support.stage import LIMIT, Stage
from support.vsh_peers import Terminal

NAME = "demo"
HOST = f"{NAME}.guestlink"
SIZE = 2 * 1024 * 1024 + 13
OPENSSH = "openssh-client openssh-server"


class Rig(HostSide):
    """The output of ``guestlink-host ssh-config`` is ssh's configuration; a second folder is the container's."""

    def __init__(self, running: Stage) -> None:
        super().__init__(running)
        self.there = running.root / "guest/there"
        self.there.mkdir()
        self.config = running.root / "ssh_config"
        self.config.write_text(running.host("ssh-config", NAME).stdout)
        self.add_picture(SIZE)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    need("ssh", "ssh-keygen", packages=OPENSSH)
    if not Path("/usr/sbin/sshd").exists():
        need("sshd", packages=OPENSSH)
    with reachable_container(NAME) as made:
        yield Rig(made)


def test_ssh_runs_commands_with_their_status(rig: Rig) -> None:
    out = rig.run("ssh", "-F", str(rig.config), HOST, "echo out; cat; exit 5", stdin=b"and in\n", status=5).stdout
    assert out == b"out\nand in\n"


def test_the_session_of_the_containers_user_is_there(rig: Rig) -> None:
    out = rig.run("ssh", "-F", str(rig.config), HOST, "echo $XDG_RUNTIME_DIR").stdout
    assert out.decode().strip() == rig.stage.guest_environ["XDG_RUNTIME_DIR"]


def test_ssh_gives_a_terminal(rig: Rig) -> None:
    screen = Terminal(["ssh", "-F", str(rig.config), "-tt", HOST, "stty size; read x; stty size; exit 4"],
                      rig.environ | {"TERM": "xterm"}, rows=31, columns=99)  # fmt: skip
    try:
        screen.wait_for(b"31 99")
        screen.resize(40, 120)
        screen.type(b"\r")
        screen.wait_for(b"40 120")
        assert screen.status() == 4
    finally:
        screen.close()


def test_scp_copies_each_way(rig: Rig) -> None:
    need("scp", packages=OPENSSH)
    rig.run("scp", "-q", "-F", str(rig.config), "picture", f"{HOST}:{rig.there}/by-scp")
    rig.run("scp", "-q", "-F", str(rig.config), f"{HOST}:{rig.there}/by-scp", "scp-back")
    assert rig.same(rig.there / "by-scp", rig.here / "scp-back")


def test_sftp_copies_each_way(rig: Rig) -> None:
    need("sftp", packages=OPENSSH)
    batch = f"put picture {rig.there}/by-sftp\nget {rig.there}/by-sftp sftp-back\n"
    rig.run("sftp", "-q", "-F", str(rig.config), "-b", "-", HOST, stdin=batch.encode())
    assert rig.same(rig.there / "by-sftp", rig.here / "sftp-back")


@pytest.mark.parametrize("way", ["ssh", "vsh"])
def test_rsync_copies_each_way(rig: Rig, way: str) -> None:
    """Through ssh, and with vsh as rsync's remote shell."""
    need("rsync", packages="rsync")
    vsh = shlex.join([sys.executable, "-m", "guestlink_host.vsh"])
    remote_shell, host = (f"ssh -F {rig.config}", HOST) if way == "ssh" else (vsh, NAME)
    source = rig.here / f"tree-{way}"
    source.mkdir()
    for number in range(20):
        (source / f"{number}").write_bytes(os.urandom(1000))
    (source / "picture").write_bytes((rig.here / "picture").read_bytes())
    rig.run("rsync", "-a", "-e", remote_shell, f"{source}/", f"{host}:{rig.there}/tree-{way}/")
    rig.run("rsync", "-a", "-e", remote_shell, f"{host}:{rig.there}/tree-{way}/", f"{source}-back/")
    back = Path(f"{source}-back")
    assert rig.same(rig.there / f"tree-{way}/picture", back / "picture")
    assert {path.name: path.read_bytes() for path in back.iterdir()} == {
        path.name: path.read_bytes() for path in source.iterdir()
    }


def test_ansible_runs_a_playbook(rig: Rig) -> None:
    need("ansible-playbook", packages="ansible-core")
    playbook = rig.here / "playbook.yaml"
    playbook.write_text(
        f"""\
- hosts: all
  gather_facts: false
  tasks:
    - copy: {{src: {rig.here}/picture, dest: {rig.there}/by-ansible}}
    - command: cat
      args: {{stdin: from Ansible}}
      register: said
    - assert: {{that: said.stdout == "from Ansible"}}
"""
    )
    rig.run(
        "ansible-playbook", "-i", f"{HOST},", str(playbook), f"--ssh-common-args=-F {rig.config}",
        ANSIBLE_REMOTE_TEMP=str(rig.stage.root / "guest/ansible"), ANSIBLE_LOCAL_TEMP=str(rig.here / "ansible"),
        ANSIBLE_SSH_CONTROL_PATH_DIR=str(rig.stage.root / "cp"), ANSIBLE_SSH_ARGS="-o ControlMaster=no",
        ANSIBLE_PIPELINING="1",
        ANSIBLE_PYTHON_INTERPRETER="/usr/bin/python3", PYTHONPATH=rig.environ["PYTHONPATH"], LC_ALL="C.UTF-8",
    )  # fmt: skip
    assert rig.same(rig.there / "by-ansible")


@contextlib.contextmanager
def port_into_the_container(rig: Rig) -> Iterator[int]:
    """A port of this machine; each connection gets its own ``ssh-proxy``, as from inetd."""
    processes: list[subprocess.Popen[bytes]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    program = [sys.executable, "-m", "guestlink_host", "ssh-proxy", NAME]
                    processes.append(
                        subprocess.Popen(
                            program, env=rig.environ, stdin=connection.fileno(), stdout=connection.fileno()
                        )
                    )

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(LIMIT)
            for process in processes:
                process.wait(LIMIT)


def test_rclone_copies_each_way(rig: Rig) -> None:
    """rclone has its own ssh implementation; before 1.61 it cannot run another program, so it needs a port."""
    need("rclone", packages="rclone")
    key = rig.environ["XDG_STATE_HOME"] + "/guestlink-host/ssh/id_ed25519"
    entry = rig.stage.host_json("list")[0]
    with port_into_the_container(rig) as port:
        settings = {
            "TYPE": "sftp",
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "USER": entry["username"],
            "KEY_FILE": key,
        }
        variables = {f"RCLONE_CONFIG_THERE_{name}": value for name, value in settings.items()}
        rclone = ["rclone", "--config", "/dev/null", "--retries", "1"]
        rig.run(*rclone, "copyto", "picture", f"THERE:{rig.there}/by-rclone", **variables)
        rig.run(*rclone, "copyto", f"THERE:{rig.there}/by-rclone", "rclone-back", **variables)
    assert rig.same(rig.there / "by-rclone", rig.here / "rclone-back")


def test_nothing_listens_and_the_keys_are_private(rig: Rig) -> None:
    key = Path(rig.environ["XDG_STATE_HOME"], "guestlink-host/ssh/id_ed25519")
    inside = Path(rig.stage.guest_environ["XDG_STATE_HOME"], "guestlink/ssh")
    assert key.stat().st_mode & 0o777 == 0o600
    rig.run("ssh", "-F", str(rig.config), HOST, "true")
    assert {path.name: path.stat().st_mode & 0o077 for path in inside.iterdir()} == {
        "authorized_keys": 0,
        "host_key": 0,
    }
    assert (inside / "authorized_keys").read_text() == key.with_suffix(".pub").read_text()


def test_only_our_key_opens_the_door(rig: Rig) -> None:
    rig.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "stranger")
    other = rig.config.read_text().replace(
        rig.environ["XDG_STATE_HOME"] + "/guestlink-host/ssh/id_ed25519", "stranger"
    )
    assert "stranger" in other
    (rig.here / "config").write_text(other)
    done = subprocess.run(
        ["ssh", "-F", "config", "-o", "BatchMode=yes", HOST, "true"],
        env=rig.environ,
        cwd=rig.here,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr


def test_many_sessions_at_once_make_one_host_key(rig: Rig) -> None:
    inside = Path(rig.stage.guest_environ["XDG_STATE_HOME"], "guestlink/ssh")
    for path in inside.glob("*"):
        path.unlink()
    processes = [
        subprocess.Popen(
            ["ssh", "-F", str(rig.config), HOST, f"exit {number}"], env=rig.environ, stdin=subprocess.DEVNULL
        )
        for number in range(8)
    ]
    assert [process.wait(LIMIT) for process in processes] == list(range(8))
    assert sorted(path.name for path in inside.iterdir()) == ["authorized_keys", "host_key"]


@pytest.mark.parametrize("user", ["", "root\nProxyCommand x", "a b", "x #", '"', "%h", "..", "$(id)"])
def test_a_user_s_name_cannot_put_anything_into_the_configuration(user: str) -> None:
    with pytest.raises(GuestlinkError, match="has an invalid name"):
        stanza(NAME, user, ["guestlink-host", "ssh-proxy", NAME])


def test_directories_with_odd_names_are_read_by_ssh_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("ssh", "ssh-keygen", packages=OPENSSH)
    odd = tmp_path / "a b$HOME%h'#"
    odd.mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(odd))
    proxy = odd / "proxy"
    proxy.write_text(f'#!/bin/sh\nprintf %s "$*" > {shlex.quote(str(odd / "heard"))}\n')
    proxy.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(stanza(NAME, "ana", [str(proxy), "ssh-proxy", NAME]))
    done = subprocess.run(
        ["ssh", "-v", "-F", str(config), HOST, "true"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (odd / "heard").read_text() == f"ssh-proxy {NAME}"
    assert f"identity file {odd}/guestlink-host/ssh/id_ed25519 type" in done.stderr


def test_a_container_that_is_not_known_is_named(rig: Rig) -> None:
    done = rig.stage.host("ssh-config", "nobody", check=False)
    assert done.returncode == 1
    assert "no container 'nobody' is known here" in done.stderr

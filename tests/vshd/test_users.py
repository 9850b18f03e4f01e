"""Which user a session runs as (chromeos-vsh.md §3.6), and what happens to the session when its vshd exits."""

from __future__ import annotations

import os
import pwd
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from guestlink.vsh import Setup, Status, encode_setup
from support.stage import LIMIT
from support.vsh_peer import Vshd, names_of_children, terminal
from vshd.fork_server import SPARE_NAME

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


def test_a_vshd_that_is_ended_takes_its_sessions_with_it(tmp_path: Path) -> None:
    server = Vshd(tmp_path)
    with server.peer() as pipes, server.peer() as screen:
        pipes.begin(Setup(argv=(b"sleep", b"1000"), nopty=True))
        screen.begin(terminal("sleep", "1000"))
        server.close()
        pipes.finish()
        screen.finish()
        assert pipes.answer
        assert screen.answer
        pids = [pipes.answer.pid, screen.answer.pid]
    deadline = time.monotonic() + LIMIT
    while any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not os.path.exists(server.path)


def test_a_stale_notify_socket_does_not_end_vshd(tmp_path: Path) -> None:
    for address in ("/does/not/exist", "@nobody-listens-here"):
        server = Vshd(tmp_path, environ={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": address})
        assert server.run("true").code == 0
        server.close()


def test_what_waits_for_a_session_may_be_killed_and_ends_with_vshd(tmp_path: Path) -> None:
    server = Vshd(tmp_path)

    def waiting() -> list[psutil.Process]:
        deadline = time.monotonic() + LIMIT
        while names_of_children(server.process.pid) != [SPARE_NAME] * 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return psutil.Process(server.process.pid).children(recursive=True)

    session, target = waiting()
    assert target.ppid() == session.pid
    with server.peer() as peer:
        peer.begin(Setup(argv=(b"sleep", b"1000"), nopty=True))
        assert peer.answer
        assert peer.answer.pid == target.pid
    killed = waiting()
    for process in killed:
        process.kill()
    assert not psutil.wait_procs(killed, LIMIT)[1]
    assert server.run("echo", "x").out == b"x\n"
    left = waiting()
    server.close()
    assert not psutil.wait_procs(left, LIMIT)[1]
    assert server.log.read_text() == ""


@needs_root
def test_another_user_has_groups_home_and_terminal(vshd: Vshd) -> None:
    games = pwd.getpwnam("games")
    script = b"id -u; id -g; id -G; echo $USER $LOGNAME $HOME; stat -c %u $(tty); test -w $(tty) && echo mine"
    expected = os.getgrouplist(games.pw_name, games.pw_gid)
    with vshd.peer() as peer:
        peer.begin(terminal("sh", "-c", script.decode(), user=b"games"))
        lines = peer.finish().out.decode().splitlines()
    assert lines[:2] == [str(games.pw_uid), str(games.pw_gid)]
    assert sorted(map(int, lines[2].split())) == sorted(expected)
    assert lines[3] == f"games games {games.pw_dir}"
    assert lines[4:] == [str(games.pw_uid), "mine"]


@needs_root
def test_another_users_program_goes_when_its_vshd_is_killed(vshd: Vshd) -> None:
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"sleep", b"1000"), nopty=True, user=b"games"))
        assert peer.answer is not None
        target = psutil.Process(peer.answer.pid)
        psutil.Process(target.ppid()).kill()
        peer.finish()
        target.wait(LIMIT)


@needs_root
def test_a_directory_is_entered_as_the_user(vshd: Vshd) -> None:
    peer = vshd.run("pwd", user=b"games", cwd=b"/root")
    assert peer.out != b"/root\n"


@needs_root
def test_who_is_not_root_becomes_nobody_else() -> None:
    with tempfile.TemporaryDirectory(prefix="vshd-") as name:
        uid = pwd.getpwnam("games").pw_uid
        os.chown(name, uid, uid)
        server = Vshd(Path(name), uid=uid)
        try:
            assert server.run("id", "-un").out == b"games\n"
            for user in (b"root", b"daemon"):
                with server.peer() as peer:
                    peer.say(encode_setup(Setup(argv=(b"id",), nopty=True, user=user)))
                    peer.finish()
                    assert peer.answer is not None
                    assert (peer.answer.status, user.decode() in peer.answer.description) == (Status.FAILED, True)
        finally:
            server.close()


def test_switching_may_be_forbidden(tmp_path: Path) -> None:
    server = Vshd(tmp_path, ["--allow_to_switch_user=false", "--default_user=ana"])
    try:
        peer = server.run("sh", "-c", "id -u; pwd; echo $SHELL", user=b"nosuchuser")
        assert peer.out.decode().split() == [str(os.getuid()), "/", "/bin/sh"]
        with server.peer() as peer:
            peer.say(encode_setup(Setup("/vm_shell", user=b"root", nopty=True)))
            peer.finish()
            assert peer.answer is not None
            assert peer.answer.status == Status.FAILED
        assert server.run("true", target="/vm_shell", user=b"ana").code == 0
    finally:
        server.close()


def test_the_default_user_is_for_a_machines_own_shell(tmp_path: Path) -> None:
    server = Vshd(tmp_path, ["--default_user=nosuchuser"])
    try:
        with server.peer() as peer:
            peer.say(encode_setup(Setup("/vm_shell", argv=(b"true",), nopty=True)))
            peer.finish()
            assert peer.answer is not None
            assert "nosuchuser" in peer.answer.description
        assert server.run("true", target="penguin").code == 0
    finally:
        server.close()

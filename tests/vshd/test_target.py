"""A target whose start or end the system refuses."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from guestlink.address import TcpAddress
from guestlink.errors import GuestlinkError
from guestlink.vsh import Setup, Stream
from support.stage import LIMIT
from vshd import garcon_requests
from vshd.account import choose_account
from vshd.target import Target, start_target, waiting_target

SLEEP = Setup("test", argv=(b"sleep", b"1000"), rows=24, cols=80)


def _descriptors() -> set[str]:
    """Pipes, terminals and pidfds of this process; gRPC's threads open and close others."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{name}"))
    return {link for link in found if link.startswith(("pipe:", "/dev/pt", "anon_inode:[pidfd]"))}


def test_a_program_that_runs_as_another_user_by_now_does_not_stop_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_group: int, _number: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    before = _descriptors()
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        stdout, other = os.pipe()
        target = Target(process.pid, -1, -1, {stdout: Stream.STDOUT}, -1)
        try:
            with monkeypatch.context() as patched:
                patched.setattr(os, "killpg", refuse)
                target.end(0.01)
                target.close()
        finally:
            os.close(other)
            process.kill()
    assert _descriptors() == before


@pytest.mark.parametrize("nopty", [True, False])
def test_a_program_that_cannot_be_watched_does_not_stay(monkeypatch: pytest.MonkeyPatch, nopty: bool) -> None:
    setup = SLEEP._replace(nopty=nopty)
    before = _descriptors()
    started: list[int] = []

    def refuse(pid: int) -> int:
        started.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        start_target(setup, choose_account(setup, "", False), {b"PATH": b"/usr/bin:/bin"})
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert len(started) == 1
    assert _descriptors() == before


def test_a_program_starts_though_the_waiting_child_was_killed() -> None:
    setup = SLEEP._replace(nopty=True)
    child = waiting_target()
    os.kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
    target = start_target(setup, choose_account(setup, "", False), {b"PATH": b"/usr/bin:/bin"}, child)
    try:
        assert target.execution() == ""
        assert target.pid != child.pid
    finally:
        target.end(LIMIT)
        target.ended()
        target.close()


def test_a_host_that_closes_the_connection_at_once_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("0" * 36)
    ours, theirs = socket.socketpair()
    theirs.close()
    monkeypatch.setattr(garcon_requests, "connect", lambda _address, _timeout: ours)
    with pytest.raises(GuestlinkError, match="the client at tcp:host:1: the other side sent no challenge"):
        garcon_requests.dial(TcpAddress("host", 1), str(tmp_path / "token"), handshake=True)
    assert ours.fileno() < 0

"""Child processes that the event loop watches."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess

import pytest

from guestlink.child import Child


def _start(*argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", -signal.SIGKILL)])
async def test_the_exit_status_is_returned_and_reported_once(script: str, status: int) -> None:
    ended: list[Child] = []
    child = Child(_start("sh", "-c", script), ended.append)
    assert await child.wait() == status
    assert await child.wait(0.0) == status
    child.kill()
    assert ended == [child]
    assert child.status == status


async def test_a_running_program_has_no_status_and_can_be_terminated_and_killed() -> None:
    first, second = Child(_start("sleep", "1000")), Child(_start("sleep", "1000"))
    assert await first.wait(0.01) is None
    first.terminate()
    assert await first.wait() == -signal.SIGTERM
    second.kill()
    assert await second.wait() == -signal.SIGKILL


async def test_an_abandoned_program_keeps_running() -> None:
    ended: list[Child] = []
    process = _start("sleep", "1000")
    child = Child(process, ended.append)
    waiting = asyncio.ensure_future(child.wait())
    child.abandon()
    try:
        assert await waiting is None
        os.kill(process.pid, 0)
    finally:
        _end(process.pid)
    assert not ended


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

"""Helper commands have limits of time and output, and leave no process behind."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from guestlink.process import run
from guestlink.program import CommandFailed, signal_name


async def test_output_and_status_come_back() -> None:
    done = await run(["sh", "-c", "cat; echo problem >&2; exit 3"], timeout=60, stdin=b"hello")
    assert (done.status, done.stdout, done.stderr) == (3, b"hello", b"problem\n")
    with pytest.raises(CommandFailed, match="sh failed with 3: problem"):
        done.check()


async def test_a_missing_program_is_named() -> None:
    with pytest.raises(CommandFailed, match="cannot run /nonexistent"):
        await run(["/nonexistent"], timeout=60)


async def test_too_long_means_killed_with_all_children() -> None:
    with pytest.raises(CommandFailed, match=r"did not end within 0\.2 s"):
        await run(["sh", "-c", "sleep 1000 & sleep 1000"], timeout=0.2)


@pytest.mark.parametrize("script", ["exec yes", "yes & yes >&2", "setsid yes & sleep 1000"])
async def test_too_long_means_killed_while_it_prints(script: str) -> None:
    """asyncio reads a pipe no more while its buffer is full, so its end may never be seen."""
    async with asyncio.timeout(60):
        with pytest.raises(CommandFailed, match=r"did not end within 0\.5 s"):
            await run(["sh", "-c", script], timeout=0.5)


async def test_output_is_bounded() -> None:
    done = await run([sys.executable, "-c", "print('x' * 100000)"], timeout=60, output_limit=1000)
    assert done.stdout == b"x" * 1000
    assert done.status == 0


async def test_death_by_signal_is_named() -> None:
    done = await run(["sh", "-c", "kill -9 $$"], timeout=60)
    assert done.status == -9
    with pytest.raises(CommandFailed, match="killed by SIGKILL"):
        done.check()
    assert signal_name(signal.SIGTERM) == "SIGTERM"
    assert signal_name(99) == "signal 99"


async def test_an_argument_with_nul_is_an_error_not_a_traceback() -> None:
    with pytest.raises(CommandFailed):
        await run(["echo", "a\0b"], timeout=60)

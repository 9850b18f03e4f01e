"""Programs of the session are services of the user manager in a sandbox, and child processes elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest
import pytest_asyncio

from guestlink.bus import SessionBus
from guestlink.program import CommandFailed
from guestlink_host.border.session_programs import CannotStart, SessionPrograms, is_sandboxed
from support.fake_user_manager import fake_user_manager, session_bus

_RECEIVES_DESCRIPTORS = int(version("dbus-fast").partition(".")[0]) >= 5
"""Whether the stand-in gets the descriptors of a message. Earlier versions of dbus-fast send them, as to the real
systemd of tests/container, and do not receive them."""
with_stand_in = pytest.mark.skipif(not _RECEIVES_DESCRIPTORS, reason="this dbus-fast receives no descriptors")


@pytest_asyncio.fixture(params=["no sandbox", "no user manager", pytest.param("user manager", marks=with_stand_in)])
async def programs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SessionPrograms]:
    async with contextlib.AsyncExitStack() as stack:
        address = f"unix:path={tmp_path}/none"
        if request.param == "user manager":
            address = stack.enter_context(session_bus(tmp_path))
            await stack.enter_async_context(fake_user_manager(address))
        bus = SessionBus(address, passes_descriptors=True)
        made = SessionPrograms(None if request.param == "no sandbox" else bus)
        await made.start()
        yield made
        await made.close()


async def test_a_program_runs_and_its_exit_is_known(programs: SessionPrograms) -> None:
    assert await (await programs.launch(["sh", "-c", "exit 3"]))() == 3
    assert await (await programs.launch(["sh", "-c", "kill -SEGV $$"]))() == -11


async def test_a_program_that_cannot_be_started_is_named(programs: SessionPrograms) -> None:
    with pytest.raises(CannotStart, match="the host cannot start /nonexistent"):
        await programs.launch(["/nonexistent"])
    with pytest.raises(CannotStart, match="the host cannot start echo"):
        await programs.launch(["echo", "a\0b"])
    with pytest.raises(CommandFailed, match="cannot run /nonexistent"):
        await programs.run(["/nonexistent"], timeout=60)


async def test_output_and_status_come_back(programs: SessionPrograms) -> None:
    done = await programs.run(["sh", "-c", "echo out; echo err >&2; exit 4"], timeout=60)
    assert (done.status, done.stdout, done.stderr) == (4, b"out\n", b"err\n")


async def test_too_long_means_killed(programs: SessionPrograms) -> None:
    with pytest.raises(CommandFailed, match=r"did not end within 0\.2 s"):
        await programs.run(["sleep", "1000"], timeout=0.2)


async def test_a_thread_runs_a_program_with_an_input(programs: SessionPrograms, tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"words")
    with (tmp_path / "input").open("rb") as stream:
        done = await asyncio.to_thread(programs.run_from_thread, ["cat"], timeout=60, stdin=stream.fileno())
    assert done.stdout == b"words"


@with_stand_in
def test_a_thread_is_not_held_up_by_a_daemon_that_exits(tmp_path: Path) -> None:
    """The loop ends while the thread waits for its program."""
    with ThreadPoolExecutor(1) as threads, session_bus(tmp_path) as address:

        async def daemon() -> Future[object]:
            async with fake_user_manager(address) as manager:
                programs = SessionPrograms(SessionBus(address, passes_descriptors=True))
                await programs.start()
                waiting = threads.submit(programs.run_from_thread, ["sleep", "1000"], timeout=600)
                async with asyncio.timeout(60):
                    while not manager.started:
                        await asyncio.sleep(0.01)
                return waiting

        with pytest.raises(CommandFailed):
            asyncio.run(daemon()).result(60)


async def test_words_that_are_not_utf_8_arrive(programs: SessionPrograms) -> None:
    word = os.fsdecode(b"\xff")
    assert (await programs.run(["printf", "%s", word], timeout=60)).stdout == b"\xff"


@with_stand_in
async def test_a_service_gets_its_words_as_they_are_and_its_name_says_who_started_it(tmp_path: Path) -> None:
    with session_bus(tmp_path) as address:
        async with fake_user_manager(address) as manager:
            bus = SessionBus(address, passes_descriptors=True)
            programs = SessionPrograms(bus)
            words = ["$HOME", "${HOME}", "$$", "%h", "é", "", "a b"]
            done = await programs.run(["printf", "[%s]", *words], timeout=60)
            await programs.close()
    assert done.output == "".join(f"[{word}]" for word in words)
    [(unit, properties)] = manager.started.items()
    assert unit.startswith("app-guestlinkhost-printf@")
    assert properties["Environment"] == []


@with_stand_in
async def test_a_dialog_that_is_cancelled_is_killed(tmp_path: Path) -> None:
    with session_bus(tmp_path) as address:
        async with fake_user_manager(address):
            bus = SessionBus(address, passes_descriptors=True)
            programs = SessionPrograms(bus)
            mark = tmp_path / "started"
            asked = asyncio.create_task(
                programs.run(["sh", "-c", f"echo $$ > {mark}; exec sleep 1000"], timeout=600)
            )
            async with asyncio.timeout(60):
                while not (mark.exists() and mark.read_text()):
                    await asyncio.sleep(0.01)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            with pytest.raises(ProcessLookupError):
                os.kill(int(mark.read_text()), 0)
            await programs.close()


def test_a_sandbox_is_recognized() -> None:
    code = "from guestlink_host.border.session_programs import is_sandboxed; print(is_sandboxed())"
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for prefix, expected in (([], is_sandboxed()), (["setpriv", "--no-new-privs"], True)):
        argv = [*prefix, sys.executable, "-c", code]
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == f"{expected}\n"

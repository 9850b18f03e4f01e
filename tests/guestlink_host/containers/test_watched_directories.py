"""Directories of a container that programs of the host watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from guestlink.errors import GuestlinkError
from guestlink.tasks import TaskOwner
from guestlink_host.containers import watched_directories
from guestlink_host.containers.watched_directories import DIRECTORY_LIMIT, WatchedDirectories

LIMIT = 60.0


class Rig:
    """A garcon that stores what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusal = ""
        self.tasks = TaskOwner("test")
        self.watched = WatchedDirectories("work", self._add, self._remove, self.tasks)

    async def _add(self, path: str) -> None:
        self.asked.append(f"+{path}")
        if self.refusal:
            raise GuestlinkError(self.refusal)

    async def _remove(self, path: str) -> None:
        self.asked.append(f"-{path}")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(watched_directories, "WAIT", LIMIT)
    made = Rig()
    yield made
    await made.tasks.close()


async def _waits(rig: Rig, path: str, seen: int) -> asyncio.Task[int]:
    """Start to wait, and return once the directory is watched."""
    if f"+{path}" not in rig.asked:
        await rig.watched.wait(path, -1)
    task = asyncio.ensure_future(rig.watched.wait(path, seen))
    await rig.until(lambda: f"+{path}" in rig.asked)
    await asyncio.sleep(0)
    return task


async def test_the_first_answer_comes_at_once_and_the_next_with_a_change(rig: Rig) -> None:
    assert await rig.watched.wait("Docs", -1) == 0
    task = await _waits(rig, "Docs", 0)
    rig.watched.changed("elsewhere")
    rig.watched.changed("Docs")
    assert await task == 1
    assert await rig.watched.wait("Docs", 0) == 1, "a change between two calls is not lost"
    assert rig.asked == ["+Docs"]


async def test_without_a_change_the_answer_is_the_same(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_directories, "WAIT", 0.01)
    assert await rig.watched.wait("Docs", -1) == 0
    assert await rig.watched.wait("Docs", 0) == 0


async def test_two_watchers_share_a_watch_which_ends_after_both(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_directories, "GRACE", 0.01)
    first, second = await _waits(rig, "Docs", 0), await _waits(rig, "Docs", 0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    rig.watched.changed("Docs")
    assert await second == 1
    await rig.until(lambda: rig.asked == ["+Docs", "-Docs"])
    assert await rig.watched.wait("Docs", -1) == 0
    assert rig.asked == ["+Docs", "-Docs", "+Docs"]


async def test_a_new_garcon_is_asked_again_and_watchers_hear_of_it(rig: Rig) -> None:
    task = await _waits(rig, "Docs", 0)
    rig.watched.forgotten()
    assert await task == 1
    assert await rig.watched.wait("Docs", 1) == 2, "what changed before the new garcon watches is not reported"
    assert rig.asked == ["+Docs", "+Docs"]


async def test_a_watcher_waits_while_garcon_is_gone(rig: Rig) -> None:
    task = await _waits(rig, "Docs", 0)
    rig.refusal = "not registered"
    rig.watched.forgotten()
    assert await task == 1
    with pytest.raises(GuestlinkError, match="not registered"):
        await rig.watched.wait("Docs", -1)
    waiting = asyncio.ensure_future(rig.watched.wait("Docs", 1))
    await rig.until(lambda: len(rig.asked) == 3)
    await asyncio.sleep(0)
    rig.refusal = ""
    rig.watched.can_be_added()
    assert await waiting == 1, "the watcher asks again"
    assert await rig.watched.wait("Docs", 1) == 2


async def test_a_refusal_reaches_the_watcher_and_leaves_nothing(rig: Rig) -> None:
    rig.refusal = "invalid path"
    for _ in range(DIRECTORY_LIMIT + 1):
        with pytest.raises(GuestlinkError, match="invalid path"):
            await rig.watched.wait(f"Docs{_}", -1)


async def test_one_container_has_a_limit(rig: Rig) -> None:
    for number in range(DIRECTORY_LIMIT):
        await rig.watched.wait(f"d{number}", -1)
    with pytest.raises(GuestlinkError, match="100 directories of work are watched already"):
        await rig.watched.wait("one more", -1)
    assert await rig.watched.wait("d0", -1) == 0

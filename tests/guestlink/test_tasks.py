"""Tasks have an owner and are cancelled with it."""

from __future__ import annotations

import asyncio

import pytest

from guestlink.tasks import TaskOwner


async def test_closing_ends_every_task_and_waits_for_their_cleanup() -> None:
    owner = TaskOwner("test")
    cleaned = []

    async def work(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(number)

    for number in range(3):
        owner.start(work(number), name=f"work {number}")
    await asyncio.sleep(0)
    await owner.close()
    assert sorted(cleaned) == [0, 1, 2]
    assert len(owner) == 0


@pytest.mark.expects_fault
async def test_a_task_that_fails_is_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    owner = TaskOwner("owner")

    async def fail() -> None:
        raise ValueError("broken")

    task = owner.start(fail(), name="doomed")
    await asyncio.wait({task})
    await asyncio.sleep(0)
    assert "owner: doomed failed" in caplog.text
    await owner.close()


async def test_a_closed_owner_starts_nothing() -> None:
    owner = TaskOwner("closed")
    await owner.close()

    async def never() -> None: ...

    with pytest.raises(RuntimeError, match="closed"):
        owner.start(never(), name="late")


async def test_a_task_may_close_its_own_owner() -> None:
    owner = TaskOwner("self")
    task = owner.start(owner.close(), name="closes")
    await task

"""What a container reports about its files: a full disk, and changes (the latter also in tests/flows)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from guestlink.rpc import CallFailed
from support.host import Host, host_in_test

GIB = 1 << 30


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    async with host_in_test(monkeypatch) as running:
        yield running


async def test_a_nearly_full_disk_is_told_once_and_once_more_when_it_is_severe(host: Host) -> None:
    """garcon repeats its report every two minutes for as long as the disk is nearly full."""
    guest = await host.registered()
    for free in (GIB - 1, GIB - 1, GIB // 2 - 1, 5, 0):
        await guest.call("LowDiskSpaceTriggered", free_bytes=free)
    assert await host.events("low-disk") == ["1023 MiB are free", "511 MiB are free"]


@pytest.mark.parametrize("method", ["LowDiskSpaceTriggered", "FileWatchTriggered"])
async def test_reports_need_a_registration(host: Host, method: str) -> None:
    guest = await host.add()
    with pytest.raises(CallFailed, match=f"Failure in {method}"):
        await guest.call(method)


async def test_a_change_that_nobody_asked_for_does_nothing(host: Host) -> None:
    guest = await host.registered()
    for path in ("", "Docs", "../..", "x" * 5000):
        await guest.call("FileWatchTriggered", path=path)

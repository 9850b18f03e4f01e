"""What the daemon does with a manager's answers about its containers."""

from __future__ import annotations

import pytest

from support.host import host_in_test


async def test_a_deleted_container_is_one_line_in_the_log_and_one_event(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with host_in_test(monkeypatch, managers="lxc") as host:
        with caplog.at_level("INFO"):
            await host.ask("attach", name="work", manager="lxc", place="/nowhere", uid=1000, users=[])
            for _ in range(3):
                await host.ask("list")  # polls
        assert caplog.text.count("work is gone") == 1
        events = (await host.ask("events", name="work"))["events"]
        assert [event["event"] for event in events].count("deleted") == 1

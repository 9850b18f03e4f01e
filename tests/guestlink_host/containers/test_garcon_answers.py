"""What a container's garcon may answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from guestlink.pb import container_guest_pb2 as pb
from guestlink_host.border import answer_pace
from guestlink_host.border.answer_pace import AnswerPace
from guestlink_host.containers.garcon_link import ICON_BATCH, read_icons
from support.http2_attacker import PING, frame


def test_millions_of_empty_icons_are_no_answer() -> None:
    with pytest.raises(ValueError, match="too many icons"):
        read_icons(b"\x0a\0" * 1_000_000)


def test_a_batch_of_icons_is_read_as_it_was_packed() -> None:
    icons = [pb.DesktopIcon(desktop_file_id=f"{n}", icon=b"x" * n, format=n % 2) for n in range(ICON_BATCH)]
    assert read_icons(pb.IconResponse(desktop_icons=icons).SerializeToString()) == icons


async def test_a_garcon_that_floods_is_read_more_slowly_on_all_its_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float, *_rest: Any) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", pause)
    pace = AnswerPace()
    pings = memoryview(frame(PING, 0, 0, b"12345678") * 1000)
    honest = pace.connection()
    await honest(memoryview(b"x" * 1000))
    assert not pauses
    for _ in range(2 * answer_pace.WORK_BURST // (1000 * answer_pace.FRAME_WORK)):
        await pace.connection()(pings)
    assert pauses[-1] > 1
    await honest(memoryview(b"x"))
    assert pauses[-1] > 1

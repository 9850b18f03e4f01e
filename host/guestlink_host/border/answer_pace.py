"""How fast a container's garcon may send on the connections that the host uses for its calls."""

from __future__ import annotations

import asyncio

from guestlink.relay import Inspect
from guestlink_host.border.allowance import Allowance
from guestlink_host.border.call_meter import Frames
from guestlink_host.border.gate import FRAME_WORK, WORK_BURST, WORK_RATE


class AnswerPace:
    """Slows down a garcon that sends more than answers, as the gate slows down calls."""

    def __init__(self) -> None:
        self._work = Allowance(WORK_BURST, WORK_RATE)

    def connection(self) -> Inspect:
        """What inspects the bytes of one connection from garcon."""
        frames = Frames()

        async def inspect(data: memoryview) -> None:
            work = len(data) + FRAME_WORK * sum(1 for _ in frames.feed(data))
            if pause := self._work.spend(work, asyncio.get_running_loop().time()):
                await asyncio.sleep(pause)

        return inspect

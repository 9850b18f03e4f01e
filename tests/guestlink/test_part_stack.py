"""Parts of a daemon: the order in which they are closed, and what happens when one cannot start."""

from __future__ import annotations

import pytest

from guestlink.part_stack import PartStack


class Part:
    def __init__(self, name: str, events: list[str], *, broken: bool = False) -> None:
        self.name = name
        self.events = events
        self.broken = broken

    async def start(self) -> None:
        self.events.append(f"start {self.name}")
        if self.broken:
            raise OSError("broken")

    async def close(self) -> None:
        self.events.append(f"close {self.name}")


async def test_parts_are_closed_in_reverse_order() -> None:
    events: list[str] = []
    async with PartStack() as parts:
        parts.add(Part("bus", events))
        await parts.start(Part("server", events))
        assert events == ["start server"]
    assert events == ["start server", "close server", "close bus"]


async def test_a_part_that_cannot_start_is_closed_and_so_are_the_others() -> None:
    events: list[str] = []

    async def run() -> None:
        async with PartStack() as parts:
            await parts.start(Part("first", events))
            await parts.start(Part("second", events, broken=True))

    with pytest.raises(OSError, match="broken"):
        await run()
    assert events == ["start first", "start second", "close second", "close first"]

"""The running parts of a daemon, closed in reverse order."""

from __future__ import annotations

import contextlib
from typing import Protocol, TypeVar


class Part(Protocol):
    """Something that a daemon closes when it stops."""

    async def close(self) -> None:
        """Release everything. The daemon also closes a part whose start failed or never happened."""


class StartablePart(Part, Protocol):
    """A part that listens, watches or runs tasks from its start to its end."""

    async def start(self) -> None:
        """Begin."""


_P = TypeVar("_P", bound=Part)
_S = TypeVar("_S", bound=StartablePart)


class PartStack(contextlib.AsyncExitStack):
    """The parts of a daemon. Leaving the ``async with`` block closes them, the last one first."""

    def add(self, part: _P) -> _P:
        """Close a part with the stack."""
        self.push_async_callback(part.close)
        return part

    async def start(self, part: _S) -> _S:
        """Start a part, and close it with the stack, also if its start fails."""
        self.add(part)
        await part.start()
        return part

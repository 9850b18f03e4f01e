"""The installations and removals of one container that this host has requested (chromeos-garcon.md §6.8).

garcon reports the progress and the end of each. Commands ask for the news since their last answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import OrderedDict
from typing import Any

from guestlink.errors import GuestlinkError

OPERATION_LIMIT = 20
"""Operations that are remembered; the oldest is forgotten."""
WAIT = 20.0
"""Seconds after which a command gets an answer without news, and asks again."""
REMOVAL = "removal"
"""The id of the removal, of which there is one at a time and which garcon's reports do not name."""


class Operation:
    """One installation or removal.

    :ivar news: how often something was reported.
    :ivar step: what it does, in words; ``""`` before the first report.
    :ivar percent: how much of the step is done.
    :ivar ended: whether it has ended.
    :ivar failure: why it failed; ``""`` if it has not.
    """

    def __init__(self) -> None:
        self.news = 0
        self.step = ""
        self.percent = 0
        self.ended = False
        self.failure = ""
        self._changed = asyncio.Event()

    def report(self, step: str, percent: int) -> None:
        """garcon has reported progress."""
        if not self.ended:
            self.step, self.percent = step, min(percent, 100)
            self._tell()

    def end(self, failure: str) -> None:
        """garcon has reported the end; only the first one counts."""
        if not self.ended:
            self.ended, self.failure = True, failure
            self._tell()

    async def wait(self, seen: int) -> None:
        """Wait for news after the number that a command has seen, for at most :data:`WAIT` seconds."""
        if self.news == seen:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), WAIT)

    def describe(self) -> dict[str, Any]:
        """The state, as fields of an answer."""
        names = ("news", "step", "percent", "ended", "failure")
        return {name: getattr(self, name) for name in names}

    def _tell(self) -> None:
        self.news += 1
        self._changed.set()
        self._changed = asyncio.Event()


class PackageOperations:
    """The operations of one container, by id."""

    def __init__(self) -> None:
        self._operations: OrderedDict[str, Operation] = OrderedDict()

    def new(self, name: str = "") -> str:
        """Remember a new operation and return its id.

        :param name: the id; ``""`` for a new one.
        :raises GuestlinkError: an operation with this id runs.
        """
        name = name or str(uuid.uuid4())
        if (running := self._operations.get(name)) is not None and not running.ended:
            raise GuestlinkError(f"another {name} is running", hint="try again when it has ended")
        self._operations.pop(name, None)
        self._operations[name] = Operation()
        while len(self._operations) > OPERATION_LIMIT:
            self._operations.popitem(last=False)
        return name

    def forgotten(self) -> None:
        """garcon has ended, and with it what it did."""
        for operation in self._operations.values():
            operation.end("garcon has ended in the middle of it")

    def end(self, name: str, failure: str) -> None:
        """An operation did not begin."""
        self._operations[name].end(failure)

    def get(self, name: str) -> Operation | None:
        """An operation that this host has requested; containers can name others."""
        return self._operations.get(name)

"""What the host remembers of installations and removals."""

from __future__ import annotations

import asyncio

import pytest

from guestlink.errors import GuestlinkError
from guestlink_host.containers import package_operations
from guestlink_host.containers.package_operations import OPERATION_LIMIT, REMOVAL, Operation, PackageOperations


async def test_a_command_gets_news_and_the_end_once() -> None:
    operation = Operation()
    waiting = asyncio.ensure_future(operation.wait(0))
    await asyncio.sleep(0)
    operation.report("installing", 40)
    await waiting
    assert operation.describe() == {"news": 1, "step": "installing", "percent": 40, "ended": False, "failure": ""}
    await operation.wait(0)  # News between two questions are not lost.
    operation.end("no space left")
    operation.end("")
    operation.report("installing", 50)
    assert (operation.failure, operation.percent, operation.news) == ("no space left", 40, 2)


async def test_without_news_the_answer_comes_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_operations, "WAIT", 0.01)
    await Operation().wait(0)


def test_what_the_container_claims_is_bounded() -> None:
    operation = Operation()
    operation.report("installing", 2**32 - 1)
    assert operation.percent == 100


def test_one_removal_at_a_time_and_a_few_operations_are_remembered() -> None:
    operations = PackageOperations()
    assert operations.new(REMOVAL) == REMOVAL
    with pytest.raises(GuestlinkError, match="another removal is running"):
        operations.new(REMOVAL)
    operations.end(REMOVAL, "refused")
    assert operations.new(REMOVAL) == REMOVAL
    names = [operations.new() for _ in range(OPERATION_LIMIT)]
    assert operations.get(REMOVAL) is None
    assert all(operations.get(name) is not None for name in names)


def test_operations_end_with_their_garcon() -> None:
    operations = PackageOperations()
    name = operations.new()
    operations.forgotten()
    operation = operations.get(name)
    assert operation is not None
    assert operation.failure == "garcon has ended in the middle of it"

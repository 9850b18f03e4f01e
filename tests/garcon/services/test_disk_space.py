"""The host learns that the disk is nearly full (chromeos-garcon.md §6.10)."""

from __future__ import annotations

import pytest

from garcon.services.disk_space import LOW, DiskSpace, free_bytes
from guestlink.errors import GuestlinkError


@pytest.mark.parametrize(("free", "reports"), [(LOW, []), (LOW - 1, [LOW - 1]), (0, [0])])
async def test_less_than_a_gibibyte_is_reported(free: int, reports: list[int]) -> None:
    got: list[int] = []

    async def report(number: int) -> None:
        got.append(number)

    await DiskSpace(report, lambda: free).check()
    assert got == reports


async def test_a_host_that_does_not_answer_ends_nothing() -> None:
    async def report(number: int) -> None:
        raise GuestlinkError("not now")

    await DiskSpace(report, lambda: 5).check()


def test_free_space_is_read_and_0_where_it_is_not_known() -> None:
    assert free_bytes() > 0
    assert free_bytes("/nonexistent") == 0

"""Runs the tests of this directory for the time in :mod:`support.fuzzing`."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import seed

from support.fuzzing import SECONDS, SEED, repeat

_FEW = 24
"""The directory has a few more tests than this."""


def _seconds(item: pytest.Item) -> float:
    """One test's share of the time; a test that runs alone does not get all of it."""
    return SECONDS / max(_FEW, sum(map(_takes_time, item.session.items)))


def _takes_time(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function) or item.path.parent.name != "fuzz":
        return False
    return _is_of_hypothesis(item) or "fuzz_seconds" in item.fixturenames


def _is_of_hypothesis(item: pytest.Function) -> bool:
    return bool(getattr(item.obj, "is_hypothesis_test", False))


@pytest.fixture
def fuzz_seconds(request: pytest.FixtureRequest) -> float:
    """How long a test without Hypothesis lasts."""
    return _seconds(request.node)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run rounds of a test until its time is over."""
    if not _is_of_hypothesis(pyfuncitem):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    end = time.monotonic() + _seconds(pyfuncitem)
    for number in itertools.count(SEED):
        try:
            seed(number)(pyfuncitem.obj)(**arguments)
        except BaseException:
            print(f"{repeat(number)} repeats this")
            raise
        if time.monotonic() >= end:
            return True
    return None

"""Several test processes of pytest-xdist on one machine: what runs together, in which order, and what is made once.

A file's tests stay in one process, because they share fixtures. The longest come first, so that the processes end
together.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_MANAGERS = re.compile(r"tests/container/test_lx[cd]\.py")
"""Container managers change what the machine has one of: the ids that root may give away."""
_SUITE = re.compile(r"\[.*\b(bookworm|trixie)\b")
"""Tests of two suites have a machine or a root file system for each."""
_ORDER = ("container/test_lx", "matrix", "container", "packaging", "flows", "interop", "fuzz")
"""How units begin that take minutes, the longest first."""


def unit(nodeid: str) -> str:
    """The name of the tests that run in one process, one after the other.

    :param nodeid: one of them.
    """
    file, _, test = nodeid.partition("::")
    if _MANAGERS.match(nodeid):
        return "container managers"
    if file.startswith("tests/matrix/"):
        return nodeid
    suite = _SUITE.search(test)
    return f"{file} {suite[1]}" if suite else file


def rank(nodeid: str) -> int:
    """Where a test comes: units with a lower number come first."""
    for number, start in enumerate(_ORDER):
        if nodeid.startswith(f"tests/{start}"):
            return number
    return len(_ORDER)


def scheduler(config: pytest.Config, log: object) -> object:
    """What gives the tests to the processes, for pytest-xdist."""
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False
    made = LoadScopeScheduling(config, log)
    made._split_scope = unit
    return made


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; waits for the one that has it.

    :param path: the lock's file, which stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A directory that one process of a test run fills for all.

    :param name: the same in each process.
    :param make: fills the directory, which exists.
    """
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    directory = shared / name
    with locked(shared / f"{name}.lock"):
        if not directory.exists():
            building = shared / f"{name}.new"
            building.mkdir()
            building.chmod(0o755)  # id-mapped containers read it as strangers
            make(building)
            building.rename(directory)
    return directory

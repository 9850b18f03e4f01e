"""pytest-xdist on one machine: which tests run in one process, in which order, and which directories they share.

The tests of one file stay in one process, because they share fixtures. The longest units start first, so that the
processes finish together.
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
"""Tests of container managers change machine-wide state: the ids that root may delegate."""
_SUITE = re.compile(r"\[.*\b(bookworm|trixie)\b")
"""Tests of two suites can run in parallel, because each suite has its own machine or root file system."""
_ORDER = ("container/test_lx", "matrix", "container", "packaging", "flows", "interop", "fuzz")
"""The beginnings of units that take minutes, the longest first."""


_ALWAYS_THE_SAME = ("checks", "fuzz", "golden", "matrix")
"""Directories whose tests depend on nothing but the code."""


def may_repeat(nodeid: str) -> bool:
    """Whether continuous integration runs a test a second time after a failure.

    Most tests drive compositors, desktop programs, managers of containers or the kernel. A run of thousands of them
    on a busy machine meets races that no test alone shows. The report lists each with its first failure.
    """
    return not nodeid.startswith(tuple(f"tests/{directory}/" for directory in _ALWAYS_THE_SAME))


def unit(nodeid: str) -> str:
    """The name of a test's unit: the tests that run in one process, one after the other.

    :param nodeid: the test.
    """
    file, _, test = nodeid.partition("::")
    if _MANAGERS.match(nodeid):
        return "container managers"
    if file.startswith("tests/matrix/"):
        return nodeid
    suite = _SUITE.search(test)
    return f"{file} {suite[1]}" if suite else file


def rank(nodeid: str) -> int:
    """A test's position in the order: units with a lower number start first."""
    for number, start in enumerate(_ORDER):
        if nodeid.startswith(f"tests/{start}"):
            return number
    return len(_ORDER)


def scheduler(config: pytest.Config, log: object) -> object:
    """The pytest-xdist scheduler that gives units to the processes."""
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False
    made = LoadScopeScheduling(config, log)
    made._split_scope = unit
    return made


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; waits for the process that holds it.

    :param path: the lock file, which is not removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A directory that one process of a test run fills for all processes.

    :param name: the same in each process.
    :param make: fills the directory, which already exists.
    """
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    directory = shared / name
    with locked(shared / f"{name}.lock"):
        if not directory.exists():
            building = shared / f"{name}.new"
            building.mkdir()
            building.chmod(0o755)  # the root of an id-mapped container is an ordinary user here
            make(building)
            building.rename(directory)
    return directory

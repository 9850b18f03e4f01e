"""A daemon's raised limit of descriptors, and the limit of the programs that it starts."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator

import pytest

from guestlink import descriptor_limit
from guestlink.child import Child
from guestlink.descriptor_limit import ENOUGH, current_limit, raise_limit, restore_limit
from guestlink.process import run
from guestlink.program import run_program

LIMIT = 60.0
SOFT = 200


@pytest.fixture(autouse=True)
def _limits() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    descriptor_limit._inherited.clear()


def test_the_limit_is_raised_to_the_hard_one_or_to_enough() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert current_limit() == SOFT
    raise_limit()
    assert current_limit() == (ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH))
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == hard


async def test_programs_get_the_limit_that_the_daemon_had() -> None:
    raise_limit()
    reads_it_later = ["sh", "-c", "sleep 0.2; ulimit -Sn"]
    assert run_program(reads_it_later, timeout=LIMIT).output == f"{SOFT}\n"
    assert (await run(reads_it_later, timeout=LIMIT)).output == f"{SOFT}\n"
    with subprocess.Popen(reads_it_later, stdout=subprocess.PIPE) as process:
        child = Child(process)
        assert await child.wait(LIMIT) == 0
        assert process.stdout is not None
        assert process.stdout.read() == f"{SOFT}\n".encode()


def test_a_program_that_has_ended_is_no_error() -> None:
    raise_limit()
    with subprocess.Popen(["true"]) as process:
        process.wait()
        restore_limit(process.pid)

"""Room for an attacker's descriptors in the test's own process."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from support.needs import absent


@contextmanager
def room_for(needed: int) -> Iterator[None]:
    """Raise the soft limit of descriptors; programs that were started before keep theirs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        absent(f"the hard limit of descriptors is {hard}, and the attack needs {needed}: ulimit -Hn {needed}")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

"""The limit of open descriptors: a daemon raises its own, and the programs that it starts get the old one back.

A program that uses select(2) breaks with descriptors above 1023, so the soft limit of a session is 1024 and only
programs that know better may raise it (systemd.exec(5), "LimitNOFILE=").
"""

from __future__ import annotations

import contextlib
import resource

ENOUGH = 65536
"""Descriptors that suffice for a daemon; a hard limit may be a thousand million."""

_inherited: list[tuple[int, int]] = []


def raise_limit() -> None:
    """Raise this process's soft limit to :data:`ENOUGH`, or to the hard limit if that is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        _inherited[:] = [(soft, hard)]


def current_limit() -> int:
    """How many descriptors this process may open, at most :data:`ENOUGH`."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ENOUGH if soft == resource.RLIM_INFINITY else min(soft, ENOUGH)


def restore_limit(pid: int) -> None:
    """Give a program that was just started the limit that this process had; without effect if it was not raised.

    The program runs already, but it has no time to open a thousand descriptors. A limit that is set between fork
    and exec would need Python code there, which is unsafe in a process with threads.
    """
    for limits in _inherited:
        with contextlib.suppress(OSError):  # It has exited, or has become another user.
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)

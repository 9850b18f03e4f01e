"""The bound on the log of a proxy that serves a container from the host's side."""

from __future__ import annotations

import logging

from sommelier_shim.daemon.log_limit import LINES, WINDOW, LogLimit


def _record(number: int) -> logging.LogRecord:
    return logging.LogRecord("sommelier", logging.WARNING, "", 0, "line %d", (number,), None)


def test_lines_above_the_limit_are_counted() -> None:
    now = [0.0]
    limit = LogLimit(lambda: now[0])
    assert sum(limit.filter(_record(number)) for number in range(1000)) == LINES
    now[0] = WINDOW
    first, second = _record(1), _record(2)
    assert limit.filter(first)
    assert limit.filter(second)
    assert first.getMessage() == f"line 1 ({1000 - LINES} lines before this one were not logged)"
    assert second.getMessage() == "line 2"

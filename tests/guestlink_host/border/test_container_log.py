"""The log lines of one container."""

from __future__ import annotations

import logging

import pytest

from guestlink_host.border.container_log import LINES, REPEAT_PAUSE, WINDOW, ContainerLog


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("guestlink_host.border.container_log.time.monotonic", lambda: now[0])
    return now


def test_a_repeated_line_is_counted(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    log = ContainerLog(logging.getLogger("test"), "demo")
    for _ in range(1000):
        log.warning("again")
    clock[0] += REPEAT_PAUSE
    log.warning("again")
    assert caplog.messages == ["again", "again (999 more times since the last such line)"]


def test_different_lines_have_a_bound_and_the_log_says_how_many_were_left_out(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    log = ContainerLog(logging.getLogger("test"), "demo")
    for number in range(LINES + 500):
        log.warning(f"line {number}")
    assert len(caplog.messages) == LINES
    clock[0] += WINDOW
    log.warning("later")
    assert caplog.messages[LINES:] == ["500 lines about demo were left out", "later"]


def test_a_percent_sign_of_a_container_is_text(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    ContainerLog(logging.getLogger("test"), "demo").warning("%s %d %(x)s")
    assert caplog.messages == ["%s %d %(x)s"]

"""How garcon detects whether the whole container or only garcon itself is shutting down."""

from __future__ import annotations

from pathlib import Path

import pytest

from garcon.host.system_state import system_is_stopping


def _systemctl(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = directory / "systemctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo stopping; exit 1", True),
        ("echo running", False),
        ("echo degraded; exit 1", False),
        ("echo 'Failed to connect to bus' >&2; exit 1", False),
    ],
)
async def test_systemd_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: bool
) -> None:
    _systemctl(tmp_path, monkeypatch, script)
    assert await system_is_stopping() is expected


async def test_a_question_that_is_killed_with_the_service_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "asked"
    _systemctl(tmp_path, monkeypatch, f"[ -e {mark} ] || {{ touch {mark}; kill -TERM $$; }}; echo stopping; exit 1")
    assert await system_is_stopping()


async def test_without_systemctl_nothing_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not await system_is_stopping()

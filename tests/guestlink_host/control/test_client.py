"""How commands wait for a container that is not reachable yet."""

from __future__ import annotations

from typing import Any

import pytest

from guestlink_host.control import client


class _Daemon:
    """Answers ``start_and_wait`` with the steps of a container that starts."""

    def __init__(self) -> None:
        self.steps = ["starting the container work"] * 3 + ["waiting until the container work has registered"] * 4

    def call(self, method: str, **fields: Any) -> dict[str, Any]:
        """The next step, or that the container is reachable."""
        assert method == "start_and_wait"
        return {"ready": False, "doing": self.steps.pop(0)} if self.steps else {"ready": True, "doing": ""}


def test_each_step_is_reported_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(client, "_PAUSE", 0.0)
    running = _Daemon()
    monkeypatch.setattr(client, "daemon", lambda: running)
    reported: list[str] = []
    client.start_and_wait("work", reported.append)
    assert reported == ["starting the container work", "waiting until the container work has registered"]
    assert capsys.readouterr().err.splitlines() == [f"{sentence} …" for sentence in reported]

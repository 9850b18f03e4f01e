"""Notifications through a notify-send that says what it was given."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestlink_host.border.notification import notify


def test_a_body_is_plain_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, told = tmp_path / "notify-send", tmp_path / "told"
    program.write_text(f"#!/bin/sh\nprintf '%s|' \"$@\" > '{told}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("DISPLAY", ":0")
    notify("-work: x", r"<b>a & b</b> C:\new \377")
    # notify-send reads C's escapes in the body, and ends where they make no UTF-8.
    assert told.read_text() == r"--app-name=Guestlink|--|-work: x|‹b>a ＆ b‹/b> C:\\new \\377|"

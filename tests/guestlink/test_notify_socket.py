"""The messages that a service sends to its manager."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from guestlink.notify_socket import NotifySocket


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_gets_messages_and_programs_do_not_get_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(60)
        manager.bind(f"\0{path}" if abstract else path)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{path}" if abstract else path)
        ours = NotifySocket(keeps_variable=True)
        ours.send("READY=1")
        assert manager.recv(100) == b"READY=1"
        ours.close()
        assert "NOTIFY_SOCKET" in os.environ
        ours = NotifySocket()
        assert "NOTIFY_SOCKET" not in os.environ
        ours.send("STATUS=gr\xf6\xdfe")
        assert manager.recv(100) == b"STATUS=gr\xc3\xb6\xc3\x9fe"
        ours.close()


@pytest.mark.parametrize("address", ["/does/not/exist", "@nobody-listens-here", "vsock:2:1", "x" * 200, "relative"])
def test_a_stale_address_ends_nothing(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    ours = NotifySocket()
    ours.send("READY=1")
    ours.send("STOPPING=1")
    ours.close()

"""The process behind a container's socket: when it is started, and what happens after its end."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from guestlink_host.border import wayland_socket
from guestlink_host.border.wayland_socket import ProxiedSocket

_PROXY = """
import os, socket, sys
words = dict(word.split("=") for word in sys.argv[2:])
open(sys.argv[1], "a").write("started\\n")
assert "NOTIFY_SOCKET" not in os.environ
open(os.environ["XDG_RUNTIME_DIR"] + "/left", "x")
listener = socket.socket(fileno=int(words["--listen-fd"]))
client, _ = listener.accept()
answer = client.recv(1)
client.send(answer)
sys.exit(0 if answer == b"0" else 3)
"""
"""A proxy that serves one client and exits with the status that the client asks for."""


class Made:
    """A container's socket, and what became of its proxies."""

    def __init__(self, directory: Path) -> None:
        self.path, self.record = directory / "socket", directory / "record"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen()
        argv = [sys.executable, "-c", _PROXY, str(self.record)]
        self.directory = directory / "proxies/1"
        self.socket = ProxiedSocket(listener, argv, {"NOTIFY_SOCKET": "/daemons"}, "work", self.directory)

    @property
    def starts(self) -> int:
        return self.record.read_text().count("started") if self.record.exists() else 0

    async def client(self, status: bytes) -> bytes:
        """Connect, and let the proxy that answers exit with a status."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(status)
        answer = await reader.read(1)
        writer.close()
        return answer


@pytest.fixture
async def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Made]:
    monkeypatch.setattr(wayland_socket, "FIRST_PAUSE", 0.01)
    found = Made(tmp_path)
    yield found
    found.socket.abandon()


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_the_first_client_starts_it_and_an_idle_one_is_started_again_at_once(made: Made) -> None:
    assert made.starts == 0
    for number in (1, 2, 3):
        assert await made.client(b"0") == b"0"
        assert made.starts == number
        await _until(lambda: not made.socket.is_running)
        assert not made.directory.exists()


async def test_one_that_fails_is_started_again_after_a_pause_that_grows(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2, 3):
        assert await made.client(b"3") == b"3"
        await _until(lambda number=number: len(caplog.messages) == number)
    assert made.starts == 3
    assert all("has ended with status 3" in message for message in caplog.messages)


async def test_a_closed_socket_refuses_clients(made: Made) -> None:
    made.socket.close()
    with pytest.raises(ConnectionRefusedError):
        await made.client(b"0")
    assert made.starts == 0

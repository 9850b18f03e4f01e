"""Registering while garcon runs, and what garcon sends when it stops."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from garcon.host import registrar
from garcon.host.registrar import Registrar


class Client:
    """A fake client of ContainerListener that records its calls."""

    def __init__(self) -> None:
        self.registration = SimpleNamespace(registered=True)
        self.events: list[str] = []
        self.running = asyncio.Event()

    async def run(self) -> None:
        self.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.events.append("ended")

    async def shut_down(self) -> None:
        self.events.append("ContainerShutdown")


@pytest.mark.parametrize(
    ("stopping", "registered", "expected"),
    [
        (True, True, ["ContainerShutdown", "ended"]),
        (False, True, ["ended"]),  # A restart of garcon must not void the token (chromeos-garcon.md §2.3).
        (True, False, ["ended"]),
    ],
)
async def test_only_a_registered_container_that_stops_sends_a_shutdown(
    monkeypatch: pytest.MonkeyPatch, stopping: bool, registered: bool, expected: list[str]
) -> None:
    async def system_is_stopping() -> bool:
        return stopping

    monkeypatch.setattr(registrar, "system_is_stopping", system_is_stopping)
    client = Client()
    client.registration.registered = registered
    part = Registrar(client, needs_address=False)  # type: ignore[arg-type]
    await part.start()
    await client.running.wait()
    await part.close()
    assert client.events == expected

"""A container that has no host yet."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from garcon import settings
from garcon.daemon import Daemon
from garcon.host import host_search
from garcon.session import shells
from guestlink import socket_directory
from guestlink.control import ControlClient
from guestlink.errors import GuestlinkError
from guestlink.service import Notifier
from guestlink.tasks import TaskOwner


async def test_garcon_waits_for_a_host_that_is_attached_later(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried = runtime / "carried"
    monkeypatch.setattr(socket_directory, "MOUNT_POINT", str(carried))
    monkeypatch.setattr(settings, "VSOCK_DEVICE", str(runtime / "vsock"))
    monkeypatch.setattr(host_search, "_DELAY", 0.01)
    config = settings.load_settings({"GUESTLINK_TOKEN_FILE": str(runtime / "token")})
    owner = TaskOwner("test")
    client = ControlClient(runtime / "run/guestlink/garcon.sock")
    task = owner.start(Daemon(config, {"XDG_RUNTIME_DIR": str(runtime / "run")}).run(Notifier()), name="daemon")
    try:
        status = await _ask(client)
        assert not status["registered"]
        assert status["phase"] == "no host"
        assert status["sentence"] == f"no host: there is neither {carried} nor {runtime / 'token'}"
        with pytest.raises(GuestlinkError, match="the host cannot be asked now: no host"):
            await asyncio.to_thread(client.call, "open_url", url="https://example.org")
        carried.mkdir()
        async with asyncio.timeout(60):
            while (status := await _ask(client))["host"] != f"unix:{carried}/listener.sock":
                await asyncio.sleep(0.02)
        assert status["phase"] != "no host"
    finally:
        task.cancel()
        await owner.close()


async def test_garcon_can_be_stopped_while_it_waits(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_directory, "MOUNT_POINT", str(runtime / "carried"))
    monkeypatch.setattr(settings, "VSOCK_DEVICE", str(runtime / "vsock"))
    config = settings.load_settings({"GUESTLINK_TOKEN_FILE": str(runtime / "token")})
    owner = TaskOwner("test")
    owner.start(Daemon(config, {"XDG_RUNTIME_DIR": str(runtime / "run")}).run(Notifier()), name="daemon")
    await _ask(ControlClient(runtime / "run/guestlink/garcon.sock"))
    await owner.close()
    assert not (runtime / "run/guestlink/garcon.sock").exists()


@pytest.fixture(autouse=True)
def _no_vshd(monkeypatch: pytest.MonkeyPatch) -> None:
    """A standby vshd runs as long as garcon's process, which here is the test runner's process."""
    monkeypatch.setattr(shells, "_vshd", list)


async def _ask(client: ControlClient) -> dict[str, object]:
    async with asyncio.timeout(60):
        while True:
            try:
                return await asyncio.to_thread(client.call, "status")
            except GuestlinkError:
                await asyncio.sleep(0.01)

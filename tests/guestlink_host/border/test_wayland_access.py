"""The containers' sockets follow what is in their way."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from guestlink_host.border import wayland_access
from guestlink_host.border.wayland_access import WaylandAccess
from support.wayland_peers import GLOBALS, Host


@pytest.fixture
async def access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WaylandAccess]:
    """The sockets of containers on a compositor without security contexts."""
    monkeypatch.setattr(wayland_access, "RETRY", 0.05)
    (tmp_path / "private").mkdir()
    host = Host(tmp_path / "compositor", GLOBALS)
    made = WaylandAccess(
        host.path,
        "",
        tmp_path / "private",
        tmp_path / "proxies",
        lambda name: {"wayland": "allow", "clipboard": "allow"},
        proxy=[sys.executable, "-c", ""],
    )
    try:
        await made.start()
        yield made
    finally:
        await made.close()
        host.close()


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_what_is_in_the_sockets_place_is_told_and_the_socket_made_once_it_is_gone(
    access: WaylandAccess, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "work/wayland-0"
    (in_the_way / "full").mkdir(parents=True)
    access.add("work", tmp_path / "work")
    await _until(lambda: "cannot be created: is a directory" in access.describe("work")["why"])
    assert list((tmp_path / "private").iterdir()) == []
    (in_the_way / "full").rmdir()
    in_the_way.rmdir()
    await _until(lambda: access.describe("work")["way"] == "proxy")
    assert in_the_way.is_socket()


async def test_a_container_that_is_forgotten_has_no_way(access: WaylandAccess, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    access.add("work", tmp_path / "work")
    await _until(lambda: access.describe("work")["way"] == "proxy")
    access.remove("work")
    access.update("work")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_unix_connection(str(tmp_path / "work/wayland-0"))
    assert access.describe("work")["way"] == "none"

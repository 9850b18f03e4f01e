"""Publishing: what the host is told after changes on disk, and what cannot hold it up (garcon.md §3.7, §3.8)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from garcon import package_owner
from garcon import publisher as publisher_module
from garcon.host_link import HostUnavailable
from garcon.package_owner import Backend
from garcon.publisher import Publisher

LIMIT = 30
ENTRY = "[Desktop Entry]\nType=Application\nName=N\nExec=prog\n"


class Link:
    """A host that notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.away = False

    async def call(self, method: str, timeout: float, **fields: Any) -> None:
        if self.away:
            raise HostUnavailable("gone")
        self.calls.append((method, fields))

    def lists(self) -> list[list[str]]:
        return [
            [message.desktop_file_id for message in fields["application"]]
            for method, fields in self.calls
            if method == "UpdateApplicationList"
        ]

    def owners(self) -> list[str]:
        lists = [fields["application"] for method, fields in self.calls if method == "UpdateApplicationList"]
        return [message.package_id for message in lists[-1]] if lists else []

    def counts(self) -> list[int]:
        return [fields["count"] for method, fields in self.calls if method == "PendingUpdateApplicationListCalls"]


class Owners:
    """A package manager that takes its time."""

    def __init__(self) -> None:
        self.answering = asyncio.Event()

    async def ask(self, paths: Sequence[str]) -> dict[str, str]:
        await self.answering.wait()
        return dict.fromkeys(paths, "p;1;all;installed")


class Rig:
    def __init__(self, root: Path, owners: Owners) -> None:
        self.applications = root / "share" / "applications"
        self.applications.mkdir(parents=True)
        self.mime = root / "home" / ".local" / "share" / "mime"
        self.mime.mkdir(parents=True)
        self.link = Link()
        self.owners = owners
        environ = {"HOME": str(root / "home"), "XDG_DATA_DIRS": str(root / "share"), "PATH": "/bin"}
        self.publisher = Publisher(environ)
        self.publisher.start(self.link)  # type: ignore[arg-type]

    def add(self, name: str) -> Path:
        path = self.applications / f"{name}.desktop"
        path.write_text(ENTRY)
        return path

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    owners = Owners()
    monkeypatch.setattr(publisher_module, "installed_backend", lambda: Backend("manager", owners.ask, ()))
    monkeypatch.setattr(package_owner, "_SYSTEM", (f"{tmp_path}/share/",))
    rig = Rig(tmp_path, owners)
    try:
        yield rig
    finally:
        await rig.publisher.close()


async def test_a_change_is_announced_published_and_closed(rig: Rig) -> None:
    rig.add("a")
    await rig.until(lambda: rig.link.lists() == [["a"]])
    await rig.until(lambda: rig.link.counts()[-1:] == [0])
    assert rig.link.counts()[0] == 1
    rig.add("b")
    await rig.until(lambda: rig.link.lists()[-1:] == [["a", "b"]])
    await rig.until(lambda: rig.link.counts()[-1:] == [0])


async def test_the_first_list_has_no_pending_count(rig: Rig) -> None:
    rig.publisher.publish_everything()
    await rig.until(rig.link.lists)
    assert rig.link.counts() == []


async def test_the_trigger_of_package_managers_causes_a_scan(rig: Rig) -> None:
    (rig.applications / ".garcon_trigger").touch()
    await rig.until(lambda: rig.link.lists() == [[]])


async def test_a_fifo_in_place_of_the_mime_cache_holds_nothing_up(rig: Rig) -> None:
    os.mkfifo(rig.mime / "mime.cache")
    rig.add("a")
    await rig.until(lambda: rig.link.lists()[-1:] == [["a"]])
    await rig.until(lambda: any(method == "UpdateMimeTypes" for method, _ in rig.link.calls))


async def test_a_host_that_is_away_is_told_everything_when_it_is_back(rig: Rig) -> None:
    rig.link.away = True
    rig.add("a")
    await rig.until(lambda: rig.publisher.current.applications)
    rig.link.away = False
    rig.publisher.publish_everything()
    await rig.until(lambda: rig.link.lists()[-1:] == [["a"]])


async def test_owners_never_delay_the_list(rig: Rig) -> None:
    rig.add("a")
    await rig.until(lambda: rig.link.lists() == [["a"]])
    assert rig.link.owners() == [""]
    rig.owners.answering.set()
    await rig.until(lambda: rig.link.owners() == ["p;1;all;installed"])
    assert rig.link.lists() == [["a"], ["a"]]

"""Publishing: what garcon sends after changes on disk, and what must not delay it (chromeos-garcon.md §3.7 and
§3.8)."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from garcon.desktop import application_publisher as publisher_module
from garcon.desktop.application_publisher import ApplicationPublisher
from garcon.desktop.coalesce import Coalescer
from garcon.host.listener_client import HostRefused, NotRegistered

LIMIT = 60
ENTRY = "[Desktop Entry]\nType=Application\nName=N\nExec=prog\n"


class Host:
    """A fake host that stores every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.away = False
        self.refuses: set[str] = set()
        self.refused: Counter[str] = Counter()

    async def call(self, method: str, timeout: float | None = None, **fields: Any) -> None:
        if self.away:
            raise NotRegistered("gone")
        if method in self.refuses:
            self.refused[method] += 1
            raise HostRefused("no")
        self.calls.append((method, fields))

    def lists(self) -> list[list[str]]:
        return [
            [message.desktop_file_id for message in fields["application"]]
            for method, fields in self.calls
            if method == "UpdateApplicationList"
        ]

    def counts(self) -> list[int]:
        return [fields["count"] for method, fields in self.calls if method == "PendingUpdateApplicationListCalls"]


class Rig:
    def __init__(self, root: Path) -> None:
        self.applications = root / "share" / "applications"
        self.applications.mkdir(parents=True)
        self.mime = root / "home" / ".local" / "share" / "mime"
        self.mime.mkdir(parents=True)
        self.host = Host()
        environ = {"HOME": str(root / "home"), "XDG_DATA_DIRS": str(root / "share"), "PATH": "/bin"}
        self.publisher = ApplicationPublisher(environ, self.host)

    def add(self, name: str) -> Path:
        path = self.applications / f"{name}.desktop"
        path.write_text(ENTRY)
        return path

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path)
    await rig.publisher.start()
    try:
        yield rig
    finally:
        await rig.publisher.close()


async def test_a_change_is_announced_published_and_closed(rig: Rig) -> None:
    rig.add("a")
    await rig.until(lambda: rig.host.lists() == [["a"]])
    await rig.until(lambda: rig.host.counts()[-1:] == [0])
    assert rig.host.counts()[0] == 1
    rig.add("b")
    await rig.until(lambda: rig.host.lists()[-1:] == [["a", "b"]])
    await rig.until(lambda: rig.host.counts()[-1:] == [0])


async def test_the_first_list_has_no_pending_count(rig: Rig) -> None:
    rig.publisher.publish_everything()
    await rig.until(rig.host.lists)
    assert rig.host.counts() == []


async def test_the_trigger_of_package_managers_causes_a_scan(rig: Rig) -> None:
    (rig.applications / ".garcon_trigger").touch()
    await rig.until(lambda: rig.host.lists() == [[]])


async def test_a_fifo_in_place_of_the_mime_cache_holds_nothing_up(rig: Rig) -> None:
    os.mkfifo(rig.mime / "mime.cache")
    rig.add("a")
    await rig.until(lambda: rig.host.lists()[-1:] == [["a"]])
    await rig.until(lambda: any(method == "UpdateMimeTypes" for method, _ in rig.host.calls))


async def test_a_host_that_is_away_is_told_everything_when_it_is_back(rig: Rig) -> None:
    rig.host.away = True
    rig.add("a")
    await rig.until(lambda: rig.publisher.current.applications)
    rig.host.away = False
    rig.publisher.publish_everything()
    await rig.until(lambda: rig.host.lists()[-1:] == [["a"]])


async def test_what_the_host_refused_is_sent_again_until_it_takes_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "FIRST_RETRY", 0.01)
    rig.host.refuses = {"UpdateApplicationList", "UpdateMimeTypes"}
    rig.add("a")
    rig.publisher.publish_everything()
    await rig.until(lambda: rig.host.refused["UpdateApplicationList"] > 2)
    await rig.until(lambda: rig.host.refused["UpdateMimeTypes"] > 2)
    rig.add("b")
    rig.host.refuses = set()
    await rig.until(lambda: rig.host.lists()[-1:] == [["a", "b"]])
    await rig.until(lambda: any(method == "UpdateMimeTypes" for method, _ in rig.host.calls))
    await rig.until(lambda: rig.host.counts()[-1:] == [0])


async def test_no_application_has_an_owner_while_nothing_can_be_removed(rig: Rig) -> None:
    """The host offers "Uninstall" for applications with an owner, and garcon has no UninstallPackageOwningFile."""
    rig.add("a")
    await rig.until(rig.host.lists)
    assert [message.package_id for _, fields in rig.host.calls for message in fields.get("application", ())] == [""]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the pause between publications."""
    monkeypatch.setattr(publisher_module, "Coalescer", partial(Coalescer, window=0.0))


@pytest.mark.usefixtures("quick")
async def test_pictures_that_come_change_and_go_publish_the_list_again(rig: Rig, tmp_path: Path) -> None:
    """Hosts request icons after each list, and no other message makes them request icons."""
    own = tmp_path / "own.png"
    rig.add("a").write_text(ENTRY + "Icon=org.example.A\n")
    rig.add("b").write_text(ENTRY + f"Icon={own}\n")
    share, home = tmp_path / "share", tmp_path / "home"
    theme = share / "icons/hicolor/48x48/apps"

    async def publishes(act: Callable[[], object]) -> None:
        await rig.until(lambda: rig.publisher.pending_count == 0)
        before = len(rig.host.lists())
        act()
        await rig.until(lambda: len(rig.host.lists()) > before)

    def switch_to_another_theme() -> None:
        settings = home / ".config/gtk-3.0/settings.ini"
        settings.parent.mkdir(parents=True)
        settings.write_text("[Settings]\ngtk-icon-theme-name=Other\n")

    def replace(path: Path, content: str) -> None:
        path.with_name("new").write_text(content)
        os.replace(path.with_name("new"), path)

    await rig.until(lambda: rig.host.lists()[-1:] == [["a", "b"]])
    await publishes(lambda: theme.mkdir(parents=True))
    await publishes(lambda: (theme / "org.example.A.png").write_text("one"))
    await publishes(lambda: replace(theme / "org.example.A.png", "two"))
    await publishes((theme / "org.example.A.png").unlink)
    await publishes(lambda: (theme / "org.example.A.png").symlink_to(tmp_path / "elsewhere.png"))
    await publishes(lambda: (tmp_path / "elsewhere.png").write_text("linked"))
    await publishes(lambda: own.write_text("absolute"))
    await publishes(lambda: replace(own, "again"))
    await publishes(switch_to_another_theme)
    await publishes(lambda: (home / ".icons/Other/scalable/apps").mkdir(parents=True))
    await publishes(lambda: (home / ".icons/Other/scalable/apps/org.example.A.svg").write_text("<svg/>"))
    await publishes((share / "pixmaps").mkdir)
    await publishes(lambda: (share / "pixmaps/org.example.A.xpm").write_text("x"))


async def test_pictures_of_others_publish_nothing(rig: Rig, tmp_path: Path) -> None:
    theme = tmp_path / "share/icons/hicolor/48x48/apps"
    theme.mkdir(parents=True)
    rig.add("a").write_text(ENTRY + "Icon=org.example.A\n")
    await rig.until(lambda: rig.host.lists() and rig.publisher.pending_count == 0)
    lists = len(rig.host.lists())
    (theme / "org.example.B.png").write_text("other")
    (theme.parents[1] / "icon-theme.cache").write_text("cache")
    (theme / "org.example.A.png").write_text("own")
    await rig.until(lambda: len(rig.host.lists()) > lists)
    assert len(rig.host.lists()) == lists + 1

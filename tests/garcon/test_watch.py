"""Watching directories that come, go, are replaced and are links (garcon.md §3.8)."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from garcon.watch import DirectoryWatch

LIMIT = 30
ATTEMPTS = 5


class Watched:
    """A watch that counts what it is told, by name."""

    def __init__(self) -> None:
        self.watch = DirectoryWatch()
        self.calls: Counter[str] = Counter()

    def add(self, path: Path, *, recursive: bool = True) -> None:
        self.watch.add(str(path), lambda: self.calls.update([path.name]), recursive=recursive)

    async def tells(self, name: str, act: Callable[[], object]) -> None:
        """Do something and wait until the watch has told it."""
        before = self.calls[name]
        act()
        async with asyncio.timeout(LIMIT):
            while self.calls[name] == before:
                await asyncio.sleep(0.01)
        await self.settle()

    async def tells_nothing(self, name: str, act: Callable[[], object]) -> None:
        """Do something of which the watch must not tell; what it still tells of earlier events does not count."""
        for _ in range(ATTEMPTS):
            before = self.calls[name]
            act()
            await self.settle()
            if self.calls[name] == before:
                return
        pytest.fail(f"{name} is told every time")

    async def settle(self) -> None:
        """Wait until nothing more seems to come of what has been done."""
        while (before := sum(self.calls.values())) or True:
            await asyncio.sleep(0.15)
            if sum(self.calls.values()) == before:
                return


@pytest_asyncio.fixture
async def watched() -> AsyncIterator[Watched]:
    watched = Watched()
    try:
        yield watched
    finally:
        await watched.watch.close()


async def test_files_that_come_change_and_go(tmp_path: Path, watched: Watched) -> None:
    watched.add(tmp_path)
    watched.watch.start()
    path = tmp_path / "a.desktop"
    for act in (
        path.touch,
        lambda: path.write_text("x"),
        lambda: path.chmod(0o600),
        lambda: path.rename(tmp_path / "b"),
        path.touch,
        path.unlink,
    ):
        await watched.tells(tmp_path.name, act)


async def test_directories_below_count_only_where_asked(tmp_path: Path, watched: Watched) -> None:
    deep, flat = tmp_path / "deep", tmp_path / "flat"
    for directory in (deep, flat):
        (directory / "sub").mkdir(parents=True)
    watched.add(deep)
    watched.add(flat, recursive=False)
    watched.watch.start()
    (flat / "sub" / "x").touch()
    await watched.tells("deep", (deep / "sub" / "x").touch)
    await watched.tells("deep", (deep / "new").mkdir)
    await watched.tells("deep", (deep / "new" / "x").touch)
    assert watched.calls["flat"] == 0


async def test_reading_is_no_change(tmp_path: Path, watched: Watched) -> None:
    (tmp_path / "a.desktop").write_text("x")
    watched.add(tmp_path)
    watched.watch.start()
    for _ in range(3):
        (tmp_path / "a.desktop").read_text()
        os.listdir(tmp_path)
    await watched.settle()
    assert not watched.calls


async def test_missing_directories_with_the_same_parent(tmp_path: Path, watched: Watched) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    watched.add(one)
    watched.add(two, recursive=False)
    watched.watch.start()
    await watched.tells("one", one.mkdir)
    assert watched.calls["two"] == 0
    await watched.tells("two", two.mkdir)
    await watched.tells("one", (one / "f").touch)
    await watched.tells("two", (two / "f").touch)


async def test_what_happens_beside_a_missing_directory_is_not_told(tmp_path: Path, watched: Watched) -> None:
    watched.add(tmp_path / "missing")
    watched.watch.start()
    (tmp_path / "other").touch()
    await watched.settle()
    assert not watched.calls


async def test_a_directory_that_is_removed_and_made_again_at_once(tmp_path: Path, watched: Watched) -> None:
    path = tmp_path / "applications"
    path.mkdir()
    watched.add(path)
    watched.watch.start()

    def replace() -> None:
        shutil.rmtree(path)
        path.mkdir()

    for number in range(5):
        await watched.tells(path.name, replace)
        await watched.tells(path.name, (path / f"{number}.desktop").touch)


async def test_a_directory_that_another_one_replaces(tmp_path: Path, watched: Watched) -> None:
    path = tmp_path / "applications"
    path.mkdir()
    watched.add(path)
    watched.watch.start()

    def replace() -> None:
        path.rename(tmp_path / "old")
        path.mkdir()

    await watched.tells(path.name, replace)
    await watched.tells(path.name, (path / "new.desktop").touch)
    await watched.tells_nothing(path.name, (tmp_path / "old" / "x.desktop").touch)


async def test_the_parents_go_and_come_back(tmp_path: Path, watched: Watched) -> None:
    path = tmp_path / "share" / "guestlink" / "applications"
    path.mkdir(parents=True)
    watched.add(path)
    watched.watch.start()
    await watched.tells(path.name, lambda: shutil.rmtree(tmp_path / "share"))
    await watched.tells(path.name, lambda: path.mkdir(parents=True))
    await watched.tells(path.name, (path / "a.desktop").touch)


async def test_a_link_to_a_directory_and_its_next_target(tmp_path: Path, watched: Watched) -> None:
    """As a Nix profile is: every generation is a new target."""
    for name in ("one", "two"):
        (tmp_path / name / "applications").mkdir(parents=True)
    profile = tmp_path / "profile"
    profile.symlink_to("one")
    watched.add(profile / "applications")
    watched.watch.start()
    await watched.tells("applications", (tmp_path / "one" / "applications" / "a.desktop").touch)

    def switch() -> None:
        (tmp_path / "next").symlink_to("two")
        os.replace(tmp_path / "next", profile)

    await watched.tells("applications", switch)
    await watched.tells("applications", (tmp_path / "two" / "applications" / "b.desktop").touch)
    await watched.tells_nothing("applications", (tmp_path / "one" / "applications" / "c.desktop").touch)


async def test_links_that_lead_nowhere_or_in_a_circle(tmp_path: Path, watched: Watched) -> None:
    (tmp_path / "nowhere").symlink_to("missing/there")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "file").touch()
    for name in ("nowhere", "circle", "file"):
        watched.add(tmp_path / name)
    watched.watch.start()
    await watched.tells("nowhere", lambda: (tmp_path / "missing" / "there").mkdir(parents=True))
    await watched.tells("nowhere", (tmp_path / "missing" / "there" / "x").touch)

    def become_directory() -> None:
        (tmp_path / "file").unlink()
        (tmp_path / "file").mkdir()

    await watched.tells("file", become_directory)
    await watched.tells("file", (tmp_path / "file" / "x").touch)


async def test_one_directory_for_two(tmp_path: Path, watched: Watched) -> None:
    path = tmp_path / "shared"
    path.mkdir()
    watched.watch.add(str(path), lambda: watched.calls.update(["first"]), recursive=True)
    watched.watch.add(str(path), lambda: watched.calls.update(["second"]), recursive=True)
    watched.watch.start()
    await watched.tells("first", (path / "x").touch)
    assert watched.calls["second"]


async def test_closing_before_the_start_and_twice(watched: Watched) -> None:
    await watched.watch.close()
    await watched.watch.close()

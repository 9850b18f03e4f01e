"""Watches on directories that appear, disappear, are replaced or are links (chromeos-garcon.md §3.8)."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from garcon.inotify import ATTRIB, CREATE, DELETE, ISDIR, Change
from garcon.watch import DirectoryWatch
from garcon.watch_plan import Plan
from garcon.watch_plan import Watched as WatchedPath

LIMIT = 60
ATTEMPTS = 5


class Watched:
    """A watch that counts its notifications by directory name.

    :param quiet: a directory that nobody else changes.
    :ivar last: watches this directory. The kernel reports changes in their order, so its notification is the last.
    """

    def __init__(self, quiet: Path) -> None:
        self.watch = DirectoryWatch()
        self.calls: Counter[str] = Counter()
        self._quiet = quiet
        self._turn = 0
        self._heard = asyncio.Event()
        self.last = WatchedPath(str(quiet), self._heard.set)
        self.watch.add(self.last.path, self.last.changed)

    def add(self, path: Path, *, depth: int = 16) -> None:
        self.watch.add(str(path), lambda: self.calls.update([path.name]), depth=depth)

    async def tells(self, name: str, act: Callable[[], object]) -> None:
        """Run ``act`` and wait until the watch has reported the change."""
        before = self.calls[name]
        act()
        async with asyncio.timeout(LIMIT):
            while self.calls[name] == before:
                await asyncio.sleep(0.01)
        await self.settle()

    async def tells_nothing(self, name: str, act: Callable[[], object]) -> None:
        """Check that the watch does not report ``act``; tries again if an earlier event's notification arrives."""
        for _ in range(ATTEMPTS):
            before = self.calls[name]
            act()
            await self.settle()
            if self.calls[name] == before:
                return
        pytest.fail(f"{name} is told every time")

    async def settle(self) -> None:
        """Wait until all changes so far have been reported, also those after which the watch makes a new plan.

        The watch reads nothing while it makes a plan, so it reads a second change after that plan is in place.
        """
        for _ in range(2):
            self._heard.clear()
            self._turn += 1
            (self._quiet / str(self._turn)).mkdir()
            async with asyncio.timeout(LIMIT):
                await self._heard.wait()


@pytest_asyncio.fixture
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    watched = Watched(tmp_path_factory.mktemp("quiet"))
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
    watched.add(flat, depth=0)
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
    watched.add(two, depth=0)
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
    """Like a Nix profile: every generation gives the link a new target."""
    for name in ("one", "two"):
        (tmp_path / name / "applications").mkdir(parents=True)
    profile = tmp_path / "profile"
    profile.symlink_to("one")
    watched.add(profile / "applications")
    watched.watch.start()
    await watched.tells("applications", (tmp_path / "one" / "applications" / "a.desktop").touch)

    await watched.tells("applications", lambda: switch(profile, "two"))
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


def switch(link: Path, target: str | Path) -> None:
    """Change a link's target atomically, as Nix and stow do."""
    new = link.with_name(f"{link.name}.new")
    new.symlink_to(target)
    os.replace(new, link)


async def test_a_data_directory_that_is_renamed_and_made_again(tmp_path: Path, watched: Watched) -> None:
    path = tmp_path / "one" / "share" / "applications"
    path.mkdir(parents=True)
    watched.add(path)
    watched.watch.start()

    def rename() -> None:
        (tmp_path / "one").rename(tmp_path / "old")
        path.mkdir(parents=True)

    await watched.tells(path.name, rename)
    await watched.tells(path.name, (path / "a.desktop").touch)
    await watched.tells_nothing(path.name, (tmp_path / "old/share/applications/b.desktop").touch)
    await watched.tells(path.name, lambda: (tmp_path / "one/share").rename(tmp_path / "away"))


async def test_a_link_below_whose_target_is_another_link(tmp_path: Path, watched: Watched) -> None:
    """home-manager creates such a link to a directory of a Nix profile."""
    path, profile = tmp_path / "applications", tmp_path / "profile"
    path.mkdir()
    for number in (1, 2):
        (tmp_path / f"store/{number}/share/applications").mkdir(parents=True)
    profile.symlink_to("store/1")
    (path / "hm").symlink_to("../profile/share/applications")
    watched.add(path)
    watched.watch.start()
    one, two = (tmp_path / f"store/{number}/share/applications" for number in (1, 2))
    await watched.tells(path.name, (one / "a.desktop").touch)
    await watched.tells(path.name, lambda: switch(profile, "store/2"))
    await watched.tells(path.name, (two / "b.desktop").touch)
    await watched.tells_nothing(path.name, (one / "c.desktop").touch)
    await watched.tells(path.name, lambda: shutil.rmtree(two))
    await watched.tells(path.name, two.mkdir)
    await watched.tells(path.name, (two / "sub").mkdir)
    await watched.tells(path.name, (two / "sub" / "c.desktop").touch)
    await watched.tells(path.name, (path / "hm").unlink)
    await watched.tells_nothing(path.name, (two / "d.desktop").touch)


async def test_a_file_that_is_a_link(tmp_path: Path, watched: Watched) -> None:
    path, target = tmp_path / "applications", tmp_path / "packages" / "a" / "a.desktop"
    path.mkdir()
    (path / "a.desktop").symlink_to(tmp_path / "current" / "a.desktop")
    watched.add(path)
    watched.watch.start()
    target.parent.mkdir(parents=True)
    await watched.tells(path.name, lambda: (tmp_path / "current").symlink_to("packages/a"))
    await watched.tells(path.name, target.touch)
    await watched.tells(path.name, lambda: target.write_text("x"))
    target.with_name("new").write_text("y")
    await watched.tells(path.name, lambda: os.replace(target.with_name("new"), target))
    await watched.tells(path.name, lambda: switch(tmp_path / "current", "nowhere"))
    (tmp_path / "packages" / "b").mkdir()
    await watched.tells(path.name, lambda: switch(tmp_path / "current", "packages/b"))


async def test_links_that_make_circles_and_link_everything(tmp_path: Path, watched: Watched) -> None:
    path = tmp_path / "applications"
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "up").symlink_to("..")
    (path / "self").symlink_to("self")
    (path / "ping").symlink_to("pong")
    (path / "pong").symlink_to("ping")
    (path / "root").symlink_to("/")
    watched.add(path, depth=1)
    watched.watch.start()
    await watched.tells(path.name, (path / "sub" / "a.desktop").touch)


async def test_more_links_than_are_followed_are_said_and_directories_go_first(
    tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("garcon.watch_plan.WATCH_LIMIT", 60)
    path = tmp_path / "applications"
    path.mkdir()
    for number in range(200):
        (tmp_path / f"target{number}").mkdir()
        (path / f"link{number}").symlink_to(f"../target{number}")
    (path / "zz").mkdir()
    watched.add(path)
    watched.watch.start()
    assert "some changes go unnoticed" in caplog.text
    await watched.tells(path.name, (path / "zz" / "a.desktop").touch)


async def test_names_that_do_not_matter_are_not_told(tmp_path: Path, watched: Watched) -> None:
    watched.watch.add(
        str(tmp_path), lambda: watched.calls.update(["it"]), depth=1, matters=lambda name: name.startswith("a")
    )
    (tmp_path / "target").mkdir()
    watched.watch.start()
    (tmp_path / "b").touch()
    (tmp_path / "c").symlink_to("b")
    await watched.settle()
    assert not watched.calls
    await watched.tells("it", lambda: (tmp_path / "a").symlink_to("target"))
    await watched.tells("it", (tmp_path / "new").mkdir)
    await watched.tells("it", (tmp_path / "new" / "a").touch)


async def test_a_file_of_its_own(tmp_path: Path, watched: Watched) -> None:
    path = tmp_path / "sub" / "settings"
    watched.add(path)
    watched.watch.start()
    path.parent.mkdir()
    (path.parent / "other").touch()
    await watched.tells(path.name, path.touch)
    await watched.tells(path.name, lambda: path.write_text("x"))
    await watched.tells_nothing(path.name, (path.parent / "other").touch)
    await watched.tells(path.name, path.unlink)


async def test_watching_other_paths_instead(tmp_path: Path, watched: Watched) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    watched.add(tmp_path / "one")
    watched.watch.start()
    two = WatchedPath(str(tmp_path / "two"), lambda: watched.calls.update(["two"]))
    await watched.watch.replace([two, watched.last])
    await watched.settle()
    await watched.tells("two", (tmp_path / "two" / "a").touch)
    await watched.tells_nothing("one", (tmp_path / "one" / "a").touch)


async def test_a_directory_that_goes_while_a_new_plan_is_made_is_told(tmp_path: Path, watched: Watched) -> None:
    path = tmp_path / "one"
    path.mkdir()
    one = WatchedPath(str(path), lambda: watched.calls.update(["one"]))
    two = WatchedPath(str(tmp_path / "two"), lambda: watched.calls.update(["two"]))
    watched.watch.start()
    await watched.watch.replace([one, watched.last])
    replacing = asyncio.ensure_future(watched.watch.replace([one, two, watched.last]))
    while not watched.watch._placing:
        await asyncio.sleep(0)
    await watched.tells("one", path.rmdir)
    await replacing
    assert watched.calls["two"] == 0


async def test_one_directory_for_two(tmp_path: Path, watched: Watched) -> None:
    path = tmp_path / "shared"
    path.mkdir()
    watched.watch.add(str(path), lambda: watched.calls.update(["first"]), depth=1)
    watched.watch.add(str(path), lambda: watched.calls.update(["second"]), depth=1)
    watched.watch.start()
    await watched.tells("first", (path / "x").touch)
    assert watched.calls["second"]


async def test_closing_before_the_start_and_twice(watched: Watched) -> None:
    await watched.watch.close()
    await watched.watch.close()


def test_only_links_and_directories_require_a_new_plan(tmp_path: Path) -> None:
    watched = WatchedPath(str(tmp_path), lambda: None, depth=1)
    plan = Plan(
        contents={1: {watched}}, links={(1, "was a link")}, directories={1: str(tmp_path)}, present={watched}
    )
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    for name, mask, expected in (
        ("file", CREATE, False),
        ("file", DELETE, False),
        ("link", CREATE, True),
        ("was a link", DELETE, True),
        ("link", ATTRIB, False),
        ("directory", CREATE | ISDIR, True),
    ):
        assert plan.affected(Change(1, mask, name)) == ({watched}, expected), name

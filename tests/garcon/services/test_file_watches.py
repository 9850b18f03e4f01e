"""The directories that the host watches (chromeos-garcon.md §6.5, §9.7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from garcon.services.file_watches import WATCH_LIMIT, WINDOW, CannotWatch, FileWatches, ReportPace, watch_key
from guestlink.errors import GuestlinkError

LIMIT = 60.0


class Rig:
    """A home directory, and a host that stores reports."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.reports: list[str] = []
        self.refuses = False
        self.watches = FileWatches(str(home), self._report)

    async def _report(self, path: str) -> None:
        self.reports.append(path)
        if self.refuses:
            raise GuestlinkError("not now")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path)
    await made.watches.start()
    yield made
    await made.watches.close()


@pytest.mark.parametrize(
    ("path", "key"),
    [("", ""), (".", ""), ("./", ""), ("Docs", "Docs"), ("Docs/", "Docs"), ("./a//b/.", "a/b"), ("..a/b", "..a/b")],
)
def test_a_directory_has_one_spelling(path: str, key: str) -> None:
    assert watch_key(path) == key


@pytest.mark.parametrize("path", ["/", "/x", "..", "a/..", "a/../b", "a\0b", "a" * 4096, "é" * 2048])
def test_paths_outside_home_are_invalid(path: str) -> None:
    with pytest.raises(CannotWatch, match="invalid path"):
        watch_key(path)


@pytest.mark.parametrize(
    ("events", "reports"), [([0, 1, 2, 4], [0, 3, 6]), ([0, 10], [0, 10]), ([0.0, 2.9, 3.1], [0, 3, 6])]
)
def test_the_first_change_is_reported_at_once_and_later_ones_after_a_window(
    events: list[float], reports: list[float]
) -> None:
    pace, due, sent = ReportPace(), float("inf"), []

    def fire() -> None:
        nonlocal due
        sent.append(due)
        pace.reported(due)
        due = float("inf")

    for now in events:
        if due <= now:
            fire()
        due = min(due, pace.due(now))
        if due <= now:
            fire()
    if due != float("inf"):
        fire()
    assert sent == reports


async def test_direct_entries_are_reported_and_deeper_ones_are_not(rig: Rig) -> None:
    (rig.home / "Docs/deep").mkdir(parents=True)
    await rig.watches.add("Docs")
    (rig.home / "Docs/deep/a").write_text("")
    (rig.home / "elsewhere").write_text("")
    (rig.home / "Docs/b").write_text("")
    await rig.until(lambda: rig.reports != [])
    assert rig.reports == ["Docs"]


async def test_home_itself_is_an_empty_path(rig: Rig) -> None:
    await rig.watches.add("")
    (rig.home / "a").write_text("")
    await rig.until(lambda: rig.reports == [""])


async def test_a_directory_may_come_later_and_lead_through_a_link(rig: Rig) -> None:
    await rig.watches.add("link/inside")
    (rig.home / "target").mkdir()
    (rig.home / "link").symlink_to("target")
    (rig.home / "target/inside").mkdir()
    await rig.until(lambda: rig.reports == ["link/inside"])


async def test_a_directory_that_vanishes_is_reported(rig: Rig) -> None:
    (rig.home / "Docs").mkdir()
    await rig.watches.add("Docs")
    (rig.home / "Docs").rmdir()
    await rig.until(lambda: rig.reports == ["Docs"])


async def test_added_twice_and_removed_twice(rig: Rig) -> None:
    await rig.watches.add("Docs")
    with pytest.raises(CannotWatch, match="already watching path"):
        await rig.watches.add("Docs/")
    await rig.watches.remove("./Docs")
    with pytest.raises(CannotWatch, match="not watching path"):
        await rig.watches.remove("Docs")


async def test_what_is_removed_reports_nothing_more(rig: Rig) -> None:
    (rig.home / "Docs").mkdir()
    await rig.watches.add("")
    loop = asyncio.get_running_loop()
    removed_in_time = False
    while not removed_in_time:
        await rig.watches.add("Docs")
        rig.reports.clear()
        (rig.home / "Docs/a").write_text("")
        await rig.until(lambda: "Docs" in rig.reports)
        began = loop.time()
        (rig.home / "Docs/b").write_text("")  # Its report is due in three seconds.
        (rig.home / "first").write_text("")
        await rig.until(lambda: "" in rig.reports)
        await rig.watches.remove("Docs")
        removed_in_time = loop.time() - began < WINDOW / 2
    rig.reports.clear()
    (rig.home / "second").write_text("")
    await rig.until(lambda: rig.reports != [])
    assert rig.reports == [""]


async def test_a_host_that_refuses_a_report_gets_the_next(rig: Rig) -> None:
    rig.refuses = True
    await rig.watches.add("a")
    await rig.watches.add("b")
    for name in ("a", "b"):
        (rig.home / name).mkdir()
    await rig.until(lambda: sorted(rig.reports) == ["a", "b"])


async def test_a_thousand_directories_and_no_more(rig: Rig) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(WATCH_LIMIT):
            group.create_task(rig.watches.add(f"d{number}"))
    with pytest.raises(CannotWatch, match="already watching 1000 paths"):
        await rig.watches.add("one more")
    for number in (0, 500, 999):
        (rig.home / f"d{number}").mkdir()
    await rig.until(lambda: sorted(rig.reports) == ["d0", "d500", "d999"])


async def test_without_inotify_no_watch_is_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("garcon.watch.Inotify", refuse)
    rig = Rig(tmp_path)
    await rig.watches.start()
    with pytest.raises(CannotWatch, match="too many open files"):
        await rig.watches.add("Docs")
    await rig.watches.close()

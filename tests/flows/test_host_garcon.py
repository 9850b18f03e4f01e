"""Both real daemons together: the behaviour of each when a test kills the other repeatedly."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.fake_garcon import png
from support.needs import need_renderer
from support.stage import Stage, StageError, stage
from support.vsh_peer import names_of_children
from vshd.fork_server import SPARE_NAME

ROUNDS = 12
APPLICATIONS = [f"org.example.App{n}" for n in range(5)]


@pytest.fixture
def rig() -> Iterator[Stage]:
    with stage("demo") as made:
        made.start_host()
        made.host("add", "demo")
        for name in APPLICATIONS:
            made.add_application(name, Name=name)
        made.start_garcon()
        wait_complete(made, APPLICATIONS)
        wait_settled(made)
        yield made


def wait_complete(rig: Stage, names: list[str]) -> None:
    """Wait until the container is registered and can be called, and these are its launchers."""
    wanted = {f"guestlink-demo-{name}.desktop" for name in names}

    def complete() -> bool:
        entry = rig.host_json("list")[0]
        names_now = {path.name for path in rig.launchers()}
        return bool(entry["registered"] and entry["reachable"]) and names_now == wanted

    rig.wait(f"{len(names)} applications are published", complete)


def wait_settled(rig: Stage) -> None:
    """Wait until the host has finished: its list is saved after the launchers, which icons may change once more."""
    saved = Path(rig.host_environ["XDG_STATE_HOME"], "guestlink-host/applications/demo.json")

    def settled() -> bool:
        return saved.exists() and not [name for name in host_files(rig) if name.endswith(".new")]

    rig.wait("the host has saved its list", settled)


def wait_registered_anew(rig: Stage, count: int) -> None:
    """Wait until the host has handled this many registrations since it started."""

    def registrations() -> bool:
        events = [event["event"] for event in rig.host_json("events")]
        return events.count("registered") >= count

    rig.wait("the container registers again", registrations)


def figures(process: psutil.Process) -> dict[str, int]:
    """The resources that a leak would increase."""
    with process.oneshot():
        return {
            "descriptors": process.num_fds(),
            "threads": process.num_threads(),
            # After each session vshd forks spare processes for the next one, so these are not counted.
            "children": sum(name != SPARE_NAME for name in names_of_children(process.pid)),
            "resident KiB": process.memory_info().rss // 1024,
        }


def settled(rig: Stage, process: psutil.Process, before: dict[str, int]) -> dict[str, int]:
    """The figures once none is above its limit: closing a connection takes a moment.

    A leak would grow with the rounds. gRPC, especially its oldest version, may keep a few descriptors of calls that
    a kill has interrupted.
    """
    most = {"children": before["children"], "descriptors": before["descriptors"] + ROUNDS // 2}
    now = figures(process)

    def same() -> bool:
        now.update(figures(process))
        return all(now[key] <= most[key] for key in most)

    try:
        rig.wait("no more than before", same, 0.1)
    except StageError as error:
        raise StageError(f"{now} is more than {before}\n{error}") from error
    return now


LATE = "home/.local/share/applications/guestlink-demo-org.example.Late.desktop"


def host_files(rig: Stage) -> list[str]:
    """Every file and socket of the host side, except the desktop's own cache.

    The private socket of each link to garcon has a number of its own; a socket too many is a descriptor too many.
    """
    root = rig.root / "host"
    return sorted(
        re.sub(r"(private/\d+)-\d+$", r"\1-N", str(path.relative_to(root)))
        for path in root.rglob("*")
        if not path.is_dir() and path.name != "mimeinfo.cache"
    )


@pytest.mark.slow
def test_the_host_is_killed_and_restarted_again_and_again_under_a_running_garcon(rig: Stage) -> None:
    garcon = psutil.Process(rig.processes["garcon"].pid)
    before, files = figures(garcon), host_files(rig)
    times = []
    for number in range(ROUNDS):
        # Kills and clean stops alternate.
        rig.stop("host", signal.SIGKILL if number % 2 else signal.SIGTERM)
        began = time.monotonic()
        rig.start_host()
        up = time.monotonic()
        wait_registered_anew(rig, 1)
        times.append((up - began, time.monotonic() - up))
    wait_complete(rig, APPLICATIONS)
    rig.add_application("org.example.Late")
    wait_complete(rig, [*APPLICATIONS, "org.example.Late"])
    after = settled(rig, garcon, before)
    try:
        rig.wait("one file more", lambda: set(host_files(rig)) - set(files) == {LATE})
    except StageError as error:
        raise StageError(f"new are {sorted(set(host_files(rig)) - set(files))}\n{error}") from error
    report("host restarted", "garcon", before, after, [anew for _, anew in times])
    rig.host("launch", "demo", APPLICATIONS[0])


def test_a_picture_that_is_replaced_or_goes_is_another_one_in_the_hosts_menu(rig: Stage) -> None:
    need_renderer()
    name = APPLICATIONS[0]
    theme = rig.guest_share / "icons/hicolor/48x48/apps"
    shown = Path(rig.host_environ["XDG_DATA_HOME"], f"icons/hicolor/48x48/apps/guestlink-demo-{name}.png")
    launcher = Path(rig.host_environ["XDG_DATA_HOME"], f"applications/guestlink-demo-{name}.desktop")
    rig.add_application(name, Name=name, Icon="picture")
    theme.mkdir(parents=True)
    contents: set[bytes] = set()
    for width in (48, 47):
        (theme / "new").write_bytes(png(width, 48))
        (theme / "new").rename(theme / "picture.png")
        contents.add(rig.wait("another picture", lambda: _new_content(shown, contents)))
    assert "Icon=guestlink-demo" in launcher.read_text()
    (theme / "picture.png").unlink()
    rig.wait("no picture", lambda: not shown.exists() and "Icon=application-x-executable" in launcher.read_text())


def _new_content(path: Path, known: set[bytes]) -> bytes | None:
    content = path.read_bytes() if path.exists() else None
    return None if content in known else content


@pytest.mark.slow
def test_garcon_is_killed_and_restarted_again_and_again_under_a_running_host(rig: Stage) -> None:
    host = psutil.Process(rig.processes["host"].pid)
    before, files = figures(host), host_files(rig)
    times = []
    for number in range(ROUNDS):
        rig.stop("garcon", signal.SIGKILL)
        if number == ROUNDS - 1:
            rig.add_application("org.example.Late")
        rig.start_garcon()
        began = time.monotonic()
        wait_registered_anew(rig, number + 2)
        times.append(time.monotonic() - began)
    wait_complete(rig, [*APPLICATIONS, "org.example.Late"])
    after = settled(rig, host, before)
    try:
        rig.wait("one file more", lambda: set(host_files(rig)) - set(files) == {LATE})
    except StageError as error:
        raise StageError(f"new are {sorted(set(host_files(rig)) - set(files))}\n{error}") from error
    report("garcon restarted", "host", before, after, times)
    rig.host("launch", "demo", APPLICATIONS[0])


def test_garcon_is_killed_in_the_middle_of_its_lists(rig: Stage) -> None:
    """Applications keep changing while garcon is killed; at the end the host has exactly the installed ones."""
    for number in range(10):
        rig.add_application(f"org.example.More{number}")
        rig.stop("garcon", signal.SIGKILL)
        rig.start_garcon()
    wait_complete(rig, [*APPLICATIONS, *(f"org.example.More{number}" for number in range(10))])


def test_a_container_that_was_frozen_is_called_again_also_by_a_host_that_has_restarted(
    rig: Stage,
) -> None:
    garcon = psutil.Process(rig.processes["garcon"].pid)
    garcon.suspend()
    try:
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(rig.host, "launch", "demo", APPLICATIONS[0])
            garcon.resume()
            asked.result()
        garcon.suspend()
        rig.stop("host")
        rig.start_host()
    finally:
        garcon.resume()
    wait_complete(rig, APPLICATIONS)
    rig.host("launch", "demo", APPLICATIONS[0])


def test_launching_through_both_daemons(rig: Stage) -> None:
    made = rig.root / "made by the application"
    rig.add_application("org.example.Touch", Exec=f'touch "{made}"')
    wait_complete(rig, [*APPLICATIONS, "org.example.Touch"])
    rig.host("launch", "demo", "org.example.Touch")
    rig.wait("the application ran", made.exists)
    failed = rig.host("launch", "demo", "org.example.Missing", check=False)
    assert failed.returncode == 1
    assert "org.example.Missing cannot be started in demo" in failed.stderr


def test_an_icon_goes_all_the_way(rig: Stage) -> None:
    need_renderer()
    directory = rig.guest_share / "icons/hicolor/scalable/apps"
    directory.mkdir(parents=True)
    (directory / "picture.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>')
    rig.add_application("org.example.Icon", Icon="picture")
    theme = Path(rig.host_environ["XDG_DATA_HOME"], "icons/hicolor")
    icon = theme / "256x256/apps/guestlink-demo-org.example.Icon.png"
    rig.wait("the icon arrives", icon.exists)
    assert icon.read_bytes().startswith(b"\x89PNG")
    assert not list(theme.rglob("*.svg"))


def report(what: str, whom: str, before: dict[str, int], after: dict[str, int], times: list[float]) -> None:
    """Print the figures; pytest shows them with ``-rP`` or ``-s``."""
    times = sorted(times)
    figures_shown: dict[str, Any] = {key: f"{before[key]} -> {after[key]}" for key in before}
    print(f"\n{what} {len(times)} times; {whom}: {figures_shown}")
    print(
        f"registered again after a median of {times[len(times) // 2] * 1000:.0f} ms, "
        f"at most {times[-1] * 1000:.0f} ms"
    )


def test_a_directory_of_the_container_is_watched_from_the_host(rig: Stage) -> None:
    """`guestlink-host watch` prints a line when the directory is watched and one for each change, also after garcon
    has been killed and started again."""
    home = Path(rig.guest_environ["HOME"])
    watch = subprocess.Popen(
        [sys.executable, "-m", "guestlink_host", "watch", "demo", "Docs"],
        env=rig.host_environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watch.stdout is not None
        assert watch.stdout.readline() == "Docs\n"
        (home / "Docs").mkdir()
        assert watch.stdout.readline() == "Docs\n"
        rig.stop("garcon", signal.SIGKILL)
        assert watch.stdout.readline() == "Docs\n", "nobody reports what changes now"
        rig.start_garcon()
        assert watch.stdout.readline() == "Docs\n", "nobody has reported what changed meanwhile"
        (home / "Docs/file").write_text("")
        assert watch.stdout.readline() == "Docs\n"
    finally:
        watch.kill()
        watch.wait()
        if watch.stdout is not None:
            watch.stdout.close()
    for bad in ("/etc", "a/../b"):
        refused = rig.host("watch", "demo", bad, check=False)
        assert refused.returncode == 1
        assert "is not below the home directory" in refused.stderr

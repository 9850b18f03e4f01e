"""From a container's list to the user's desktop: launchers at once, icons afterwards."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from guestlink.errors import GuestlinkError
from guestlink.rpc import CallFailed, Refusal
from guestlink_host.launchers import launcher_files, launcher_plan, launcher_publisher
from guestlink_host.launchers.applications import LIST_LIMIT
from guestlink_host.launchers.launcher_files import FILE_COST
from support.fake_garcon import SVG, application, png
from support.host import Host, fill_disk, host_in_test
from support.needs import need_renderer


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    need_renderer()
    async with host_in_test(monkeypatch) as running:
        yield running


def drawn(name: str) -> list[str]:
    """The files of an SVG icon."""
    return sorted(
        f"{side}x{side}/apps/guestlink-demo-{name}.png" for side in (16, 22, 24, 32, 48, 64, 96, 128, 256)
    )


async def test_launchers_and_icons_appear_change_and_go(host: Host) -> None:
    guest = await host.registered()
    guest.icons = {"png": (False, png(48)), "svg": (True, SVG), "bad": (False, b"no picture"), "odd": (True, png())}
    await guest.publish(*(application(name) for name in ("png", "svg", "bad", "odd", "none")))
    await host.until(lambda: host.icons() == sorted(["48x48/apps/guestlink-demo-png.png", *drawn("svg")]))

    def icon_keys() -> dict[str, str]:
        return {
            name.removeprefix("guestlink-demo-").removesuffix(".desktop"): line.partition("=")[2]
            for name, text in host.launchers().items()
            for line in text.splitlines()
            if line.startswith("Icon=")
        }

    generic = "application-x-executable"
    await host.until(
        lambda: (
            icon_keys()
            == {
                "png": "guestlink-demo-png",
                "svg": "guestlink-demo-svg",
                "bad": generic,
                "odd": generic,
                "none": generic,
            }
        )
    )
    await guest.publish(application("svg"))
    await host.until(lambda: host.icons() == drawn("svg"))
    await host.until(lambda: list(icon_keys()) == ["svg"])
    await guest.publish()
    await host.until(lambda: not host.launchers() and not host.icons())


async def test_a_launcher_does_not_wait_for_a_slow_icon(host: Host) -> None:
    guest = await host.registered()
    answer = guest.get_icon
    released = host.root / "released"

    async def slow(request: object) -> object:
        await host.until(released.exists)
        return await answer(request)

    guest.icons = {"a": (False, png())}
    # A server looks up its methods when it is created, so this starts a new one.
    await guest.vanish()
    guest.get_icon = slow  # type: ignore[method-assign]
    await guest.register()
    await guest.publish(application("a"))
    await host.until(host.launchers)
    assert host.icons() == []
    released.touch()
    await host.until(host.icons)


async def test_icons_are_asked_for_again_when_the_container_registers_again(host: Host) -> None:
    guest = await host.registered()
    guest.icons = {"a": (False, png(48))}
    await guest.publish(application("a"))
    await host.until(lambda: host.icons() == ["48x48/apps/guestlink-demo-a.png"])
    guest.icons = {"a": (False, png(64))}
    await guest.vanish()
    await guest.register()
    await host.until(lambda: host.icons() == ["64x64/apps/guestlink-demo-a.png"])


async def test_a_list_that_has_not_changed_still_asks_for_every_picture(host: Host) -> None:
    """An update may change only an icon; the container then sends its list again."""
    guest = await host.registered()
    guest.icons = {"a": (False, png(48)), "b": (False, png(48))}
    await guest.publish(application("a"), application("b"))
    await host.until(lambda: len(host.icons()) == 2)
    guest.icons = {"a": (True, SVG)}
    await guest.publish(application("a"), application("b"))
    await host.until(lambda: host.icons() == drawn("a"))
    await host.until(lambda: "application-x-executable" in host.launchers()["guestlink-demo-b.desktop"])
    guest.icons = {"a": (True, SVG), "b": (False, png(48))}
    await guest.publish(application("a"), application("b"))
    await host.until(lambda: "Icon=guestlink-demo-b" in host.launchers()["guestlink-demo-b.desktop"])


@pytest.mark.parametrize("code", ["INTERNAL", "DEADLINE_EXCEEDED", "UNAVAILABLE"])
async def test_pictures_that_could_not_be_had_are_asked_for_again(
    host: Host, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr("guestlink_host.launchers.launcher_publisher.FIRST_RETRY", 0.01)
    guest = await host.add()
    answer, refusals = guest.get_icon, [code, code]

    async def refuse(request: Any) -> Any:
        if refusals:
            raise Refusal(refusals.pop(), "not now")
        return await answer(request)

    guest.get_icon = refuse  # type: ignore[method-assign]
    guest.icons = {"a": (False, png(48))}
    await guest.register()
    await guest.publish(application("a"))
    await host.until(lambda: host.icons() == ["48x48/apps/guestlink-demo-a.png"])


async def test_an_unchanged_list_writes_nothing(host: Host) -> None:
    guest = await host.registered()
    guest.icons = {"a": (False, png(48))}
    await guest.publish(application("a"))
    # The launcher is written again when its icon is there.
    await host.until(lambda: "Icon=guestlink-demo-a" in host.launchers().get("guestlink-demo-a.desktop", ""))
    (path,) = (host.data / "applications").glob("guestlink-*.desktop")
    before = path.stat()
    await guest.publish(application("a"))
    await guest.publish(application("a"), application("b"))
    await host.until(lambda: len(host.launchers()) == 2)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_icons_of_the_full_size_come_in_smaller_batches(host: Host) -> None:
    guest = await host.registered()
    big = SVG + b"\n<!--" + b"x" * (1024 * 1024 - len(SVG) - 100) + b"-->"
    guest.icons = {f"a{n}": (True, big) for n in range(16)}
    await guest.publish(*(application(name) for name in guest.icons))
    await host.until(lambda: len(host.icons()) == 16 * len(drawn("")))


async def test_icons_that_did_not_fit_into_an_answer_are_asked_for_again(host: Host) -> None:
    guest = await host.add()
    answer = guest.get_icon

    async def bounded(request: Any) -> Any:
        """Like garcon, leave out the icons that exceed gRPC's default message size."""
        response = await answer(request)
        while response.ByteSize() > 4 * 1024 * 1024 - 64 * 1024:
            del response.desktop_icons[-1]
        return response

    guest.get_icon = bounded  # type: ignore[method-assign]
    big = SVG + b"\n<!--" + b"x" * (900 * 1024) + b"-->"
    guest.icons = {f"a{n}": (True, big) for n in range(15)}
    await guest.register()
    await guest.publish(*(application(name) for name in [*guest.icons, "without"]))
    await host.until(lambda: len(host.icons()) == 15 * len(drawn("")))


@pytest.mark.slow
async def test_as_many_applications_as_the_host_shows(host: Host) -> None:
    guest = await host.registered()
    await guest.publish(*(application(f"app{n}", exec="a" * 100, keywords={"": ["k"]}) for n in range(LIST_LIMIT)))

    def names() -> list[str]:
        return [path.name for path in (host.data / "applications").glob("guestlink-*.desktop")]

    await host.until(lambda: len(names()) == LIST_LIMIT)
    await guest.call("PendingUpdateApplicationListCalls", count=0)
    await guest.publish(application("last"))
    await host.until(lambda: names() == ["guestlink-demo-last.desktop"])


async def test_a_list_beyond_the_size_limit_is_refused_and_changes_nothing(host: Host) -> None:
    guest = await host.registered()
    await guest.publish(application("a"))
    await host.until(host.launchers)
    with pytest.raises(CallFailed) as caught:
        await guest.publish(*(application(f"{n}", exec="x" * 1000) for n in range(5000)))
    assert caught.value.code == "RESOURCE_EXHAUSTED"
    assert list(host.launchers()) == ["guestlink-demo-a.desktop"]
    await guest.publish(application("b"))
    await host.until(lambda: list(host.launchers()) == ["guestlink-demo-b.desktop"])


async def test_two_containers_do_not_disturb_each_other(host: Host) -> None:
    one, two = await host.registered("one"), await host.registered("two")
    await one.publish(application("same"), application("x"))
    await two.publish(application("same"))
    await host.until(lambda: len(host.launchers()) == 3)
    await host.ask("remove", name="one")
    assert list(host.launchers()) == ["guestlink-two-same.desktop"]
    assert not one.directory.exists()
    assert two.directory.exists()
    assert [entry["name"] for entry in (await host.ask("list"))["containers"]] == ["two"]


async def test_removing_and_adding_again_begins_anew(host: Host) -> None:
    guest = await host.registered()
    await guest.publish(application("a"))
    await host.until(host.launchers)
    old = guest.token
    await guest.close()
    await host.ask("remove", name="demo")
    assert not host.launchers()
    guest = await host.add()
    assert guest.token != old
    assert (await host.ask("apps", name="demo"))["applications"] == []
    with pytest.raises(CallFailed):
        await guest.call("ContainerReady", garcon_port=1, token=old)


async def test_the_desktops_database_is_refreshed(host: Host) -> None:
    guest = await host.registered()
    await host.ask("policy", name="demo", mime="allow")
    await guest.publish(application("a", mime_types=["text/x-guestlink-test"]))
    cache = host.data / "applications/mimeinfo.cache"
    await host.until(
        lambda: cache.exists() and "text/x-guestlink-test=guestlink-demo-a.desktop;" in cache.read_text()
    )


async def test_a_database_that_could_not_be_refreshed_is_refreshed_later(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guestlink_host.launchers.desktop_databases.FIRST_RETRY", 0.01)
    tools = host.root / "tools"
    tools.mkdir()
    (tools / "update-desktop-database").write_text(f"#!/bin/sh\necho >> {tools}/runs; test -e {tools}/works\n")
    (tools / "update-desktop-database").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    guest = await host.registered()
    await guest.publish(application("a"))

    def runs() -> int:
        return len((tools / "runs").read_text().splitlines()) if (tools / "runs").exists() else 0

    await host.until(lambda: runs() > 2)
    (tools / "works").touch()
    before = runs()
    await host.until(lambda: runs() > before)


async def test_launchers_that_somebody_deleted_come_back_with_the_daemon(host: Host) -> None:
    guest = await host.registered()
    await guest.publish(application("a"))
    await host.until((host.root / "state/guestlink-host/applications/demo.json").exists)
    await host.stop()
    for path in (host.data / "applications").iterdir():
        path.unlink()
    await host.start()
    await host.until(host.launchers)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "\0", '{"a": 1}', "[" * 100_000])
async def test_a_broken_list_file_is_survived(host: Host, content: str) -> None:
    guest = await host.registered()
    await guest.publish(application("a"))
    path = host.root / "state/guestlink-host/applications/demo.json"
    await host.until(path.exists)
    await host.stop()
    await guest.close()
    path.write_text(content)
    await host.start()
    assert (await host.entry())["applications"] == 0
    await guest.register()
    await guest.publish(application("b"))
    await host.until(lambda: list(host.launchers()) == ["guestlink-demo-b.desktop"])


async def test_a_full_disk_is_reported_and_mended_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can mount a small file system")
    async with host_in_test(monkeypatch) as host:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(host.data)]
        if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
            pytest.skip("this machine does not let us mount")
        try:
            await _fill_and_mend(host)
        finally:
            await host.close()
            subprocess.run(["umount", str(host.data)], check=True)


async def _fill_and_mend(host: Host) -> None:
    guest = await host.registered()
    await guest.publish(*(application(f"a{n}") for n in range(40)))

    async def problem() -> bool:
        return "no space left" in (await host.entry())["problem"]

    await host.until(problem)
    assert all(text.endswith("\n") for text in host.launchers().values())
    await host.ask("launch", name="demo", id="a0", files=[])  # The daemon still answers other calls.
    await guest.publish(application("small"))
    await host.until(lambda: list(host.launchers()) == ["guestlink-demo-small.desktop"])

    async def mended() -> bool:
        return not (await host.entry())["problem"]

    await host.until(mended)


async def test_a_full_disk_refuses_to_add_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can mount a small file system")
    async with host_in_test(monkeypatch) as host:
        state = host.root / "state"
        mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(state)]
        if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
            pytest.skip("this machine does not let us mount")
        try:
            await host.add("one")
            fill_disk(state / "ballast")
            with pytest.raises(GuestlinkError) as caught:
                await host.ask("add", name="two")
            assert "make room" in caught.value.hint
            assert [entry["name"] for entry in (await host.ask("list"))["containers"]] == ["one"]
            (state / "ballast").unlink()
            await host.add("two")
        finally:
            await host.close()
            subprocess.run(["umount", str(state)], check=True)


async def test_icons_of_an_unknown_format_or_of_applications_nobody_asked_about_are_not_taken(host: Host) -> None:
    guest = await host.add()
    answer = guest.get_icon

    async def odd(request: Any) -> Any:
        response = await answer(request)
        response.desktop_icons.add(desktop_file_id="b", icon=png(), format=7)
        response.desktop_icons.add(desktop_file_id="other", icon=png(), format=0)
        return response

    guest.get_icon = odd  # type: ignore[method-assign]
    guest.icons = {"a": (False, png())}
    await guest.register()
    await guest.publish(application("a"), application("b"))
    # The launchers are written again after the icons of the whole answer.
    await host.until(lambda: "Icon=guestlink-demo-a" in host.launchers().get("guestlink-demo-a.desktop", ""))
    await host.until(lambda: "application-x-executable" in host.launchers()["guestlink-demo-b.desktop"])
    assert host.icons() == ["48x48/apps/guestlink-demo-a.png"]


async def test_what_ever_new_lists_make_too_much_is_written_later_and_the_newest_list_wins(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    burst, rate, size = 300_000, 100_000, 20
    monkeypatch.setattr(launcher_files, "WRITE_BURST", burst)
    monkeypatch.setattr(launcher_files, "WRITE_RATE", rate)
    monkeypatch.setattr(launcher_publisher, "_RESUME", 0.05)
    guest = await host.registered()
    seen: set[str] = set()
    began = time.monotonic()
    for number in range(30):
        await guest.publish(*(application(f"app{number}-{n}") for n in range(size)))
        seen |= host.launchers().keys()
        await asyncio.sleep(0.02)
    # Each launcher counts FILE_COST when it is written, and again when it is removed.
    allowed = burst + rate * (time.monotonic() - began)
    assert len(seen) * FILE_COST < allowed < 30 * size * FILE_COST
    await host.until(
        lambda: sorted(host.launchers()) == sorted(f"guestlink-demo-app29-{n}.desktop" for n in range(size))
    )
    stored = host.root / "state/guestlink-host/applications/demo.json"
    await host.until(lambda: "app29-0" in stored.read_text())


async def test_removing_a_container_does_not_wait_for_what_may_not_be_written_yet(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher_files, "WRITE_BURST", 100_000)
    monkeypatch.setattr(launcher_files, "WRITE_RATE", 1)
    guest = await host.registered()
    await guest.publish(*(application(f"app{n}") for n in range(100)))
    await host.until(lambda: len(host.launchers()) > 10)
    await host.ask("remove", name="demo")
    assert not host.launchers()


async def test_launchers_that_are_too_large_together_are_not_written(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(launcher_plan, "LAUNCHER_QUOTA", 20_000)
    guest = await host.registered()
    await guest.publish(*(application(f"app{n}", comments={"": "x" * 900}) for n in range(100)))
    await host.until(host.launchers)
    assert sum(map(len, host.launchers().values())) <= 20_000
    assert "too large" in caplog.text

"""The checks of a control call's fields."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from guestlink.control import ONE_VERSION
from guestlink.errors import GuestlinkError
from guestlink_host.control.request_validation import flag, number, numbers, path_below_home
from support.host import Host, host_in_test


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    async with host_in_test(monkeypatch) as running:
        yield running


def test_a_flag_is_true_or_false() -> None:
    assert [flag("first", value) for value in (True, False, None)] == [True, False, False]
    wrong: list[object] = ["false", 0, 1, []]
    for value in wrong:
        with pytest.raises(GuestlinkError, match="the field first is not true or false"):
            flag("first", value)


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_only_a_whole_number_is_one(value: object) -> None:
    with pytest.raises(GuestlinkError, match="whole number"):
        number(0, 5)("port", value)
    with pytest.raises(GuestlinkError, match="list of numbers"):
        numbers(3, 0, 5)("features", [value])
    assert number(0, 5)("port", 1) == 1
    assert numbers(3, 0, 5)("features", [1]) == [1]


async def test_a_field_that_the_daemon_does_not_know_is_refused(host: Host) -> None:
    await host.add()
    with pytest.raises(GuestlinkError, match="does not know the field 'telepathy'") as caught:
        await host.ask("policy", name="demo", telepathy="deny", url="allow")
    assert caught.value.hint == ONE_VERSION
    assert (await host.ask("policy", name="demo"))["url"] != "deny"


async def test_only_a_changed_list_of_shared_folders_is_stored(host: Host) -> None:
    await host.add()
    registry = host.root / "state/guestlink-host/containers.json"

    def state() -> tuple[Any, ...]:
        return registry.stat().st_ino, registry.read_bytes()

    await host.ask("share", name="demo", host="/usr", inside="/mnt")
    before = state()
    assert (await host.ask("share", name="demo"))["shares"] == [{"host": "/usr", "inside": "/mnt"}]
    assert state() == before
    with pytest.raises(GuestlinkError, match="shares no folder of this machine as /x"):
        await host.ask("share", name="demo", inside="/x")
    assert state() == before
    assert (await host.ask("share", name="demo", forget="/usr"))["shares"] == []
    assert state() != before


@pytest.mark.parametrize(
    ("path", "home", "relative"),
    [
        ("", "/home/u", ""),
        ("Docs/./a//", "/home/u", "Docs/a"),
        ("/home/u", "/home/u", ""),
        ("/home//u/Docs", "/home/u/", "Docs"),
        ("Docs", "", "Docs"),
    ],
)
def test_a_directory_of_a_container_is_relative_to_its_home(path: str, home: str, relative: str) -> None:
    assert path_below_home(path, home) == relative


@pytest.mark.parametrize(
    ("path", "home"),
    [("/home/us", "/home/u"), ("/etc", "/home/u"), ("/etc", ""), ("..", "/home/u"), ("/home/u/../x", "/home/u")],
)
def test_a_directory_elsewhere_is_refused(path: str, home: str) -> None:
    with pytest.raises(GuestlinkError, match="is not below the home directory"):
        path_below_home(path, home)

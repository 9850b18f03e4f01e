"""The daemon's conclusions from polling container managers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from guestlink_host import managers
from guestlink_host.containers.registry import Container
from guestlink_host.managers import (
    RUNNING,
    STOPPED,
    IdRange,
    Instance,
    Manager,
    ManagerError,
    Mounts,
    Ran,
    find_instance,
    id_ranges,
)
from guestlink_host.managers.manager_watch import GONE, UNKNOWN, ManagerWatch


class Fake(Manager):
    """A fake manager whose instances the test decides."""

    def __init__(self, kind: str = "lxd") -> None:
        self.kind = kind
        self.there: list[Instance] = []
        self.silent = False

    def instances(self, names: Collection[str] | None = None) -> list[Instance]:
        if self.silent:
            raise ManagerError("it does not answer")
        return list(self.there)

    def attach(self, instance: Instance, mounts: Mounts) -> bool:
        raise AssertionError("nobody asked for that")

    def detach(self, instance: Instance) -> None:
        raise AssertionError("nobody asked for that")

    drop = detach

    def mount_again(self, instance: Instance, mounts: Mounts) -> bool:
        raise AssertionError("nobody asked for that")

    def start(self, instance: Instance) -> None:
        raise AssertionError("nobody asked for that")

    def run(self, instance: Instance, argv: Sequence[str], timeout: float = 60) -> Ran:
        raise AssertionError("nobody asked for that")

    def put(self, instance: Instance, source: Path, path: str) -> None:
        raise AssertionError("nobody asked for that")

    def shell_prefix(self, instance: Instance) -> str:
        raise AssertionError("nobody asked for that")

    restart_command = shell_prefix


def instance(name: str = "work", status: str = RUNNING, **fields: object) -> Instance:
    values: dict[str, object] = {"manager": "lxd", "place": "default"} | fields
    return Instance(name=name, status=status, **values)  # type: ignore[arg-type]


class Watched:
    """A watch over one manager and one container, and the changes that it reported."""

    def __init__(self) -> None:
        self.manager = Fake()
        self.container = Container("work", "token", manager="lxd", place="default")
        self.known = [self.container]
        self.changes: list[str] = []
        self.unclaimed_names: list[str] = []
        self.managers: list[Manager] = [self.manager]
        self.watch = ManagerWatch(
            ("lxd", "incus", "lxc"), self.find, lambda: self.known, changed=self.changed, unclaimed=self.unclaimed
        )

    def find(self, kinds: Sequence[str]) -> list[Manager]:
        return [manager for manager in self.managers if manager.kind in kinds]

    async def changed(self, container: Container, instance: Instance | None) -> None:
        self.changes.append(instance.status if instance else GONE)

    async def unclaimed(self, instance: Instance) -> None:
        self.unclaimed_names.append(instance.name)

    async def poll(self) -> str:
        return (await self.watch.poll()).status(self.container)


async def test_changes_are_reported_once() -> None:
    watched = Watched()
    watched.manager.there = [instance()]
    assert await watched.poll() == RUNNING
    assert await watched.poll() == RUNNING
    watched.manager.there = [instance(status=STOPPED)]
    assert await watched.poll() == STOPPED
    watched.manager.there = []
    assert await watched.poll() == GONE
    assert watched.changes == [RUNNING, STOPPED, GONE]


async def test_a_restart_between_two_polls_is_a_change() -> None:
    watched = Watched()
    for started in ("1", "2"):
        watched.manager.there = [instance(started=started)]
        await watched.poll()
    assert watched.changes == [RUNNING, RUNNING]


async def test_a_manager_that_does_not_answer_makes_nothing_gone(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    watched.manager.there = [instance()]
    await watched.poll()
    watched.manager.silent = True
    assert await watched.poll() == UNKNOWN
    assert await watched.poll() == UNKNOWN
    assert caplog.text.count("it does not answer") == 1
    watched.managers = []
    assert await watched.poll() == UNKNOWN
    assert watched.changes == [RUNNING]


async def test_a_daemon_that_has_just_started_reports_a_deleted_instance_too() -> None:
    watched = Watched()
    assert await watched.poll() == GONE
    assert watched.changes == [GONE]


async def test_one_of_the_same_name_elsewhere_is_another() -> None:
    watched = Watched()
    watched.manager.there = [instance(place="other"), instance(name="play")]
    assert await watched.poll() == GONE
    assert watched.unclaimed_names == []


async def test_unclaimed_instances_that_are_wanted_or_have_our_directory_are_reported() -> None:
    watched = Watched()
    watched.manager.there = [
        instance(),
        instance("wanted", wanted_by=1000),
        instance("copy", directory=Path("/run/user/1000/guestlink-host/containers/work")),
        instance("other"),
    ]
    await watched.poll()
    assert watched.unclaimed_names == ["wanted", "copy"]


async def test_one_that_may_be_about_to_start_is_left_alone() -> None:
    watched = Watched()
    watched.manager.there = [instance("wanted", STOPPED, wanted_by=1000)]
    await watched.poll()
    assert watched.unclaimed_names == []
    await watched.poll()
    assert watched.unclaimed_names == ["wanted"]


async def test_one_made_anew_in_the_place_of_one_with_the_profile_is_unclaimed() -> None:
    watched = Watched()
    directory = Path("/run/user/1000/guestlink-host/containers/work")
    watched.known = [watched.container._replace(by_profile=True)]
    for there in (instance(directory=directory, wanted_by=1000), instance(), instance(wanted_by=1000)):
        watched.manager.there = [there]
        await watched.poll()
    assert watched.unclaimed_names == ["work"]
    watched.known = [watched.container]
    await watched.poll()
    assert watched.unclaimed_names == ["work"]


def test_user_ids_are_translated() -> None:
    mapped = instance(ids=(IdRange(0, 100000, 1000), IdRange(1000, 1000, 1), IdRange(1001, 101001, 64535)))
    assert [mapped.outside(uid) for uid in (0, 999, 1000, 1001)] == [100000, 100999, 1000, 101001]
    assert instance().outside(1000) == 1000
    with pytest.raises(ManagerError, match="70000 means nothing"):
        mapped.outside(70000)


def test_id_maps_are_read_and_nonsense_is_refused() -> None:
    entries = [
        {"Isuid": True, "Isgid": False, "Hostid": 100000, "Nsid": 0, "Maprange": 65536},
        {"Isuid": False, "Isgid": True, "Hostid": 200000, "Nsid": 0, "Maprange": 65536},
    ]
    assert list(id_ranges(entries)) == [IdRange(0, 100000, 65536)]
    with pytest.raises(ValueError, match="without numbers"):
        list(id_ranges([{"Isuid": True, "Hostid": "x"}]))


def test_a_container_is_found_or_the_reason_is_named() -> None:
    lxd, incus, silent = Fake(), Fake("incus"), Fake("lxc")
    silent.silent = True
    lxd.there = [instance(), instance("both")]
    incus.there = [instance("both", manager="incus")]
    assert find_instance("work", [lxd, incus])[0] is lxd
    with pytest.raises(ManagerError, match="several containers both") as several:
        find_instance("both", [lxd, incus])
    assert "--manager" in several.value.hint
    with pytest.raises(ManagerError, match="have no container 'nothing'") as nothing:
        find_instance("nothing", [lxd, incus])
    assert "work" in nothing.value.hint
    with pytest.raises(ManagerError, match="LXD has no container 'nothing'; it does not answer"):
        find_instance("nothing", [lxd, silent])
    with pytest.raises(ManagerError, match=r"^it does not answer"):
        find_instance("nothing", [silent])
    with pytest.raises(ManagerError, match="this machine has no LXD or Incus or LXC"):
        find_instance("work", [])


def test_a_manager_that_is_not_here_is_not_taken_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    here = [Fake()]
    monkeypatch.setattr(managers, "managers_here", lambda kinds: [one for one in here if one.kind in kinds])
    with pytest.raises(ManagerError, match="this machine has no Incus, but LXD") as error:
        find_instance("work", [], asked=["incus"])
    assert "--manager lxd" in error.value.hint
    with pytest.raises(ManagerError, match="no Incus or LXC, and the settings exclude LXD") as error:
        find_instance("work", [], asked=["incus", "lxc"])
    assert "the setting managers" in error.value.hint

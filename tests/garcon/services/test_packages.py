"""Packages by a PackageKit that does what a test says (chromeos-garcon.md §6.7, §9.7); the real one is in
tests/container."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from dbus_fast import Variant

from garcon.services import packages as packages_module
from garcon.services.package_owner import Backend, PackageOwners
from garcon.services.package_transaction import TRANSACTION, Transaction
from garcon.services.packagekit import PackageKit, PackageKitAbsent, PackagesFailed
from garcon.services.packages import Busy, Packages
from guestlink.bus import Bus
from guestlink.errors import GuestlinkError
from guestlink.pb import container_host_pb2 as pb
from support.fake_packagekit import FakePackageKit, appear, fake_packagekit
from support.fake_user_manager import session_bus

LIMIT = 60.0
HELLO = "hello;1.0;all;local"
DETAILS = {
    "package-id": Variant("s", HELLO),
    "license": Variant("s", "GPL"),
    "description": Variant("s", "Says hello."),
    "url": Variant("s", "https://example.org"),
    "size": Variant("t", 1234),
    "summary": Variant("s", "greeter"),
}
INSTALL, UNINSTALL = pb.InstallLinuxPackageProgressInfo, pb.UninstallPackageProgressInfo


class Rig:
    """Packages on a private bus, and a host that stores reports."""

    def __init__(self, address: str, kit: FakePackageKit) -> None:
        self.kit = kit
        self.bus = Bus("system", address)
        self.reports: list[tuple[str, dict[str, Any]]] = []
        self.refusals = 0
        self.owner = "hello;1.0;all;installed"
        backend = Backend("manager", self._owners, ())
        self.packagekit = PackageKit(self.bus)
        self.packages = Packages(self.packagekit, PackageOwners(backend), self._report)

    async def _owners(self, paths: Sequence[str]) -> dict[str, str]:
        return dict.fromkeys(paths, self.owner) if self.owner else {}

    async def _report(self, method: str, **fields: Any) -> None:
        if self.refusals:
            self.refusals -= 1
            raise GuestlinkError("not now")
        self.reports.append((method, fields))

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                await asyncio.sleep(0.01)

    async def ended(self) -> dict[str, Any]:
        """The last report, once it is one of the end."""
        await self.until(
            lambda: self.reports and self.reports[-1][1]["status"] in (INSTALL.SUCCEEDED, INSTALL.FAILED)
        )
        return self.reports[-1][1]


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with AsyncExitStack() as stack:
        address = stack.enter_context(session_bus(tmp_path))
        kit = await stack.enter_async_context(fake_packagekit(address))
        await appear(kit)
        made = Rig(address, kit)
        stack.push_async_callback(made.bus.close)
        stack.push_async_callback(made.packages.close)
        yield made


def finish(kit: FakePackageKit, path: str, arguments: list[Any]) -> None:
    kit.finish(path)


def fail(kit: FakePackageKit, path: str, arguments: list[Any]) -> None:
    kit.signal(path, "ErrorCode", "us", 33, "no space left")
    kit.finish(path, 2)


def describe(kit: FakePackageKit, path: str, arguments: list[Any]) -> None:
    kit.signal(path, "Details", "a{sv}", DETAILS)
    kit.finish(path)


async def test_a_package_file_is_described(rig: Rig) -> None:
    rig.kit.scripts["GetDetailsLocal"] = describe
    info = await rig.packages.file_info("/tmp/hello.deb")
    assert info == (HELLO, "GPL", "Says hello.", "https://example.org", 1234, "greeter")
    assert rig.kit.asked == [("GetDetailsLocal", [["/tmp/hello.deb"]])]


async def test_a_name_is_resolved_and_an_installed_package_is_preferred(rig: Rig) -> None:
    def resolve(kit: FakePackageKit, path: str, arguments: list[Any]) -> None:
        kit.signal(path, "Package", "uss", 2, "hello;2.0;all;stable", "new")
        kit.signal(path, "Package", "uss", 1, "hello;1.0;all;installed:stable", "old")
        kit.finish(path)

    rig.kit.scripts |= {"Resolve": resolve, "GetDetails": describe}
    assert (await rig.packages.name_info("hello")).package_id == HELLO
    assert rig.kit.asked == [("Resolve", [2, ["hello"]]), ("GetDetails", [["hello;1.0;all;installed:stable"]])]


@pytest.mark.parametrize(
    ("script", "reason"),
    [(finish, "there is no package hello"), (fail, "no space left")],
)
async def test_a_name_without_a_package_and_an_error_are_reasons(rig: Rig, script: Any, reason: str) -> None:
    rig.kit.scripts["Resolve"] = script
    with pytest.raises(PackagesFailed, match=reason):
        await rig.packages.name_info("hello")


async def test_a_packagekit_that_hangs_is_cancelled(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """P6."""
    monkeypatch.setattr(packages_module, "INFO_SILENCE", 0.05)
    with pytest.raises(PackagesFailed, match="Timeout"):
        await rig.packages.file_info("/tmp/hello.deb")
    assert [method for method, _ in rig.kit.asked] == ["GetDetailsLocal", "Cancel"]


async def test_an_installation_reports_each_step_and_one_end(rig: Rig) -> None:
    """P2, P3."""
    path = ""

    def begin(kit: FakePackageKit, at: str, arguments: list[Any]) -> None:
        nonlocal path
        path = at
        kit.progress(at, Status=8, Percentage=101)

    rig.kit.scripts["InstallFiles"] = begin
    await rig.packages.install("/tmp/hello.deb", "", "uuid")
    method, common = "InstallLinuxPackageProgress", {"command_uuid": "uuid"}
    for status, percent, said in (
        (8, 101, INSTALL.DOWNLOADING),
        (8, 40, INSTALL.DOWNLOADING),
        (9, 70, INSTALL.INSTALLING),
    ):
        await rig.until(lambda: path)
        rig.kit.progress(path, Status=status, Percentage=percent)
        expected = {"status": said, "progress_percent": percent % 101} | common
        await rig.until(lambda expected=expected: (method, expected) in rig.reports)
    rig.kit.progress(path, Status=1, Percentage=99)
    rig.kit.finish(path)
    assert await rig.ended() == {"status": INSTALL.SUCCEEDED, "failure_details": ""} | common
    assert rig.kit.asked == [("InstallFiles", [0, ["/tmp/hello.deb"]])]
    ends = [fields for _, fields in rig.reports if "failure_details" in fields]
    assert len(ends) == 1


async def test_a_failed_installation_has_packagekits_text(rig: Rig) -> None:
    rig.kit.scripts["InstallPackages"] = fail
    await rig.packages.install("", HELLO, "uuid")
    assert (await rig.ended())["failure_details"] == "no space left"
    assert rig.kit.asked == [("InstallPackages", [0, [HELLO]])]


async def test_an_exit_without_an_error_is_told_by_its_number(rig: Rig) -> None:
    rig.kit.scripts["InstallPackages"] = lambda kit, path, arguments: kit.finish(path, 3)
    await rig.packages.install("", HELLO, "uuid")
    assert (await rig.ended())["failure_details"] == "PackageKit ended the transaction with code 3"


async def test_one_operation_at_a_time(rig: Rig) -> None:
    """P1."""
    running: list[str] = []
    rig.kit.scripts["InstallPackages"] = lambda kit, path, arguments: running.append(path)
    await rig.packages.install("", HELLO, "uuid")
    for begin in (rig.packages.install("", HELLO, "two"), rig.packages.uninstall("/usr/share/x.desktop")):
        with pytest.raises(Busy, match="another installation is running"):
            await begin
    await rig.until(lambda: running)
    rig.kit.finish(running[0])
    await rig.ended()
    rig.kit.scripts["InstallPackages"] = finish
    await rig.packages.install("", HELLO, "three")
    await rig.until(lambda: rig.reports[-1][1].get("command_uuid") == "three")


async def test_a_packagekit_that_dies_fails_the_installation(rig: Rig) -> None:
    """P4."""
    rig.kit.scripts["InstallPackages"] = lambda kit, path, arguments: kit.bus.disconnect()
    await rig.packages.install("", HELLO, "uuid")
    assert "in the middle of the operation" in (await rig.ended())["failure_details"]


async def test_the_end_is_reported_once_the_host_can_be_reached(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages_module, "LAST_REPORT_PAUSE", 0.01)
    rig.kit.scripts["InstallPackages"] = finish
    rig.refusals = 3
    await rig.packages.install("", HELLO, "uuid")
    assert (await rig.ended())["status"] == INSTALL.SUCCEEDED


async def test_the_owner_of_an_application_is_removed(rig: Rig) -> None:
    def remove(kit: FakePackageKit, path: str, arguments: list[Any]) -> None:
        kit.progress(path, Status=6, Percentage=50)
        kit.finish(path)

    rig.kit.scripts |= {"RequiredBy": finish, "RemovePackages": remove}
    await rig.packages.uninstall("/usr/share/applications/hello.desktop")
    assert await rig.ended() == {"status": UNINSTALL.SUCCEEDED, "failure_details": ""}
    assert rig.kit.asked == [
        ("RequiredBy", [4, [rig.owner], True]),
        ("RemovePackages", [0, [rig.owner], False, True]),
    ]


async def test_a_package_that_another_needs_stays(rig: Rig) -> None:
    """apt's back end removes the other one, too, and reports success (chromeos-garcon.md §6.8)."""

    def needed(kit: FakePackageKit, path: str, arguments: list[Any]) -> None:
        kit.signal(path, "Package", "uss", 1, "hello-plugins;1;all;installed", "")
        kit.finish(path)

    rig.kit.scripts["RequiredBy"] = needed
    await rig.packages.uninstall("/usr/share/applications/hello.desktop")
    assert (await rig.ended())["failure_details"] == "hello is needed by hello-plugins"
    assert [method for method, _ in rig.kit.asked] == ["RequiredBy"]


async def test_a_file_that_no_package_owns_cannot_be_removed(rig: Rig) -> None:
    """P5."""
    rig.owner = ""
    await rig.packages.uninstall("/usr/share/applications/hello.desktop")
    details = (await rig.ended())["failure_details"]
    assert details == "Could not find package that owns /usr/share/applications/hello.desktop"


async def test_without_packagekit_the_answer_is_one_sentence(tmp_path: Path) -> None:
    with session_bus(tmp_path) as address:
        async with fake_packagekit(address) as kit:
            rig = Rig(address, kit)
            assert not await rig.packagekit.is_there()
            for _ in range(2):
                with pytest.raises(PackageKitAbsent, match="PackageKit is not installed in the container"):
                    await rig.packages.install("", HELLO, "uuid")
            with pytest.raises(PackageKitAbsent, match="PackageKit is not installed in the container"):
                await rig.packages.file_info("/tmp/hello.deb")
            await rig.bus.close()
    rig = Rig("unix:path=/nonexistent/bus", kit)
    with pytest.raises(PackageKitAbsent, match="system bus"):
        await rig.packages.file_info("/tmp/hello.deb")


@pytest.mark.parametrize(
    ("member", "body"),
    [
        ("ErrorCode", []),
        ("ErrorCode", ["text", 5]),
        ("Finished", ["x", "y"]),
        ("Finished", [1]),
        ("Package", [1, 2, 3]),
        ("Details", ["no dictionary"]),
        ("Details", [{5: 6}]),
        ("PropertiesChanged", [TRANSACTION, {"Percentage": "many"}, []]),
    ],
)
def test_nonsense_has_no_effect(member: str, body: list[Any]) -> None:
    transaction = Transaction()
    interface = "org.freedesktop.DBus.Properties" if member == "PropertiesChanged" else TRANSACTION
    transaction.signal(interface, member, body)
    assert (transaction.exit, transaction.error, transaction.packages, transaction.percent) == (None, "", [], 0)


def test_what_a_transaction_names_is_bounded() -> None:
    transaction = Transaction()
    for number in range(packages_limit := 10_001):
        transaction.signal(TRANSACTION, "Package", [1, f"p{number};1;all;installed", "x" * 5000])
    assert len(transaction.packages) == packages_limit - 1
    assert len(transaction.packages[0].summary) == 4000

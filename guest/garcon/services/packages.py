"""Installs and removes packages at the host's request, by PackageKit (chromeos-garcon.md §6.7, §6.8)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from garcon.services.package_owner import PackageOwners
from garcon.services.package_transaction import Package, PackagePhase, Transaction
from garcon.services.packagekit import PackageKit, PackageKitAbsent, PackagesFailed
from guestlink.errors import GuestlinkError
from guestlink.package_texts import NO_PACKAGEKIT
from guestlink.pb import container_host_pb2 as pb
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

INFO_SILENCE = 25.0
"""Seconds without a signal until a request for information has failed: it has two transactions, and the host gives
up after 60 s (chromeos-garcon.md §7.2)."""
OPERATION_SILENCE = 1800.0
"""Seconds without a signal until an installation or a removal has failed; a large package unpacks for minutes."""
LAST_REPORT_ATTEMPTS, LAST_REPORT_PAUSE = 30, 2.0
"""Attempts to send the last report, which the host waits for, and the seconds between two: garcon may just be
registering again."""

_FILTER_NONE, _FILTER_INSTALLED = 2, 4
"""Bits of ``PkFilterEnum``."""
_NAMES_SHOWN = 5


class Busy(GuestlinkError):
    """Another installation or removal runs."""


class PackageInfo(NamedTuple):
    """What the host shows before an installation; the fields are LinuxPackageInfoResponse's.

    :ivar size: bytes.
    """

    package_id: str
    license: str
    description: str
    project_url: str
    size: int
    summary: str


class Packages:
    """The container's packages.

    :param kit: PackageKit.
    :param owners: finds the package of a desktop file.
    :param report: calls an RPC of the host; raises GuestlinkError if the host does not answer.
    """

    def __init__(self, kit: PackageKit, owners: PackageOwners, report: Callable[..., Awaitable[object]]) -> None:
        self._kit = kit
        self._owners = owners
        self._report = report
        self._tasks = TaskOwner("packages")
        self._operation = ""

    async def close(self) -> None:
        """Cancel what runs."""
        await self._tasks.close()

    async def file_info(self, path: str) -> PackageInfo:
        """Describe a package file.

        :raises PackagesFailed: it is no package file, or PackageKit does not answer.
        """
        return self._info(await self._query("GetDetailsLocal", "as", [path]))

    async def name_info(self, name: str) -> PackageInfo:
        """Describe a package by its name.

        :raises PackagesFailed: there is none, or PackageKit does not answer.
        """
        found = await self._query("Resolve", "tas", _FILTER_NONE, [name])
        if not found.packages:
            raise PackagesFailed(f"there is no package {name}")
        best = next((package for package in found.packages if package.is_installed), found.packages[0])
        return self._info(await self._query("GetDetails", "as", [best.id]))

    async def install(self, path: str, package_id: str, command_uuid: str) -> None:
        """Begin to install; the host gets reports of the progress and of the end.

        :param path: a package file, or ``""``.
        :param package_id: PackageKit's id, if there is no file.
        :param command_uuid: goes into each report.
        :raises Busy: another operation runs.
        :raises PackageKitAbsent: there is no PackageKit.
        """
        method, name = ("InstallFiles", path) if path else ("InstallPackages", package_id)
        await self._begin("installation")
        reports = _Reports(self._report, "InstallLinuxPackageProgress", command_uuid=command_uuid)

        async def operate() -> str:
            transaction = await self._kit.run(
                method, "tas", 0, [name], silence=OPERATION_SILENCE, progress=reports.progress
            )
            return _failure(transaction)

        self._tasks.start(self._operate(operate, reports), name="install")

    async def uninstall(self, path: str) -> None:
        """Begin to remove the package that owns a file; the host gets reports as for :meth:`install`.

        :raises Busy: another operation runs.
        :raises PackageKitAbsent: there is no PackageKit.
        """
        await self._begin("removal")
        reports = _Reports(self._report, "UninstallPackageProgress")

        async def operate() -> str:
            await self._owners.look_up([*self._owners.paths, path])
            package_id = self._owners.known(path)
            if not package_id:
                return f"Could not find package that owns {path}"
            if dependents := await self._dependents(package_id):
                return f"{package_id.partition(';')[0]} is needed by {_in_words(dependents)}"
            transaction = await self._kit.run(
                "RemovePackages", "tasbb", 0, [package_id], False, True,
                silence=OPERATION_SILENCE, progress=reports.progress,
            )  # fmt: skip
            return _failure(transaction)

        self._tasks.start(self._operate(operate, reports), name="uninstall")

    async def _begin(self, operation: str) -> None:
        if self._operation:
            raise Busy(f"another {self._operation} is running")
        self._operation = operation
        if not await self._kit.is_there():
            self._operation = ""
            raise PackageKitAbsent(NO_PACKAGEKIT)

    async def _operate(self, operate: Callable[[], Awaitable[str]], reports: _Reports) -> None:
        sending = self._tasks.start(reports.send(), name="report progress")
        try:
            try:
                failure = await operate()
            except PackagesFailed as error:
                failure = error.message
            except Exception:
                _log.exception("internal error during the %s", self._operation)
                failure = "internal error of garcon"
            if failure:
                _log.warning("the %s failed: %s", self._operation, failure)
        finally:
            self._operation = ""
            sending.cancel()
        await reports.end(failure)

    async def _dependents(self, package_id: str) -> list[str]:
        """Installed packages that need a package: apt's back end would remove them with it (§6.8)."""
        found = await self._kit.run(
            "RequiredBy", "tasb", _FILTER_INSTALLED, [package_id], True, silence=OPERATION_SILENCE
        )
        if not found.succeeded:
            raise PackagesFailed(f"what needs the package is not known: {_failure(found)}")
        return sorted({package.name for package in found.packages if _is_other(package, package_id)})

    async def _query(self, method: str, signature: str, *arguments: Any) -> Transaction:
        transaction = await self._kit.run(method, signature, *arguments, silence=INFO_SILENCE)
        if not transaction.succeeded:
            raise PackagesFailed(_failure(transaction))
        return transaction

    @staticmethod
    def _info(transaction: Transaction) -> PackageInfo:
        details = transaction.details
        size = details.get("size", 0)
        info = PackageInfo(
            package_id=str(details.get("package-id", "")),
            license=str(details.get("license", "")),
            description=str(details.get("description", "")),
            project_url=str(details.get("url", "")),
            size=size if isinstance(size, int) and size >= 0 else 0,
            summary=str(details.get("summary", "")),
        )
        if not info.package_id:
            raise PackagesFailed("PackageKit does not describe the package")
        return info


class _Reports:
    """Sends the newest progress, and the end once.

    :param call: calls an RPC of the host.
    :param method: the RPC.
    :param fields: fields of each request.
    """

    def __init__(self, call: Callable[..., Awaitable[object]], method: str, **fields: str) -> None:
        self._call = call
        self._method = method
        self._fields = fields
        self._newest: tuple[PackagePhase, int] | None = None
        self._is_new = asyncio.Event()

    def progress(self, transaction: Transaction) -> None:
        """Note a transaction's progress."""
        progress = (transaction.phase, transaction.percent)
        if transaction.phase is not None and progress != self._newest:
            self._newest = (transaction.phase, transaction.percent)
            self._is_new.set()

    async def send(self) -> None:
        """Send progress until cancelled; what is outdated when the host has answered is not sent."""
        while True:
            await self._is_new.wait()
            self._is_new.clear()
            if self._newest is None or (status := self._status(self._newest[0])) is None:
                continue
            try:
                await self._call(self._method, status=status, progress_percent=self._newest[1], **self._fields)
            except GuestlinkError as error:
                _log.debug("the host does not learn of the progress: %s", error)

    async def end(self, failure: str) -> None:
        """Send the end.

        :param failure: why the operation failed; ``""`` if it succeeded.
        """
        message = pb.InstallLinuxPackageProgressInfo  # Both messages have these numbers for both ends.
        status = message.FAILED if failure else message.SUCCEEDED
        for attempt in range(LAST_REPORT_ATTEMPTS):
            try:
                await self._call(self._method, status=status, failure_details=failure, **self._fields)
                return
            except GuestlinkError as error:
                if attempt == 0:
                    _log.warning("the host does not learn yet how it ended: %s", error)
            await asyncio.sleep(LAST_REPORT_PAUSE)

    def _status(self, phase: PackagePhase) -> int | None:
        if self._method == "UninstallPackageProgress":
            return int(pb.UninstallPackageProgressInfo.UNINSTALLING) if phase is PackagePhase.REMOVING else None
        statuses = {
            PackagePhase.DOWNLOADING: pb.InstallLinuxPackageProgressInfo.DOWNLOADING,
            PackagePhase.INSTALLING: pb.InstallLinuxPackageProgressInfo.INSTALLING,
        }
        return int(statuses[phase]) if phase in statuses else None


def _failure(transaction: Transaction) -> str:
    """Why a transaction failed, as the host shows it; ``""`` if it succeeded."""
    if transaction.succeeded:
        return ""
    return transaction.error or f"PackageKit ended the transaction with code {transaction.exit}"


def _is_other(package: Package, package_id: str) -> bool:
    return package.name != package_id.partition(";")[0]


def _in_words(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")

"""GetLinuxPackageInfo, InstallLinuxPackage and UninstallPackageOwningFile (chromeos-garcon.md §6.8)."""

from __future__ import annotations

import asyncio
import os

from garcon.parts import GarconParts
from garcon.services.packagekit import PackagesFailed
from garcon.services.packages import Busy
from garcon.session.launch_plan import CannotLaunch
from guestlink.errors import GuestlinkError
from guestlink.pb import container_guest_pb2 as pb
from guestlink.rpc import Refusal


class PackageCalls:
    """The host installs and removes packages."""

    def __init__(self, parts: GarconParts) -> None:
        self._packages = parts.packages
        self._entries = parts.entries

    async def get_linux_package_info(self, request: pb.LinuxPackageInfoRequest) -> pb.LinuxPackageInfoResponse:
        """Describe a package file, or a package by its name."""
        if not request.file_path and not request.package_name:
            raise Refusal("INVALID_ARGUMENT", "neither file_path nor package_name is set")
        try:
            if request.file_path:
                await _check_file(request.file_path)
                info = await self._packages.file_info(request.file_path)
            else:
                info = await self._packages.name_info(request.package_name)
        except PackagesFailed as error:
            return pb.LinuxPackageInfoResponse(success=False, failure_reason=error.message)
        return pb.LinuxPackageInfoResponse(success=True, **info._asdict())

    async def install_linux_package(self, request: pb.InstallLinuxPackageRequest) -> pb.InstallLinuxPackageResponse:
        """Begin to install a package file or a package."""
        response = pb.InstallLinuxPackageResponse
        if not request.file_path and not request.package_id:
            raise Refusal("INVALID_ARGUMENT", "neither file_path nor package_id is set")
        if request.file_path:
            await _check_file(request.file_path)
        try:
            await self._packages.install(request.file_path, request.package_id, request.command_uuid)
        except Busy as error:
            return response(status=response.INSTALL_ALREADY_ACTIVE, failure_reason=error.message)
        except GuestlinkError as error:
            return response(status=response.FAILED, failure_reason=error.message)
        return response(status=response.STARTED)

    async def uninstall_package_owning_file(
        self, request: pb.UninstallPackageOwningFileRequest
    ) -> pb.UninstallPackageOwningFileResponse:
        """Begin to remove the package of an application."""
        response = pb.UninstallPackageOwningFileResponse
        if not request.desktop_file_id:
            raise Refusal("INVALID_ARGUMENT", "missing desktop_file_id")
        try:
            path, _entry = self._entries.find(request.desktop_file_id)
        except CannotLaunch as error:
            raise Refusal("INVALID_ARGUMENT", str(error)) from error
        try:
            await self._packages.uninstall(path)
        except Busy as error:
            return response(status=response.BLOCKING_OPERATION_IN_PROGRESS, failure_reason=error.message)
        except GuestlinkError as error:
            return response(status=response.FAILED, failure_reason=error.message)
        return response(status=response.STARTED)


async def _check_file(path: str) -> None:
    """Refuse a path that is no file's.

    :raises Refusal: with the text of ChromeOS's garcon.
    """
    if "\0" in path or not path.startswith("/") or not await asyncio.to_thread(os.path.isfile, path):
        raise Refusal("INVALID_ARGUMENT", "file_path does not exist")

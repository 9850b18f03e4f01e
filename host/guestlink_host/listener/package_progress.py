"""InstallLinuxPackageProgress and UninstallPackageProgress: what became of a request (chromeos-garcon.md §6.8)."""

from __future__ import annotations

from typing import Any

from guestlink.pb import common_pb2
from guestlink.pb import container_host_pb2 as pb
from guestlink_host.containers.guest import Guest
from guestlink_host.containers.package_operations import REMOVAL
from guestlink_host.listener.token_check import TokenCheck
from guestlink_host.names import visible_line

DETAIL_LIMIT = 1000
"""Characters of the container's explanation that are shown."""
_INSTALL, _UNINSTALL = pb.InstallLinuxPackageProgressInfo, pb.UninstallPackageProgressInfo
_STEPS = {
    (_INSTALL, _INSTALL.DOWNLOADING): "downloading",
    (_INSTALL, _INSTALL.INSTALLING): "installing",
    (_UNINSTALL, _UNINSTALL.UNINSTALLING): "removing",
}


class PackageProgressCalls:
    """The RPCs with which a container reports installations and removals. Those of which this host knows nothing
    have no effect."""

    def __init__(self, guest: Guest, check: TokenCheck) -> None:
        self._guest = guest
        self._check = check

    async def install_linux_package_progress(
        self, request: pb.InstallLinuxPackageProgressInfo
    ) -> common_pb2.EmptyMessage:
        """Note the progress or the end of an installation."""
        self._check.call(request.token, "InstallLinuxPackageProgress")
        self._note(request.command_uuid, request, "installed")
        return common_pb2.EmptyMessage()

    async def uninstall_package_progress(self, request: pb.UninstallPackageProgressInfo) -> common_pb2.EmptyMessage:
        """Note the progress or the end of a removal."""
        self._check.call(request.token, "UninstallPackageProgress")
        self._note(REMOVAL, request, "uninstalled")
        return common_pb2.EmptyMessage()

    def _note(self, name: str, request: Any, what: str) -> None:
        operation = self._guest.package_operations.get(name)
        if operation is None or operation.ended:
            return
        if step := _STEPS.get((type(request), request.status)):
            operation.report(step, request.progress_percent)
            return
        succeeded = request.status == _INSTALL.SUCCEEDED
        failure = "" if succeeded else visible_line(request.failure_details, DETAIL_LIMIT) or "no reason given"
        operation.end(failure)
        self._guest.event(what if succeeded else "failed", "a package" if succeeded else f"a package: {failure}")

"""AddFileWatch and RemoveFileWatch (chromeos-garcon.md §6.5)."""

from __future__ import annotations

from garcon.parts import GarconParts
from garcon.services.file_watches import CannotWatch
from guestlink.pb import container_guest_pb2 as pb


class FileWatchCalls:
    """The host's file manager shows a directory."""

    def __init__(self, parts: GarconParts) -> None:
        self._watches = parts.file_watches

    async def add_file_watch(self, request: pb.AddFileWatchRequest) -> pb.AddFileWatchResponse:
        """Report the changes of a directory from now on."""
        try:
            await self._watches.add(request.path)
        except CannotWatch as error:
            return pb.AddFileWatchResponse(status=pb.AddFileWatchResponse.FAILED, failure_reason=error.message)
        return pb.AddFileWatchResponse(status=pb.AddFileWatchResponse.SUCCEEDED)

    async def remove_file_watch(self, request: pb.RemoveFileWatchRequest) -> pb.RemoveFileWatchResponse:
        """Report them no more."""
        try:
            await self._watches.remove(request.path)
        except CannotWatch as error:
            return pb.RemoveFileWatchResponse(
                status=pb.RemoveFileWatchResponse.FAILED, failure_reason=error.message
            )
        return pb.RemoveFileWatchResponse(status=pb.RemoveFileWatchResponse.SUCCEEDED)

"""UpdateApplicationList, PendingUpdateApplicationListCalls and UpdateMimeTypes: a container's lists."""

from __future__ import annotations

from guestlink.pb import common_pb2
from guestlink.pb import container_host_pb2 as pb
from guestlink.rpc import Refusal
from guestlink_host.containers.guest import Guest
from guestlink_host.listener.token_check import TokenCheck

MIME_TYPES_LIMIT = 50_000
MIME_TEXT_LIMIT = 255
"""Entries of a MIME map, and characters of each text; Debian 12 has about 1,000 (chromeos-garcon.md §3.10)."""
PENDING_LIMIT = 2
"""The largest count that garcon sends (chromeos-garcon.md §3.8)."""


class ApplicationLists:
    """The RPCs with which a container describes its applications."""

    def __init__(self, guest: Guest, check: TokenCheck) -> None:
        self._guest = guest
        self._check = check

    async def update_application_list(self, request: pb.UpdateApplicationListRequest) -> common_pb2.EmptyMessage:
        """Replace the application list."""
        self._check.call(request.token, "UpdateApplicationList")
        self._guest.publisher.submit(request.application)
        return common_pb2.EmptyMessage()

    async def pending_update_application_list_calls(
        self, request: pb.PendingAppListUpdateCount
    ) -> common_pb2.EmptyMessage:
        """Store the number of application lists that garcon has yet to send."""
        self._check.strict_call(request.token)
        self._guest.pending = min(request.count, PENDING_LIMIT)
        return common_pb2.EmptyMessage()

    async def update_mime_types(self, request: pb.UpdateMimeTypesRequest) -> common_pb2.EmptyMessage:
        """Replace the map from file name extensions to MIME types."""
        self._check.call(request.token, "UpdateMimeTypes")
        if len(request.mime_type_mappings) > MIME_TYPES_LIMIT:
            raise Refusal("FAILED_PRECONDITION", "Failure in UpdateMimeTypes: too many entries")
        self._guest.mime_types = {
            extension: mime_type
            for extension, mime_type in request.mime_type_mappings.items()
            if max(len(extension), len(mime_type)) <= MIME_TEXT_LIMIT and f"{extension}{mime_type}".isprintable()
        }
        return common_pb2.EmptyMessage()

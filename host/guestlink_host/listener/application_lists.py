"""UpdateApplicationList, PendingUpdateApplicationListCalls and UpdateMimeTypes: a container's lists."""

from __future__ import annotations

import time

from guestlink.pb import common_pb2
from guestlink.pb import container_host_pb2 as pb
from guestlink.rpc import RECEIVE_LIMIT, Refusal, accepts
from guestlink_host.border.rate_limit import RateLimit
from guestlink_host.containers.guest import Guest
from guestlink_host.listener.packed_list import PackedList, read_packed_list
from guestlink_host.listener.token_check import TokenCheck

MIME_TYPES_LIMIT = 10_000
"""Entries of a MIME map; Debian 12 has about 1,000 (chromeos-garcon.md §3.10)."""
MIME_MAP_LIMIT = 256 * 1024
"""Bytes of a MIME map; Debian 12's has about 40 KiB."""
MIME_TEXT_LIMIT = 255
"""Characters of a file name extension, and of a MIME type."""
LIST_LIMIT, LIST_WINDOW = 50, 5.0
"""Application lists and MIME maps that one container may send in a window, and the window in seconds.

The gate and the publisher bound the work of them (:mod:`guestlink_host.border.gate`,
:mod:`guestlink_host.launchers.launcher_publisher`)."""
PENDING_LIMIT = 2
"""The largest count that garcon sends (chromeos-garcon.md §3.8)."""


class ListCalls:
    """The RPCs with which a container describes its applications."""

    def __init__(self, guest: Guest, check: TokenCheck) -> None:
        self._guest = guest
        self._check = check
        self._limit = RateLimit(LIST_LIMIT, LIST_WINDOW)

    @accepts(RECEIVE_LIMIT, decode=read_packed_list)
    async def update_application_list(self, request: PackedList) -> common_pb2.EmptyMessage:
        """Replace the application list."""
        self._check.call(request.token, "UpdateApplicationList")
        self._count("UpdateApplicationList")
        self._guest.publisher.submit(request)
        return common_pb2.EmptyMessage()

    async def pending_update_application_list_calls(
        self, request: pb.PendingAppListUpdateCount
    ) -> common_pb2.EmptyMessage:
        """Store the number of application lists that garcon has yet to send."""
        self._check.strict_call(request.token)
        self._guest.pending = min(request.count, PENDING_LIMIT)
        return common_pb2.EmptyMessage()

    @accepts(MIME_MAP_LIMIT)
    async def update_mime_types(self, request: pb.UpdateMimeTypesRequest) -> common_pb2.EmptyMessage:
        """Count the file name extensions that have a MIME type; the desktop has no use for the map itself."""
        self._check.call(request.token, "UpdateMimeTypes")
        self._count("UpdateMimeTypes")
        if len(request.mime_type_mappings) > MIME_TYPES_LIMIT:
            raise Refusal("FAILED_PRECONDITION", "Failure in UpdateMimeTypes: too many entries")
        self._guest.mime_types = sum(
            max(len(extension), len(mime_type)) <= MIME_TEXT_LIMIT and f"{extension}{mime_type}".isprintable()
            for extension, mime_type in request.mime_type_mappings.items()
        )
        return common_pb2.EmptyMessage()

    def _count(self, method: str) -> None:
        """Count a list.

        :raises Refusal: the container has sent too many; garcon sends the list again later.
        """
        if not self._limit.allows(time.monotonic()):
            reason = f"the host accepts at most {LIST_LIMIT} lists in {LIST_WINDOW:g} s"
            raise Refusal("RESOURCE_EXHAUSTED", f"Failure in {method}: {reason}")

"""The ContainerListener service for one container: checks every call and turns messages into values.

RPCs without a method here answer UNIMPLEMENTED. Each container has its own server, so the origin of a call is
known; the server accepts a call only with that container's token.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from guestlink.errors import GuestlinkError
from guestlink.pb import common_pb2
from guestlink.pb import container_host_pb2 as pb
from guestlink.rpc import Refusal
from guestlink_host.desktop import DesktopFailed
from guestlink_host.guest import Guest
from guestlink_host.names import visible_line
from guestlink_host.rate_limit import RateLimit

_log = logging.getLogger(__name__)

MIME_TYPES_LIMIT = 50_000
MIME_TEXT_LIMIT = 255
"""Entries of a MIME map, and characters of each text; Debian 12 has about 1,000 (chromeos-garcon.md §3.10)."""
PENDING_LIMIT = 2
"""The largest count that garcon sends (chromeos-garcon.md §3.8)."""
WORDS_LIMIT, WORDS_LENGTH = 1000, 128 * 1024
"""Words of a terminal's command, and characters of all words together: Linux's limit for one argument."""
OPENINGS, OPENING_WINDOW = 10, 15.0
"""URLs and terminals that all containers together may open in this number of seconds (chromeos-garcon.md §6.15)."""
REGISTRATIONS, REGISTRATION_WINDOW = 50, 5.0
"""Registrations of one container in this number of seconds: after each we connect and fetch every icon again."""
_COMPLAINT_PAUSE = 10.0
"""Seconds between two log lines about bad tokens of one container."""


class ContainerListener:
    """Serves one container.

    :param guest: the container.
    :param openings: limits URLs and terminals, for all containers together.
    :param open_url: opens a URL for the container, or raises GuestlinkError; :param open_terminal: opens a terminal
        with the words of a command, or raises GuestlinkError.
    :param shut_down: is called when the container has sent ContainerShutdown.
    """

    def __init__(
        self,
        guest: Guest,
        openings: RateLimit,
        *,
        open_url: Callable[[Guest, str], Awaitable[None]],
        open_terminal: Callable[[Guest, list[str]], Awaitable[None]],
        shut_down: Callable[[Guest], None],
    ) -> None:
        self._guest = guest
        self._openings = openings
        self._open_url = open_url
        self._open_terminal = open_terminal
        self._shut_down = shut_down
        self._complaints = RateLimit(1, _COMPLAINT_PAUSE)
        self._registrations = RateLimit(REGISTRATIONS, REGISTRATION_WINDOW)

    async def container_ready(self, request: pb.ContainerStartupInfo) -> common_pb2.EmptyMessage:
        """Register, or register again."""
        self._check_token(request.token, "Cannot find VM for ContainerListener")
        if not self._registrations.allows(time.monotonic()):
            raise Refusal(
                "RESOURCE_EXHAUSTED", f"more than {REGISTRATIONS} registrations in {REGISTRATION_WINDOW:g} s"
            )
        try:
            self._guest.ready(request.garcon_port, request.sftp_port)
        except GuestlinkError as error:
            raise Refusal("FAILED_PRECONDITION", error.message) from error
        _log.info("%s registered", self._guest.container.name)
        return common_pb2.EmptyMessage()

    async def container_shutdown(self, request: pb.ContainerShutdownInfo) -> common_pb2.EmptyMessage:
        """Note that the container stops, and replace its token."""
        self._check_strictly(request.token)
        _log.info("%s shut down", self._guest.container.name)
        self._shut_down(self._guest)
        return common_pb2.EmptyMessage()

    async def update_application_list(self, request: pb.UpdateApplicationListRequest) -> common_pb2.EmptyMessage:
        """Replace the application list."""
        self._check(request.token, "UpdateApplicationList")
        self._guest.publisher.submit(request.application)
        return common_pb2.EmptyMessage()

    async def pending_update_application_list_calls(
        self, request: pb.PendingAppListUpdateCount
    ) -> common_pb2.EmptyMessage:
        """Store the number of application lists that garcon has yet to send."""
        self._check_strictly(request.token)
        self._guest.pending = min(request.count, PENDING_LIMIT)
        return common_pb2.EmptyMessage()

    async def update_mime_types(self, request: pb.UpdateMimeTypesRequest) -> common_pb2.EmptyMessage:
        """Replace the map from file name extensions to MIME types."""
        self._check(request.token, "UpdateMimeTypes")
        if len(request.mime_type_mappings) > MIME_TYPES_LIMIT:
            raise Refusal("FAILED_PRECONDITION", "Failure in UpdateMimeTypes: too many entries")
        self._guest.mime_types = {
            extension: mime_type
            for extension, mime_type in request.mime_type_mappings.items()
            if max(len(extension), len(mime_type)) <= MIME_TEXT_LIMIT and f"{extension}{mime_type}".isprintable()
        }
        return common_pb2.EmptyMessage()

    async def open_url(self, request: pb.OpenUrlRequest) -> common_pb2.EmptyMessage:
        """Open a URL on the desktop, if the policy and the user allow it."""
        self._check(request.token, "OpenUrl")
        self._limit_openings()
        try:
            await self._open_url(self._guest, request.url)
        except GuestlinkError as error:
            raise self._not_opened("OpenUrl", visible_line(request.url, 200), error) from error
        return common_pb2.EmptyMessage()

    async def open_terminal(self, request: pb.OpenTerminalRequest) -> common_pb2.EmptyMessage:
        """Open a terminal on the desktop that runs a command in the container."""
        self._check(request.token, "OpenTerminal")
        self._limit_openings()
        words = list(request.params)
        try:
            if len(words) > WORDS_LIMIT or sum(map(len, words)) > WORDS_LENGTH:
                raise GuestlinkError("the command is too long")
            if any("\0" in word for word in words):
                raise GuestlinkError("the command has a NUL byte")
            await self._open_terminal(self._guest, words)
        except GuestlinkError as error:
            raise self._not_opened("OpenTerminal", "terminal", error) from error
        return common_pb2.EmptyMessage()

    def _not_opened(self, method: str, what: str, error: GuestlinkError) -> Refusal:
        """The answer to the container: what is wrong, and on a second line what to do."""
        self._guest.event("failed" if isinstance(error, DesktopFailed) else "refused", f"{what}: {error}")
        lines = [f"Failure in {method}: {error}", *filter(None, [error.hint])]
        return Refusal("FAILED_PRECONDITION", "\n".join(lines))

    def _limit_openings(self) -> None:
        if not self._openings.allows(time.monotonic()):
            raise Refusal("RESOURCE_EXHAUSTED", f"more than {OPENINGS} openings in {OPENING_WINDOW:g} s")

    def _check(self, token: str, name: str) -> None:
        self._check_token(token, f"Failure in {name}")
        if not self._guest.registered:
            raise Refusal("FAILED_PRECONDITION", f"Failure in {name}")

    def _check_strictly(self, token: str) -> None:
        """Refuse as cicerone does for ContainerShutdown and PendingUpdateApplicationListCalls
        (chromeos-garcon.md §7.1)."""
        if not token:
            raise Refusal("INVALID_ARGUMENT", "the token is empty")
        self._check_token(token, "Cannot find VM for ContainerListener")
        if not self._guest.registered:
            raise Refusal("FAILED_PRECONDITION", "Cannot find VM for ContainerListener")

    def _check_token(self, token: str, text: str) -> None:
        if not self._guest.container.knows(token):
            if self._complaints.allows(time.monotonic()):
                _log.warning("a call on the socket of %s has a wrong token", self._guest.container.name)
            raise Refusal("FAILED_PRECONDITION", text)

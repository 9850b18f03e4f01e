"""OpenUrl and OpenTerminal: a container asks to open something on the desktop."""

from __future__ import annotations

import time

from guestlink.errors import GuestlinkError
from guestlink.pb import common_pb2
from guestlink.pb import container_host_pb2 as pb
from guestlink.rpc import Refusal
from guestlink_host.border.desktop import DesktopFailed
from guestlink_host.border.open_requests import OpenRequests
from guestlink_host.border.rate_limit import RateLimit
from guestlink_host.containers.guest import Guest
from guestlink_host.listener.token_check import TokenCheck
from guestlink_host.names import visible_line

WORDS_LIMIT, WORDS_LENGTH = 1000, 128 * 1024
"""Words of a terminal's command, and characters of all words together: Linux's limit for one argument."""
OPENING_LIMIT, OPENING_WINDOW = 10, 15.0
"""URLs and terminals that all containers together may open in this number of seconds (chromeos-garcon.md §6.15)."""


class Opening:
    """The RPCs that open URLs and terminals.

    :param requests: decides, and opens them.
    :param limit: limits them, for all containers together.
    """

    def __init__(self, guest: Guest, check: TokenCheck, requests: OpenRequests, limit: RateLimit) -> None:
        self._guest = guest
        self._check = check
        self._requests = requests
        self._limit = limit

    async def open_url(self, request: pb.OpenUrlRequest) -> common_pb2.EmptyMessage:
        """Open a URL on the desktop, if the policy and the user allow it."""
        self._check.call(request.token, "OpenUrl")
        self._check_limit()
        try:
            await self._requests.open_url(self._guest, request.url)
        except GuestlinkError as error:
            raise self._not_opened("OpenUrl", visible_line(request.url, 200), error) from error
        return common_pb2.EmptyMessage()

    async def open_terminal(self, request: pb.OpenTerminalRequest) -> common_pb2.EmptyMessage:
        """Open a terminal on the desktop that runs a command in the container."""
        self._check.call(request.token, "OpenTerminal")
        self._check_limit()
        words = list(request.params)
        try:
            if len(words) > WORDS_LIMIT or sum(map(len, words)) > WORDS_LENGTH:
                raise GuestlinkError(
                    "the command is too long",
                    hint=f"use at most {WORDS_LIMIT} words and {WORDS_LENGTH} characters; put the rest in a script",
                )
            if any("\0" in word for word in words):
                raise GuestlinkError("the command has a NUL byte", hint="no program can get one as an argument")
            await self._requests.open_terminal(self._guest, words)
        except GuestlinkError as error:
            raise self._not_opened("OpenTerminal", "terminal", error) from error
        return common_pb2.EmptyMessage()

    def _not_opened(self, method: str, what: str, error: GuestlinkError) -> Refusal:
        """The answer to the container: what is wrong, and on a second line what to do."""
        self._guest.event("failed" if isinstance(error, DesktopFailed) else "refused", f"{what}: {error}")
        lines = [f"Failure in {method}: {error}", *filter(None, [error.hint])]
        return Refusal("FAILED_PRECONDITION", "\n".join(lines))

    def _check_limit(self) -> None:
        if not self._limit.allows(time.monotonic()):
            raise Refusal("RESOURCE_EXHAUSTED", f"more than {OPENING_LIMIT} openings in {OPENING_WINDOW:g} s")

"""OpenUrl and OpenTerminal: a container asks to open something on the desktop."""

from __future__ import annotations

import time

from guestlink.errors import GuestlinkError
from guestlink.pb import common_pb2
from guestlink.pb import container_host_pb2 as pb
from guestlink.rpc import Refusal, accepts
from guestlink_host.border.desktop import DesktopFailed
from guestlink_host.border.open_requests import OpenRequests
from guestlink_host.border.rate_limit import RateLimit
from guestlink_host.border.repeat_count import RepeatCount
from guestlink_host.containers.guest import Guest
from guestlink_host.listener.token_check import TokenCheck
from guestlink_host.names import visible_line

WORDS_LIMIT, WORDS_LENGTH = 1000, 128 * 1024
"""Words of a terminal's command, and characters of all words together: Linux's limit for one argument."""
TERMINAL_LIMIT = 640 * 1024
"""Bytes of OpenTerminal: the characters above, of up to four bytes, and room for the words' lengths."""
OPENING_LIMIT = 10
"""URLs and terminals that the host opens for all containers together in a window (chromeos-garcon.md §6.15)."""
CONTAINER_OPENING_LIMIT = 8
"""URLs and terminals that the host opens for one container in a window: one container leaves some to the others."""
GUARANTEED_OPENINGS = 1
"""URLs and terminals that one container may open in a window however many the others have opened: two containers
that open as much as they may leave something to a third."""
OPENING_WINDOW = 15.0
"""Seconds of the window of these limits."""
EVENT_LIMIT, EVENT_WINDOW = 10, 15.0
"""Refused requests of one container that become events, and seconds: one container must not fill the event log."""


class TooManyOpenings(GuestlinkError):
    """The host has opened enough URLs and terminals for now."""


class OpeningCalls:
    """The RPCs that open URLs and terminals.

    Requests that the policy or a check refuses do not count against the limits, so that a container whose requests
    are refused delays no other.

    :param requests: decides, and opens them.
    :param limit: limits them, for all containers together.
    """

    def __init__(self, guest: Guest, check: TokenCheck, requests: OpenRequests, limit: RateLimit) -> None:
        self._guest = guest
        self._check = check
        self._requests = requests
        self._limit = limit
        self._guaranteed = RateLimit(GUARANTEED_OPENINGS, OPENING_WINDOW)
        self._own_limit = RateLimit(CONTAINER_OPENING_LIMIT, OPENING_WINDOW)
        self._events = RateLimit(EVENT_LIMIT, EVENT_WINDOW)
        self._repeats = RepeatCount()

    async def open_url(self, request: pb.OpenUrlRequest) -> common_pb2.EmptyMessage:
        """Open a URL on the desktop, if the policy and the user allow it."""
        self._check.call(request.token, "OpenUrl")
        try:
            await self._requests.open_url(self._guest, request.url, self._count)
        except GuestlinkError as error:
            raise self._not_opened("OpenUrl", visible_line(request.url, 200), error) from error
        return common_pb2.EmptyMessage()

    @accepts(TERMINAL_LIMIT)
    async def open_terminal(self, request: pb.OpenTerminalRequest) -> common_pb2.EmptyMessage:
        """Open a terminal on the desktop that runs a command in the container."""
        self._check.call(request.token, "OpenTerminal")
        words = list(request.params)
        try:
            if len(words) > WORDS_LIMIT or sum(map(len, words)) > WORDS_LENGTH:
                raise GuestlinkError(
                    "the command is too long",
                    hint=f"use at most {WORDS_LIMIT} words and {WORDS_LENGTH} characters; put the rest in a script",
                )
            if any("\0" in word for word in words):
                raise GuestlinkError("the command has a NUL byte", hint="no program can get one as an argument")
            await self._requests.open_terminal(self._guest, words, self._count)
        except GuestlinkError as error:
            raise self._not_opened("OpenTerminal", "terminal", error) from error
        return common_pb2.EmptyMessage()

    def _not_opened(self, method: str, what: str, error: GuestlinkError) -> Refusal:
        """The answer to the container: what is wrong, and on a second line what to do."""
        now = time.monotonic()
        if (line := self._repeats.line(f"{what}: {error}", now)) and self._events.allows(now):
            self._guest.event("failed" if isinstance(error, DesktopFailed) else "refused", line)
        code = "RESOURCE_EXHAUSTED" if isinstance(error, TooManyOpenings) else "FAILED_PRECONDITION"
        lines = [f"Failure in {method}: {error}", *filter(None, [error.hint])]
        return Refusal(code, "\n".join(lines))

    def _count(self) -> None:
        """Count a request that the policy allows.

        :raises TooManyOpenings: a limit is reached.
        """
        now = time.monotonic()
        if not self._own_limit.allows(now):
            raise self._too_many(CONTAINER_OPENING_LIMIT, "of one container")
        is_guaranteed = self._guaranteed.allows(now)
        if not self._limit.allows(now) and not is_guaranteed:
            raise self._too_many(OPENING_LIMIT, "of all containers together")

    @staticmethod
    def _too_many(count: int, whose: str) -> TooManyOpenings:
        return TooManyOpenings(
            f"the host opens at most {count} links and terminals {whose} in {OPENING_WINDOW:g} s",
            hint="try again in a few seconds",
        )

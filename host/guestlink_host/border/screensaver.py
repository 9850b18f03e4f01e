"""Keeps the desktop's screen on for containers' programs, by the desktop's org.freedesktop.ScreenSaver.

The desktop's service gets the container's name with the program's. An inhibition ends with the program, with the
container's garcon, with a change of the policy to ``deny``, and with this daemon, whose bus connection holds it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from typing import NamedTuple

from guestlink.bus import Bus, BusError
from guestlink.errors import GuestlinkError
from guestlink.tasks import TaskOwner
from guestlink_host.names import visible_line

_log = logging.getLogger(__name__)

INHIBITION_LIMIT = 100
"""Inhibitions of one container at a time, as many as its garcon has."""
TEXT_LIMIT = 200
"""Characters of a program's name and of its reason."""
_SERVICE, _PATH = "org.freedesktop.ScreenSaver", "/org/freedesktop/ScreenSaver"


class NotInhibited(GuestlinkError):
    """The screen may go off."""


class _Key(NamedTuple):
    container: str
    cookie: int


class Screensaver:
    """The inhibitions of all containers.

    :param bus: the desktop's session bus.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._cookies: dict[_Key, int] = {}
        self._releases: Counter[str] = Counter()
        # The desktop may be slow, and one container's calls delay no other's.
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks = TaskOwner("screensaver")

    async def start(self) -> None:
        """Nothing runs before the first inhibition."""

    async def close(self) -> None:
        """End every inhibition: the desktop ends those of a connection with it."""
        await self._tasks.close()
        await self._bus.close()

    async def inhibit(self, container: str, cookie: int, client: str, reason: str) -> None:
        """Keep the screen on.

        :param cookie: the container's name for the inhibition; one that is in use already changes nothing.
        :raises NotInhibited: the desktop has no screensaver service, or the container has too many inhibitions.
        """
        key = _Key(container, cookie)
        releases = self._releases[container]
        async with self._locks[container]:
            self._check(container, releases)
            if key in self._cookies:
                return
            if sum(other.container == container for other in self._cookies) >= INHIBITION_LIMIT:
                raise NotInhibited(f"the host keeps its screen on for at most {INHIBITION_LIMIT} reasons at a time")
            who = f"{visible_line(client, TEXT_LIMIT) or 'a program'} ({container})"
            words = [who, visible_line(reason, TEXT_LIMIT) or "keeps the screen on"]
            try:
                (given,) = await self._bus.call(_SERVICE, _PATH, _SERVICE, "Inhibit", "ss", words)
            except ValueError as error:
                raise NotInhibited("the host's desktop gives an answer that is none") from error
            except BusError as error:
                absent = error.nobody_there
                said = "the host's desktop has no service that keeps its screen on" if absent else str(error)
                raise NotInhibited(said, hint="a program's own Wayland idle inhibitor works without it") from error
            if not isinstance(given, int):
                raise NotInhibited("the host's desktop gives an answer that is none")
            self._cookies[key] = given
        try:
            self._check(container, releases)
        except NotInhibited:
            await self.uninhibit(container, cookie)
            raise

    def _check(self, container: str, releases: int) -> None:
        """Check that a container's inhibitions have not ended while one of its calls waited.

        :raises NotInhibited: they have.
        """
        if self._releases[container] != releases:
            raise NotInhibited(f"the inhibitions of {container} have ended")

    async def uninhibit(self, container: str, cookie: int) -> None:
        """End an inhibition; one that does not exist changes nothing."""
        async with self._locks[container]:
            if (given := self._cookies.pop(_Key(container, cookie), None)) is not None:
                try:
                    await self._bus.call(_SERVICE, _PATH, _SERVICE, "UnInhibit", "u", [given])
                except BusError as error:
                    _log.info("the desktop may keep its screen on: %s", error)

    def release(self, container: str) -> None:
        """End every inhibition of a container, also those for which it waits."""
        self._releases[container] += 1
        self._tasks.start(self._release(container), name=container)

    async def _release(self, container: str) -> None:
        for key in [key for key in self._cookies if key.container == container]:
            await self.uninhibit(*key)

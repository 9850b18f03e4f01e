"""Lets programs keep the host's screen on: the session's org.freedesktop.ScreenSaver (chromeos-garcon.md §6.13).

Two object paths are in use: Qt, Firefox and Chromium call the older one. An inhibition ends with UnInhibit, with
its program, and with garcon.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from guestlink.bus import Bus, BusError
from guestlink.errors import GuestlinkError
from guestlink.tasks import TaskOwner

if TYPE_CHECKING:
    from dbus_fast import Message

_log = logging.getLogger(__name__)

SERVICE = "org.freedesktop.ScreenSaver"
PATHS = ("/org/freedesktop/ScreenSaver", "/ScreenSaver")
INHIBITION_LIMIT = 100
"""Inhibitions at a time; one is enough to keep the screen on."""
TEXT_LIMIT = 200
"""Characters of a program's name and of its reason."""
_OWNER_CHANGES = (
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged'"
)
_LAST_TIME = 2.0
"""Seconds in which garcon ends the inhibitions when it stops; the host ends those that are left."""


class Inhibition(NamedTuple):
    """One inhibition.

    :ivar owner: the bus name of the program.
    """

    owner: str
    client: str
    reason: str


class ScreensaverService:
    """Serves the name from :meth:`start` to :meth:`close`.

    :param bus: the session's bus.
    :param call: calls an RPC of the host; raises GuestlinkError if the host does not answer.
    """

    def __init__(self, bus: Bus, call: Callable[..., Awaitable[object]]) -> None:
        self._bus = bus
        self._call = call
        self._inhibitions: dict[int, Inhibition] = {}
        self._last_cookie = 0
        self._to_send: OrderedDict[int, None] = OrderedDict()
        self._sent: set[int] = set()
        self._changed = asyncio.Event()
        self._tasks = TaskOwner("screensaver")

    async def start(self) -> None:
        """Serve the name, if the session has a bus and nobody else serves it."""
        self._tasks.start(self._serve(), name="serve")
        self._tasks.start(self._send(), name="tell the host")

    async def close(self) -> None:
        """End every inhibition."""
        await self._tasks.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_TIME):
                for cookie in sorted(self._sent):
                    await self._tell("UninhibitScreensaver", cookie=cookie)

    def registered(self) -> None:
        """The host has forgotten every inhibition."""
        self._sent.clear()
        for cookie in self._inhibitions:
            self._to_send[cookie] = None
        self._changed.set()

    async def _serve(self) -> None:
        try:
            await self._bus.listen(_OWNER_CHANGES, self._owner_changed)
            if not await self._bus.serve(SERVICE, self._answer):
                _log.info("another program of this session is its screensaver; the host's screen may go off")
        except BusError as error:
            _log.info("programs cannot keep the host's screen on: %s", error)

    def _answer(self, message: Message) -> Message | None:
        """Answer a method call of the interface; ``None`` for other messages."""
        from dbus_fast import Message, MessageType

        if message.message_type is not MessageType.METHOD_CALL or message.path not in PATHS:
            return None
        if message.interface not in (SERVICE, None):
            return None
        if (message.member, message.signature) == ("Inhibit", "ss"):
            if len(self._inhibitions) >= INHIBITION_LIMIT:
                return Message.new_error(
                    message, "org.freedesktop.DBus.Error.LimitsExceeded",
                    f"there are {INHIBITION_LIMIT} inhibitions already",
                )  # fmt: skip
            return Message.new_method_return(message, "u", [self._inhibit(message)])
        if (message.member, message.signature) == ("UnInhibit", "u"):
            (cookie,) = message.body
            if cookie in self._inhibitions:
                self._end(cookie)
            return Message.new_method_return(message)
        if (message.member, message.signature) == ("GetActive", ""):
            return Message.new_method_return(message, "b", [False])
        return None

    def _inhibit(self, message: Message) -> int:
        client, reason = (text[:TEXT_LIMIT] for text in message.body)
        self._last_cookie += 1
        self._inhibitions[self._last_cookie] = Inhibition(message.sender or "", client, reason)
        self._to_send[self._last_cookie] = None
        self._changed.set()
        return self._last_cookie

    def _end(self, cookie: int) -> None:
        del self._inhibitions[cookie]
        self._to_send[cookie] = None
        self._changed.set()

    def _owner_changed(self, message: Message) -> None:
        """End the inhibitions of a program that has left the bus."""
        if message.member == "NameOwnerChanged" and message.signature == "sss" and message.body[2] == "":
            for cookie in [c for c, one in self._inhibitions.items() if one.owner == message.body[0]]:
                self._end(cookie)

    async def _send(self) -> None:
        """Tell the host what has changed, one call at a time: an end never overtakes its beginning."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._to_send:
                cookie, _ = self._to_send.popitem(last=False)
                inhibition = self._inhibitions.get(cookie)
                if inhibition is not None and cookie not in self._sent:
                    self._sent.add(cookie)
                    await self._tell(
                        "InhibitScreensaver", cookie=cookie, client=inhibition.client, reason=inhibition.reason
                    )
                elif inhibition is None and cookie in self._sent:
                    self._sent.discard(cookie)
                    await self._tell("UninhibitScreensaver", cookie=cookie)

    async def _tell(self, method: str, **fields: object) -> None:
        try:
            await self._call(method, **fields)
        except GuestlinkError as error:
            _log.info("%s", error)

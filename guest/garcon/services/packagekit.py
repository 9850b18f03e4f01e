"""Runs transactions of PackageKit on the system bus (chromeos-garcon.md §6.7).

PackageKit runs only while it is used: the bus starts it with the first call, so only that call shows whether it is
installed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from garcon.services.package_transaction import TRANSACTION, Transaction
from guestlink.bus import Bus, BusError, NoBus
from guestlink.errors import GuestlinkError
from guestlink.package_texts import NO_PACKAGEKIT

if TYPE_CHECKING:
    from dbus_fast import Message

SERVICE = "org.freedesktop.PackageKit"
_PATH = "/org/freedesktop/PackageKit"
_CALL_TIMEOUT = 30.0
"""Seconds for a call's reply: the bus may have to start PackageKit, which reads its configuration."""
START_TIMEOUT = 300.0
"""Seconds for the reply to a transaction's own method: polkit may ask somebody first."""


class PackagesFailed(GuestlinkError):
    """PackageKit cannot do what it is asked."""


class PackageKitAbsent(PackagesFailed):
    """There is no PackageKit, or no system bus."""


class PackageKit:
    """PackageKit's side of our operations; any number of transactions may run at a time.

    :param bus: the system bus.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._running: dict[str, tuple[Transaction, asyncio.Event, Callable[[Transaction], None]]] = {}

    async def is_there(self) -> bool:
        """Whether PackageKit runs, or the bus can start it."""
        try:
            for list_names in ("ListActivatableNames", "ListNames"):
                (names,) = await self._bus.call(
                    "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", list_names
                )
                if SERVICE in names:
                    return True
        except BusError:
            pass
        return False

    async def run(
        self,
        method: str,
        signature: str,
        *arguments: Any,
        silence: float,
        progress: Callable[[Transaction], None] = lambda transaction: None,
    ) -> Transaction:
        """Run a transaction to its end.

        :param method: the method of ``org.freedesktop.PackageKit.Transaction``, with its D-Bus signature.
        :param silence: seconds without a signal after which the transaction is cancelled and has failed.
        :param progress: called when the percentage or the phase is sent.
        :returns: the transaction, which may have failed.
        :raises PackageKitAbsent: there is no PackageKit.
        :raises PackagesFailed: PackageKit refuses to make a transaction.
        """
        await self._listen()
        path = await self._create()
        transaction, changed = Transaction(), asyncio.Event()
        self._running[path] = transaction, changed, progress
        try:
            with contextlib.suppress(BusError):
                hints = ["locale=en_US.UTF-8", "interactive=false"]
                await self._bus.call(SERVICE, path, TRANSACTION, "SetHints", "as", [hints])
            try:
                await self._bus.call(
                    SERVICE, path, TRANSACTION, method, signature, list(arguments), timeout=START_TIMEOUT
                )
            except BusError as error:
                transaction.fail(f"{error.name}: {error}" if error.name else str(error))
            while transaction.exit is None:
                changed.clear()
                try:
                    async with asyncio.timeout(silence):
                        await changed.wait()
                except TimeoutError:
                    transaction.fail("Timeout")
                    await self._cancel(path)
            return transaction
        except asyncio.CancelledError:
            await self._cancel(path)
            raise
        finally:
            del self._running[path]

    async def _listen(self) -> None:
        try:
            await self._bus.listen(f"type='signal',sender='{SERVICE}'", self._heard)
            await self._bus.listen(
                "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
                f"member='NameOwnerChanged',arg0='{SERVICE}'",
                self._owner_changed,
            )
        except BusError as error:
            raise PackageKitAbsent(str(error)) from error

    async def _create(self) -> str:
        try:
            (path,) = await self._bus.call(SERVICE, _PATH, SERVICE, "CreateTransaction", timeout=_CALL_TIMEOUT)
        except NoBus as error:
            raise PackageKitAbsent(f"the container has no system bus: {error}") from error
        except BusError as error:
            if error.nobody_there:
                raise PackageKitAbsent(NO_PACKAGEKIT) from error
            raise PackagesFailed(f"PackageKit makes no transaction: {error}") from error
        except ValueError as error:
            raise PackagesFailed("PackageKit's answer is none") from error
        return str(path)

    async def _cancel(self, path: str) -> None:
        with contextlib.suppress(BusError):
            await self._bus.call(SERVICE, path, TRANSACTION, "Cancel")

    def _heard(self, message: Message) -> None:
        running = self._running.get(message.path or "")
        if running is None:
            return
        transaction, changed, progress = running
        if transaction.signal(message.interface or "", message.member or "", message.body):
            progress(transaction)
        changed.set()

    def _owner_changed(self, message: Message) -> None:
        """Fail every transaction when PackageKit has left the bus."""
        if message.member != "NameOwnerChanged" or message.body[:1] != [SERVICE] or message.body[2:] != [""]:
            return
        for transaction, changed, _progress in self._running.values():
            transaction.fail("PackageKit has ended in the middle of the operation")
            changed.set()

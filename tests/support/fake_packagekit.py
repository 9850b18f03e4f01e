"""A PackageKit of the test's own on a private bus: does what a test tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from garcon.services.package_transaction import TRANSACTION
from garcon.services.packagekit import SERVICE
from support.bus_connection import bus_connection

Script = Callable[["FakePackageKit", str, list[Any]], None]


class FakePackageKit:
    """Answers CreateTransaction, and the methods of transactions by the test's scripts.

    :ivar scripts: by method of a transaction; a script gets this object, the transaction's path and the arguments.
    :ivar asked: the methods and arguments, in order.
    """

    def __init__(self, bus: MessageBus) -> None:
        self.scripts: dict[str, Script] = {}
        self.asked: list[tuple[str, list[Any]]] = []
        self.bus = bus
        self._count = 0
        bus.add_message_handler(self._answer)

    def signal(self, path: str, member: str, signature: str, *body: Any) -> None:
        """Emit a signal of a transaction."""
        self.bus.send(
            Message(
                message_type=MessageType.SIGNAL, path=path, interface=TRANSACTION, member=member,
                signature=signature, body=list(body),
            )
        )  # fmt: skip

    def progress(self, path: str, **values: int) -> None:
        """Announce changed properties: ``Status`` and ``Percentage``."""
        changed = {name: Variant("u", value) for name, value in values.items()}
        self.bus.send(
            Message(
                message_type=MessageType.SIGNAL, path=path, interface="org.freedesktop.DBus.Properties",
                member="PropertiesChanged", signature="sa{sv}as", body=[TRANSACTION, changed, []],
            )
        )  # fmt: skip

    def finish(self, path: str, exit_number: int = 1) -> None:
        """End a transaction."""
        self.signal(path, "Finished", "uu", exit_number, 5)

    def _answer(self, message: Message) -> Message | None:
        if message.message_type is not MessageType.METHOD_CALL or message.interface not in (SERVICE, TRANSACTION):
            return None
        if message.member == "CreateTransaction":
            self._count += 1
            return Message.new_method_return(message, "o", [f"/{self._count}_abc"])
        if message.member != "SetHints":
            self.asked.append((str(message.member), list(message.body)))
        if (script := self.scripts.get(str(message.member))) is not None:
            self.bus.send(Message.new_method_return(message))
            script(self, str(message.path), list(message.body))
            return None
        return Message.new_method_return(message)


@asynccontextmanager
async def fake_packagekit(address: str) -> AsyncIterator[FakePackageKit]:
    """A PackageKit on a bus."""
    async with bus_connection(address) as bus:
        yield FakePackageKit(bus)


async def appear(kit: FakePackageKit) -> None:
    """Own PackageKit's name."""
    await kit.bus.request_name(SERVICE)

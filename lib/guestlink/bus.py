"""D-Bus, the session's and the system's: connects on first use, and again after the connection was lost.

dbus-fast is imported on first use, because few calls need it and no daemon's start must wait for the import.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from guestlink import xdg
from guestlink.bus_strings import sendable

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

SignalHandler: TypeAlias = "Callable[[Message], None]"
MessageHandler: TypeAlias = "Callable[[Message], Message | None]"


class BusError(Exception):
    """A call failed.

    :ivar name: the D-Bus error name; ``""`` when none came over the bus.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text or name)
        self.name = name

    @property
    def nobody_there(self) -> bool:
        """Whether no service got the call, because its service is not on the bus. Then the call had no effect."""
        return self.name in _NOBODY or self.name.startswith(f"{_ERROR}.Spawn")

    @property
    def took_the_call(self) -> bool:
        """Whether the service got the call and left the bus: it may have executed the call, or have crashed."""
        return self.name == f"{_ERROR}.NoReply"


class NoBus(BusError):
    """There is no bus, or it accepts no connection."""

    def __init__(self, text: str) -> None:
        super().__init__("", text)

    @property
    def nobody_there(self) -> bool:
        return True


class NoAnswer(BusError):
    """The call was sent and no reply came: the service may have executed the call, or may do so later."""

    def __init__(self, text: str) -> None:
        super().__init__("", text)


_ERROR = "org.freedesktop.DBus.Error"
_NOBODY = (f"{_ERROR}.ServiceUnknown", f"{_ERROR}.NameHasNoOwner")
_SYSTEM_BUS = "unix:path=/var/run/dbus/system_bus_socket"
_CONNECT_TIMEOUT, _CLOSE_TIMEOUT = 15.0, 2.0


class Bus:
    """Calls on a bus.

    :param name: ``session`` or ``system``, for messages.
    :param address: the bus's address; ``None`` if there is no bus.
    :param passes_descriptors: whether calls may contain file descriptors.
    """

    def __init__(self, name: str, address: str | None, *, passes_descriptors: bool = False) -> None:
        self._name = name
        self._address = address
        self._passes_descriptors = passes_descriptors
        self._bus: MessageBus | None = None
        self._lock = asyncio.Lock()
        self._handlers: list[tuple[str, SignalHandler]] = []

    async def listen(self, rule: str, handler: SignalHandler) -> None:
        """Subscribe to the signals of a match rule, now and after each reconnection. A second call has no effect.

        :param handler: called with every signal that arrives; it must filter them itself.
        :raises NoBus: there is no bus.
        """
        if (rule, handler) in self._handlers:
            return
        self._handlers.append((rule, handler))
        if self._bus is not None and self._bus.connected:
            await self._add_match(self._bus, rule, handler)

    async def serve(self, name: str, answer: MessageHandler) -> bool:
        """Own a name and answer method calls, until the bus is closed.

        :param answer: is called with every message that arrives; returns the reply, or ``None`` for other messages.
        :returns: whether we own the name; ``False`` if another program does.
        :raises NoBus: there is no bus.
        """
        from dbus_fast import NameFlag, RequestNameReply

        bus = await self._connected()
        bus.add_message_handler(answer)
        try:
            reply = await bus.request_name(name, NameFlag.DO_NOT_QUEUE)
        except (OSError, EOFError) as error:
            raise NoBus(f"the {self._name} bus broke off: {error}") from error
        if reply is not RequestNameReply.PRIMARY_OWNER:
            bus.remove_message_handler(answer)
            return False
        return True

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: list[Any] | None = None,
        *,
        timeout: float = 10.0,
        descriptors: Sequence[int] = (),
    ) -> list[Any]:
        """Call a method and return the values of its reply.

        :param timeout: seconds.
        :param descriptors: file descriptors, to which values of the type ``h`` in the body are indices.
        :raises NoBus: there is no bus.
        :raises NoAnswer: no reply comes in time, or the connection is lost.
        :raises BusError: the service refuses, or is not on the bus.
        """
        from dbus_fast import Message, MessageType

        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=sendable(body or []),
            unix_fds=list(descriptors),
        )
        deadline = asyncio.get_running_loop().time() + timeout
        try:
            async with asyncio.timeout_at(deadline):
                bus = await self._connected()
        except (OSError, EOFError) as error:  # TimeoutError is an OSError.
            raise NoBus(f"the {self._name} bus takes no connection: {error}") from error
        try:
            async with asyncio.timeout_at(deadline):
                reply = await bus.call(message)
        except TimeoutError as error:
            raise NoAnswer(f"{destination} did not answer within {timeout:g} s") from error
        except (OSError, EOFError) as error:
            raise NoAnswer(f"the {self._name} bus broke off: {error}") from error
        if reply is None:
            raise NoAnswer(f"{destination} sent no answer")
        if reply.message_type is MessageType.ERROR:
            raise BusError(reply.error_name or "", str(reply.body[0]) if reply.body else "")
        return list(reply.body)

    async def close(self) -> None:
        """Disconnect."""
        bus, self._bus = self._bus, None
        if bus is None:
            return
        bus.disconnect()
        with contextlib.suppress(Exception):  # Versions differ in what they raise after our own disconnect().
            ended: Awaitable[None] = getattr(bus, "wait_for_disconnect")()  # noqa: B009  (untyped in the library)
            await asyncio.wait_for(ended, _CLOSE_TIMEOUT)
        _close_socket(bus)

    async def _connected(self) -> MessageBus:
        async with self._lock:
            if self._bus is not None and self._bus.connected:
                return self._bus
            if self._address is None:
                raise NoBus(f"there is no {self._name} bus")
            from dbus_fast.aio import MessageBus

            bus = MessageBus(bus_address=self._address, negotiate_unix_fd=self._passes_descriptors)
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT):
                    await bus.connect()
            except Exception as error:
                _close_socket(bus)
                # dbus-fast versions differ: they raise their own exceptions, OSError or ValueError.
                raise NoBus(f"cannot connect to the {self._name} bus: {error}") from error
            for rule, handler in self._handlers:
                await self._add_match(bus, rule, handler)
            self._bus = bus
            return bus

    async def _add_match(self, bus: MessageBus, rule: str, handler: SignalHandler) -> None:
        from dbus_fast import Message, MessageType

        def on_message(message: Message) -> None:
            if message.message_type is MessageType.SIGNAL:
                handler(message)

        bus.add_message_handler(on_message)
        await bus.call(
            Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="AddMatch",
                signature="s",
                body=[rule],
            )
        )


class SessionBus(Bus):
    """The session's bus.

    :param address: ``None`` for ``DBUS_SESSION_BUS_ADDRESS``, else the socket ``bus`` in XDG_RUNTIME_DIR.
    :param passes_descriptors: as for :class:`Bus`.
    """

    def __init__(self, address: str | None = None, *, passes_descriptors: bool = False) -> None:
        super().__init__("session", address or session_bus_address(), passes_descriptors=passes_descriptors)


class SystemBus(Bus):
    """The system's bus, at ``DBUS_SYSTEM_BUS_ADDRESS`` or where the D-Bus specification has it."""

    def __init__(self) -> None:
        super().__init__("system", os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or _SYSTEM_BUS)


def _close_socket(bus: MessageBus) -> None:
    """Close the socket of a connection, which dbus-fast before 2 leaves to the garbage collector."""
    for name in ("_stream", "_sock"):
        if (held := getattr(bus, name, None)) is not None:
            held.close()


def session_bus_address() -> str | None:
    """The session bus's address, or ``None`` where there is no session."""
    if address := os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return address
    directory = xdg.runtime_directory()
    path = os.path.join(directory, "bus")
    return f"unix:path={path}" if directory and os.path.exists(path) else None

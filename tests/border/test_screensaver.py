"""What containers may do to the desktop's screensaver: keep the screen on, by policy and within a bound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from guestlink.rpc import CallFailed
from guestlink_host.border.screensaver import INHIBITION_LIMIT
from support.bus_connection import bus_connection
from support.fake_user_manager import session_bus
from support.host import Host, host_in_test

SERVICE = "org.freedesktop.ScreenSaver"


class Desktop:
    """The desktop's screensaver: the inhibitions that are in force, by cookie."""

    def __init__(self, bus: MessageBus) -> None:
        self.inhibitions: dict[int, list[Any]] = {}
        self.sender = ""
        self.nonsense: tuple[str, list[Any]] | None = None
        self.waits = False
        self.held: list[Message] = []
        self._bus = bus
        self._last = 100
        bus.add_message_handler(self._answer)

    async def is_connected(self, name: str) -> bool:
        """Whether a connection is on the bus."""
        reply = await self._bus.call(
            Message(
                destination="org.freedesktop.DBus", path="/org/freedesktop/DBus", interface="org.freedesktop.DBus",
                member="NameHasOwner", signature="s", body=[name],
            )
        )  # fmt: skip
        assert reply is not None
        return bool(reply.body[0])

    async def answer_now(self) -> None:
        """Answer what was held back while it :attr:`waits`."""
        for message in self.held:
            reply = self._answer(message)
            assert isinstance(reply, Message)
            await self._bus.send(reply)

    def _answer(self, message: Message) -> Message | bool | None:
        if message.message_type is not MessageType.METHOD_CALL or message.interface != SERVICE:
            return None
        if message.member == "Inhibit" and self.nonsense is not None:
            return Message.new_method_return(message, *self.nonsense)
        if message.member == "Inhibit" and self.waits:
            self.held.append(message)
            return True
        if message.member == "Inhibit":
            self.sender = message.sender or ""
            self._last += 1
            self.inhibitions[self._last] = list(message.body)
            return Message.new_method_return(message, "u", [self._last])
        self.inhibitions.pop(message.body[0])
        return Message.new_method_return(message)


@pytest.fixture
async def desktop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Desktop]:
    with session_bus(tmp_path) as address:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        async with bus_connection(address) as bus:
            made = Desktop(bus)
            await bus.request_name(SERVICE)
            yield made


@pytest.fixture
async def host(desktop: Desktop, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    async with host_in_test(monkeypatch) as running:
        yield running


async def inhibit(guest: Any, cookie: int, client: str = "player") -> None:
    await guest.call("InhibitScreensaver", cookie=cookie, client=client, reason="plays")


async def test_the_desktop_learns_whose_program_it_is(host: Host, desktop: Desktop) -> None:
    guest = await host.registered()
    await inhibit(guest, 1, "play\x1b[31m\ner")
    await inhibit(guest, 1)
    assert list(desktop.inhibitions.values()) == [["play[31m er (demo)", "plays"]]
    await guest.call("UninhibitScreensaver", cookie=7)
    await guest.call("UninhibitScreensaver", cookie=1)
    assert desktop.inhibitions == {}


async def test_one_container_cannot_end_anothers_inhibition(host: Host, desktop: Desktop) -> None:
    guest, other = await host.registered(), await host.registered("other")
    await inhibit(guest, 1)
    await other.call("UninhibitScreensaver", cookie=1)
    assert len(desktop.inhibitions) == 1


async def test_inhibitions_of_a_container_are_bounded_and_end_with_it(host: Host, desktop: Desktop) -> None:
    guest, other = await host.registered(), await host.registered("other")
    await inhibit(other, 1)
    for cookie in range(INHIBITION_LIMIT):
        await inhibit(guest, cookie)
    with pytest.raises(CallFailed, match="for at most 100 reasons at a time"):
        await inhibit(guest, INHIBITION_LIMIT)
    await guest.call("ContainerShutdown")
    await host.until(lambda: list(desktop.inhibitions.values()) == [["player (other)", "plays"]])


async def test_a_policy_ends_inhibitions_and_refuses_new_ones(host: Host, desktop: Desktop) -> None:
    guest = await host.registered()
    await inhibit(guest, 1)
    await host.ask("policy", name="demo", screensaver="deny")
    await host.until(lambda: desktop.inhibitions == {})
    with pytest.raises(CallFailed, match="demo may not keep the screen on"):
        await inhibit(guest, 2)


async def test_a_policy_ends_inhibitions_that_wait_for_the_desktop(host: Host, desktop: Desktop) -> None:
    guest = await host.registered()
    desktop.waits = True
    calls = [asyncio.ensure_future(inhibit(guest, cookie)) for cookie in range(20)]
    await host.until(lambda: desktop.held)
    await host.ask("policy", name="demo", screensaver="deny")
    desktop.waits = False
    other = await host.registered("other")
    await inhibit(other, 1)  # It waits for no other container's answer.
    await desktop.answer_now()
    failures = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(one, CallFailed) for one in failures)
    assert list(desktop.inhibitions.values()) == [["player (other)", "plays"]]


@pytest.mark.parametrize(("signature", "answer"), [("", []), ("s", ["x"]), ("uu", [1, 2])])
async def test_a_desktop_that_answers_nonsense_is_a_sentence(
    host: Host, desktop: Desktop, signature: str, answer: list[Any]
) -> None:
    guest = await host.registered()
    desktop.nonsense = (signature, answer)
    with pytest.raises(CallFailed, match="gives an answer that is none"):
        await inhibit(guest, 1)
    desktop.nonsense = None
    await inhibit(guest, 1)


async def test_the_connection_that_holds_inhibitions_ends_with_the_daemon(host: Host, desktop: Desktop) -> None:
    guest = await host.registered()
    await inhibit(guest, 1)
    assert await desktop.is_connected(desktop.sender)
    await host.stop()
    await host.until(lambda: _is_gone(desktop))


async def _is_gone(desktop: Desktop) -> bool:
    return not await desktop.is_connected(desktop.sender)


async def test_without_a_service_the_answer_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with session_bus(tmp_path) as address:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        async with host_in_test(monkeypatch) as host:
            guest = await host.registered()
            with pytest.raises(CallFailed, match="the host's desktop has no service that keeps its screen on"):
                await inhibit(guest, 1)

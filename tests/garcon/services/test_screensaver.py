"""Programs keep the host's screen on by the session's org.freedesktop.ScreenSaver (chromeos-garcon.md §6.13)."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from garcon.services.screensaver import INHIBITION_LIMIT, PATHS, SERVICE, ScreensaverService
from guestlink.bus import SessionBus
from guestlink.errors import GuestlinkError
from support.bus_connection import bus_connection
from support.fake_user_manager import session_bus
from support.needs import need

LIMIT = 60.0


class Rig:
    """garcon's part on a private bus, and a host that stores calls."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refuses = False
        self.bus = SessionBus(address)
        self.screensaver = ScreensaverService(self.bus, self._call)

    async def _call(self, method: str, **fields: Any) -> None:
        self.calls.append((method, fields))
        if self.refuses:
            raise GuestlinkError("not now")

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                await asyncio.sleep(0.01)

    def cookies(self, method: str) -> list[int]:
        return [fields["cookie"] for called, fields in self.calls if called == method]


class Program:
    """A program of the session."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus

    async def call(self, member: str, signature: str, *body: Any, path: str = PATHS[0]) -> Message:
        message = Message(
            destination=SERVICE, path=path, interface=SERVICE, member=member, signature=signature, body=list(body)
        )
        reply = await self._bus.call(message)
        assert reply is not None
        return reply

    async def inhibit(self, client: str = "player", path: str = PATHS[0]) -> int:
        (cookie,) = (await self.call("Inhibit", "ss", client, "plays", path=path)).body
        return int(cookie)


@asynccontextmanager
async def program_on(address: str) -> AsyncIterator[Program]:
    """A program that has connected to the bus."""
    async with bus_connection(address) as bus:
        yield Program(bus)


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with AsyncExitStack() as stack:
        made = Rig(stack.enter_context(session_bus(tmp_path)))
        await made.screensaver.start()
        stack.push_async_callback(made.bus.close)
        stack.push_async_callback(made.screensaver.close)
        async with program_on(made.address) as program:
            async with asyncio.timeout(LIMIT):
                while (await program.call("GetActive", "")).message_type is MessageType.ERROR:
                    await asyncio.sleep(0.01)
        yield made


@pytest.mark.parametrize("path", PATHS)
async def test_an_inhibition_begins_and_ends_on_the_host(rig: Rig, path: str) -> None:
    async with program_on(rig.address) as program:
        cookie = await program.inhibit(path=path)
        await rig.until(lambda: len(rig.calls) == 1)
        assert rig.calls == [("InhibitScreensaver", {"cookie": cookie, "client": "player", "reason": "plays"})]
        for _ in range(2):  # The second one has no effect.
            assert (
                await program.call("UnInhibit", "u", cookie, path=path)
            ).message_type is MessageType.METHOD_RETURN
        await rig.until(lambda: rig.cookies("UninhibitScreensaver") == [cookie])


async def test_a_program_that_is_gone_inhibits_nothing(rig: Rig) -> None:
    async with program_on(rig.address) as other:
        async with program_on(rig.address) as player:
            first, second, kept = await player.inhibit(), await player.inhibit(), await other.inhibit()
            await rig.until(lambda: rig.cookies("InhibitScreensaver") == [first, second, kept])
        await rig.until(lambda: rig.cookies("UninhibitScreensaver") == [first, second])


async def test_a_host_that_has_forgotten_is_told_again(rig: Rig) -> None:
    rig.refuses = True
    async with program_on(rig.address) as program:
        cookie = await program.inhibit()
        await rig.until(lambda: rig.cookies("InhibitScreensaver") == [cookie])
        rig.screensaver.registered()
        await rig.until(lambda: rig.cookies("InhibitScreensaver") == [cookie, cookie])


async def test_garcon_ends_every_inhibition_with_itself(rig: Rig) -> None:
    async with program_on(rig.address) as program:
        cookies = [await program.inhibit() for _ in range(3)]
        await rig.until(lambda: rig.cookies("InhibitScreensaver") == cookies)
        await rig.screensaver.close()
        assert rig.cookies("UninhibitScreensaver") == cookies


async def test_inhibitions_are_bounded_and_texts_are_cut(rig: Rig) -> None:
    async with program_on(rig.address) as program:
        for _ in range(INHIBITION_LIMIT):
            await program.inhibit("x" * 10_000)
        refused = await program.call("Inhibit", "ss", "player", "plays")
        assert refused.error_name == "org.freedesktop.DBus.Error.LimitsExceeded"
    await rig.until(lambda: len(rig.cookies("InhibitScreensaver")) == INHIBITION_LIMIT)
    assert len(rig.calls[0][1]["client"]) == 200


@pytest.mark.parametrize(
    ("member", "signature", "body"), [("Inhibit", "s", ["x"]), ("Lock", "", []), ("UnInhibit", "s", ["1"])]
)
async def test_other_calls_are_errors(rig: Rig, member: str, signature: str, body: list[Any]) -> None:
    async with program_on(rig.address) as program:
        assert (await program.call(member, signature, *body)).message_type is MessageType.ERROR


async def test_a_screensaver_that_is_there_already_stays(tmp_path: Path) -> None:
    with session_bus(tmp_path) as address:
        async with bus_connection(address) as other:
            await other.request_name(SERVICE)
            rig = Rig(address)
            assert not await rig.bus.serve(SERVICE, lambda message: None)
            await rig.bus.close()


async def test_gdbus_is_understood(rig: Rig) -> None:
    need("gdbus", packages="libglib2.0-bin")
    argv = ["gdbus", "call", f"--address={rig.address}", "-d", SERVICE, "-o", PATHS[1]]
    argv += ["-m", f"{SERVICE}.Inhibit", "player", "plays"]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert done.stdout == "(uint32 1,)\n"
    # gdbus has left the bus, and its inhibition with it, perhaps before the host could be told of its beginning.
    async with program_on(rig.address) as program:
        cookie = await program.inhibit()
        await rig.until(lambda: rig.cookies("InhibitScreensaver")[-1:] == [cookie])
    await rig.until(lambda: rig.cookies("UninhibitScreensaver") == rig.cookies("InhibitScreensaver"))

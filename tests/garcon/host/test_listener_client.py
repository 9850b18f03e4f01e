"""The client of ContainerListener, with a channel that fails where the test demands it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from garcon.host.listener_client import HostRefused, HostUnavailable, ListenerClient
from garcon.host.registration import RegistrationPhase
from guestlink.address import UnixAddress
from guestlink.errors import GuestlinkError
from guestlink.pb import common_pb2
from guestlink.rpc import CallFailed
from guestlink.tasks import TaskOwner

LIMIT = 60


class Host:
    """A fake host: the test decides whether it is reachable, its valid tokens, and each call's status code."""

    def __init__(self) -> None:
        self.there = True
        self.broken = False
        self.tokens = {"token-1"}
        self.calls: list[tuple[str, Any]] = []
        self.answers: dict[str, str] = {}
        self.ready = asyncio.Event()
        self.ready.set()
        self.connections: list[Connection] = []

    async def probe(self) -> None:
        if not self.there:
            raise GuestlinkError("refused")

    async def dial(self) -> Connection:
        if self.broken:
            raise RuntimeError("broken")
        return Connection(self)

    def leave(self) -> None:
        self.there = False
        for connection in self.connections:
            connection.gone.set()

    def count(self, method: str) -> int:
        return sum(name == method for name, _ in self.calls)


class Connection:
    def __init__(self, host: Host) -> None:
        self.host = host
        self.gone = asyncio.Event()
        self.closed = False
        host.connections.append(self)

    async def call(self, method: str, request: Any, *, timeout: float | None) -> Any:
        self.host.calls.append((method, request))
        if method == "ContainerReady":
            await self.host.ready.wait()
        if not self.host.there:
            raise CallFailed("UNAVAILABLE", "gone")
        if code := self.host.answers.get(method):
            raise CallFailed(code, "as told")
        if request.token not in self.host.tokens:
            raise CallFailed("FAILED_PRECONDITION", "unknown token")
        return common_pb2.EmptyMessage()

    async def lost(self) -> str:
        await self.gone.wait()
        return "the connection was closed"

    async def close(self) -> None:
        self.closed = True


class Rig:
    def __init__(self, tmp_path: Path) -> None:
        self.host = Host()
        self.token_file = tmp_path / "token"
        self.token_file.write_text("token-1")
        self.sentences: list[str] = []
        self.registered = 0
        self.client = ListenerClient(
            UnixAddress("/host"),
            str(self.token_file),
            serve=self._serve,
            dialer=self.host,
            pending_count=lambda: 0,
            on_registered=self._on_registered,
            on_change=self.sentences.append,
        )

    def _on_registered(self) -> None:
        self.registered += 1

    async def _serve(self) -> tuple[int, int]:
        return 10000, 0

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                await asyncio.sleep(0.005)


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path)
    owner = TaskOwner("test")
    owner.start(rig.client.run(), name="link")
    yield rig
    await owner.close()
    assert all(connection.closed for connection in rig.host.connections)


async def test_it_registers_and_tells_everything(rig: Rig) -> None:
    await rig.until(lambda: rig.registered == 1)
    method, request = rig.host.calls[0]
    assert (method, request.token, request.garcon_port) == ("ContainerReady", "token-1", 10000)
    await rig.client.call("OpenUrl", url="https://example.org")
    assert rig.host.calls[-1][1].token == "token-1"


async def test_it_returns_after_the_host_has_been_away(rig: Rig) -> None:
    await rig.until(lambda: rig.registered == 1)
    rig.host.leave()
    await rig.until(lambda: rig.client.registration.phase is RegistrationPhase.NO_HOST)
    with pytest.raises(HostUnavailable, match="waiting for the host"):
        await rig.client.call("OpenUrl", url="x:y")
    rig.host.there = True
    await rig.until(lambda: rig.registered == 2)


async def test_a_call_that_breaks_with_the_host_is_unavailable(rig: Rig) -> None:
    await rig.until(lambda: rig.registered == 1)
    rig.host.there = False
    with pytest.raises(HostUnavailable):
        await rig.client.call("OpenUrl", url="x:y")


async def test_a_refused_call_does_not_end_a_registration_that_holds(rig: Rig) -> None:
    await rig.until(lambda: rig.registered == 1)
    rig.host.answers["OpenUrl"] = "FAILED_PRECONDITION"
    with pytest.raises(HostRefused, match="as told"):
        await rig.client.call("OpenUrl", url="x:y")
    await rig.until(lambda: rig.host.count("PendingUpdateApplicationListCalls") == 1)
    assert rig.client.registration.registered
    assert rig.host.count("ContainerReady") == 1


async def test_a_forgotten_token_is_noticed_by_any_call_and_a_new_one_taken_up(rig: Rig) -> None:
    await rig.until(lambda: rig.registered == 1)
    rig.host.tokens = {"token-2"}
    with pytest.raises(HostRefused):
        await rig.client.call("OpenUrl", url="x:y")
    await rig.until(lambda: rig.client.registration.phase is RegistrationPhase.REJECTED)
    rig.token_file.write_text("token-2")
    rig.client.token_changed()
    await rig.until(lambda: rig.registered == 2)


async def test_a_replaced_token_means_a_new_registration(rig: Rig) -> None:
    await rig.until(lambda: rig.registered == 1)
    rig.host.tokens = {"token-2"}
    rig.token_file.write_text("token-2")
    rig.client.token_changed()
    await rig.until(lambda: rig.registered == 2)
    assert rig.client.registration.token == "token-2"


async def test_a_missing_token_is_waited_for(rig: Rig) -> None:
    await rig.until(lambda: rig.registered == 1)
    rig.token_file.unlink()
    rig.host.leave()
    await rig.until(lambda: rig.client.registration.phase is RegistrationPhase.NO_TOKEN)
    rig.host.there = True
    rig.token_file.write_text("token-1")
    await rig.until(lambda: rig.registered == 2)


async def test_a_changed_address_is_announced(rig: Rig) -> None:
    await rig.until(lambda: rig.registered == 1)
    rig.client.register_again()
    await rig.until(lambda: rig.registered == 2)


@pytest.mark.parametrize("what", ["token", "address"])
async def test_what_changes_during_a_registration_means_another_one(tmp_path: Path, what: str) -> None:
    """The host may have read the old token or address before the change."""
    rig = Rig(tmp_path)
    rig.host.tokens = {"token-1", "token-2"}
    rig.host.ready.clear()
    owner = TaskOwner("test")
    owner.start(rig.client.run(), name="link")
    try:
        await rig.until(lambda: rig.host.count("ContainerReady") == 1)
        if what == "token":
            rig.token_file.write_text("token-2")
            rig.client.token_changed()
        else:
            rig.client.register_again()
        rig.host.ready.set()
        await rig.until(lambda: rig.registered == 2)
        assert rig.host.calls[-1][1].token == ("token-2" if what == "token" else "token-1")
    finally:
        await owner.close()


@pytest.mark.expects_fault
async def test_an_error_of_our_own_is_not_the_end(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    await rig.until(lambda: rig.registered == 1)
    rig.host.broken = True
    rig.client.register_again()
    await rig.until(lambda: "internal error during the registration" in caplog.text)
    await rig.until(lambda: "an internal error of garcon" in rig.client.registration.sentence)
    rig.host.broken = False
    await rig.until(lambda: rig.registered == 2)


async def test_a_host_that_does_not_know_the_heartbeat_is_fine(rig: Rig) -> None:
    rig.host.answers["PendingUpdateApplicationListCalls"] = "UNIMPLEMENTED"
    await rig.until(lambda: rig.registered == 1)
    rig.host.answers["OpenUrl"] = "FAILED_PRECONDITION"
    with pytest.raises(HostRefused):
        await rig.client.call("OpenUrl", url="x:y")
    await rig.until(lambda: rig.host.count("PendingUpdateApplicationListCalls") == 1)
    assert rig.client.registration.registered


async def test_each_shutdown_is_one_call_even_to_a_host_that_is_gone(rig: Rig) -> None:
    await rig.until(lambda: rig.registered == 1)
    await rig.client.shut_down()
    assert rig.host.count("ContainerShutdown") == 1
    rig.host.there = False
    await rig.client.shut_down()
    assert rig.host.count("ContainerShutdown") == 2


async def test_the_sentence_says_each_change_once(rig: Rig) -> None:
    await rig.until(lambda: rig.registered == 1)
    assert rig.sentences == ["registering with the host at unix:/host", "registered with the host at unix:/host"]

"""The host as garcon's parts see it, before and after it is found."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from garcon.host.host_connection import HostConnection
from garcon.host.listener_client import HostUnavailable
from garcon.host.registration import Registration
from guestlink.address import UnixAddress
from guestlink.tasks import TaskOwner


class Client:
    """A fake client of ContainerListener."""

    def __init__(self) -> None:
        self.registration = Registration("unix:/host")
        self.attempted = asyncio.Event()
        self.calls: list[str] = []

    async def first_attempt(self) -> None:
        await self.attempted.wait()

    async def call(self, method: str, timeout: float | None, **fields: Any) -> str:
        self.calls.append(method)
        return "answer"


async def test_without_a_host_every_call_says_why() -> None:
    sentences: list[str] = []
    connection = HostConnection(sentences.append)
    connection.absent("no host: there is no token")
    connection.absent("no host: there is no token")
    with pytest.raises(HostUnavailable, match="no host: there is no token"):
        await connection.call("OpenUrl")
    with pytest.raises(HostUnavailable):
        await connection.call_when_started("OpenUrl")
    with pytest.raises(HostUnavailable):
        connection.address  # noqa: B018
    assert sentences == ["no host: there is no token"]
    assert (connection.describe()["phase"], connection.describe()["host"]) == ("no host", "")


async def test_a_command_waits_for_the_first_registration() -> None:
    connection, client, owner = HostConnection(lambda sentence: None), Client(), TaskOwner("test")
    answer = owner.start(connection.call_when_started("OpenUrl"), name="call")
    connection.found(UnixAddress("/host"), client)  # type: ignore[arg-type]
    client.attempted.set()
    assert await answer == "answer"
    assert client.calls == ["OpenUrl"]
    assert connection.describe()["host"] == "unix:/host"
    await owner.close()

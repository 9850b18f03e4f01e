"""The host as garcon's other parts see it: not found yet, or an address and a client of its ContainerListener."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from garcon.host.listener_client import CALL_TIMEOUT, HostUnavailable, ListenerClient
from guestlink.address import Address, is_chromeos

_START_TIME = 5.0
"""Seconds that a call of :meth:`HostConnection.call_when_started` waits for the first registration."""


class HostConnection:
    """garcon's connection to its host.

    :param on_change: called with each new sentence about the connection.
    :ivar sentence: the connection's state, for a person.
    """

    def __init__(self, on_change: Callable[[str], None]) -> None:
        self._on_change = on_change
        self._known = asyncio.Event()
        self._address: Address | None = None
        self._client: ListenerClient | None = None
        self.sentence = "starting"

    def absent(self, sentence: str) -> None:
        """There is no host yet."""
        self.changed(sentence)
        self._known.set()

    def found(self, address: Address, client: ListenerClient) -> None:
        """There is a host."""
        self._address = address
        self._client = client
        self._known.set()

    def changed(self, sentence: str) -> None:
        """The state has changed."""
        if sentence != self.sentence:
            self.sentence = sentence
            self._on_change(sentence)

    @property
    def address(self) -> Address:
        """The host's address.

        :raises HostUnavailable: there is no host yet.
        """
        if self._address is None:
            raise self._unavailable()
        return self._address

    @property
    def is_chromeos(self) -> bool:
        """Whether there is a host, and it is ChromeOS: it knows no service of our own."""
        return self._address is not None and is_chromeos(self._address)

    async def call(self, method: str, timeout: float | None = CALL_TIMEOUT, **fields: Any) -> Any:
        """Call an RPC of ContainerListener; see :meth:`ListenerClient.call`, also for the exceptions."""
        if self._client is None:
            raise self._unavailable()
        return await self._client.call(method, timeout, **fields)

    async def call_when_started(self, method: str, timeout: float | None = CALL_TIMEOUT, **fields: Any) -> Any:
        """Like :meth:`call`, but during garcon's start wait until it has tried to register."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_TIME):
                await self._known.wait()
                if self._client is not None:
                    await self._client.first_attempt()
        return await self.call(method, timeout, **fields)

    def describe(self) -> dict[str, Any]:
        """The state for ``guestlink status --json``."""
        registration = self._client.registration if self._client is not None else None
        return {
            "sentence": self.sentence,
            "registered": registration is not None and registration.registered,
            "phase": registration.phase.value if registration is not None else "no host",
            "host": str(self._address or ""),
            "registrations": registration.registrations if registration is not None else 0,
        }

    def _unavailable(self) -> HostUnavailable:
        return HostUnavailable(
            f"the host cannot be asked now: {self.sentence}", hint="`guestlink doctor` shows what to do"
        )

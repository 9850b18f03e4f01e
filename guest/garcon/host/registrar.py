"""Registers with the host while garcon runs, and sends ContainerShutdown when the container stops."""

from __future__ import annotations

from garcon.host.listener_client import ListenerClient
from garcon.host.network import wait_for_address
from garcon.host.system_state import system_is_stopping
from guestlink.tasks import TaskOwner

_ADDRESS_TIMEOUT = 30.0
"""Seconds to wait for an address on eth0 before ContainerReady on ChromeOS (chromeos-garcon.md §7.4)."""


class Registrar:
    """Runs a client of ContainerListener.

    :param client: registers and stays registered.
    :param needs_address: whether the host needs an address of eth0, as ChromeOS does.
    """

    def __init__(self, client: ListenerClient, *, needs_address: bool) -> None:
        self._client = client
        self._needs_address = needs_address
        self._tasks = TaskOwner("garcon")

    async def start(self) -> None:
        """Begin to register."""
        self._tasks.start(self._run(), name="registration")

    async def close(self) -> None:
        """Disconnect. If the container stops, send ContainerShutdown first; otherwise do not, because that call
        voids the token (chromeos-garcon.md §2.3)."""
        if self._client.registration.registered and await system_is_stopping():
            await self._client.shut_down()
        await self._tasks.close()

    async def _run(self) -> None:
        if self._needs_address:
            await wait_for_address(_ADDRESS_TIMEOUT)
        await self._client.run()

"""Serves the containers of the registry: a :class:`ContainerService` for each, added and removed while it runs."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from guestlink.descriptor_limit import current_limit
from guestlink.errors import GuestlinkError
from guestlink.service import Notifier
from guestlink.tasks import TaskOwner
from guestlink_host.border.gate import GateTotals
from guestlink_host.containers.container_service import ContainerService
from guestlink_host.containers.event_log import EventLog
from guestlink_host.containers.guest import Guest
from guestlink_host.containers.registry import Container, Containers
from guestlink_host.launchers.launcher_publisher import LauncherPublisher

_log = logging.getLogger(__name__)


class ContainerServices:
    """The services of all containers, by name.

    :param containers: the registry.
    :param private: a directory for sockets that no container can see.
    :param publisher: makes the publisher of a container's name.
    :param implementations: makes the objects that implement the RPCs for a guest, by service.
    :param events: gets every event of a container.
    :param notifier: shows how many containers are registered.
    :param status: returns a container's status at its manager.
    :param started: is called with a container's name when its directory can be used.
    :param ended: is called with a container's name before its directory is removed.
    """

    def __init__(
        self,
        containers: Containers,
        private: Path,
        *,
        publisher: Callable[[str], LauncherPublisher],
        implementations: Callable[[Guest], dict[str, tuple[object, ...]]],
        events: EventLog,
        notifier: Notifier,
        status: Callable[[Container], str],
        started: Callable[[str], None],
        ended: Callable[[str], None],
    ) -> None:
        self._containers = containers
        self._private = private
        self._publisher = publisher
        self._implementations = implementations
        self._events = events
        self._notifier = notifier
        self._status = status
        self._started = started
        self._ended = ended
        self._services: dict[str, ContainerService] = {}
        self._totals = GateTotals(current_limit())
        self._changing = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._tasks = TaskOwner("containers")

    async def start(self) -> None:
        """Serve every container of the registry. A failure is logged and retried, and does not stop the others."""
        for container in self._containers:
            try:
                await self._start(container)
            except GuestlinkError as error:
                _log.error("%s cannot be served: %s", container.name, error)
                self._tasks.start(self._keep_trying(container.name), name=f"listen for {container.name}")
        self._show_status()

    async def close(self) -> None:
        """Stop serving; the containers' launchers stay."""
        await asyncio.gather(*(service.close() for service in self._services.values()))
        await self._tasks.close()

    def __getitem__(self, name: str) -> ContainerService:
        """A container's service.

        :raises GuestlinkError: there is no such container, or it is being removed.
        """
        service = self._services.get(self._containers[name].name)
        if service is None:
            raise GuestlinkError(f"the container {name} is being removed", hint="try again in a moment")
        return service

    def guest(self, name: str) -> Guest:
        """The guest of a container; raises as :meth:`__getitem__` does."""
        return self[name].guest

    def containers(self) -> list[Container]:
        """The containers of the registry, without one that is being removed."""
        return [container for container in self._containers if container.name in self._services]

    def guests(self) -> list[Guest]:
        """The guests of all containers."""
        return [service.guest for service in self._services.values()]

    async def add(self, name: str, **fields: Any) -> Container:
        """Add a container to the registry and serve it; a failure undoes both.

        :param fields: further fields of :class:`Container`.
        :raises GuestlinkError: the name is invalid or taken, or the container cannot be served.
        """
        async with self._changing:
            container = self._containers.add(name, **fields)
            try:
                await self._start(container)
            except BaseException:
                service = self._services.pop(container.name)
                await service.close()
                self._ended(container.name)
                self._containers.remove(container.name)
                service.guest.publisher.leave()
                raise
        self._show_status()
        return container

    async def forget(self, name: str) -> None:
        """Stop serving a container, and remove its launchers and its entry in the registry.

        :raises GuestlinkError: there is no such container, or a file cannot be removed; then it is served again.
        """
        async with self._changing:
            container = self._containers[name]
            service = self._services.pop(container.name)
            await service.close()
            self._ended(container.name)
            try:
                # Launchers first: if that fails, the container is still known and the user can repeat the command.
                await self._publisher(container.name).remove_files()
                self._containers.remove(container.name)
            except BaseException:
                await self._start(container)
                raise
            service.guest.publisher.leave()
        self._show_status()

    async def _keep_trying(self, name: str) -> None:
        await self[name].keep_trying()
        self._started(name)

    async def _start(self, container: Container) -> None:
        """Begin to serve a container.

        :raises GuestlinkError: its directory or its socket cannot be created.
        """
        name = container.name
        # A number instead of the name: a socket's path must be short.
        number = next(self._numbers)
        guest = Guest(
            container,
            self._containers.directory(name),
            self._private / str(number),
            self._publisher(name),
            partial(self._event, name),
            self._status,
        )
        calls = self._implementations(guest)
        service = ContainerService(guest, calls, self._containers, self._private / f"{number}.sock", self._totals)
        guest.start()
        self._services[name] = service
        await service.listen()
        self._started(name)

    def _event(self, container: str, what: str, detail: str) -> None:
        self._events.append(container, what, detail)
        self._show_status()

    def _show_status(self) -> None:
        registered = sum(guest.registered for guest in self.guests())
        self._notifier.status(f"{registered} of {len(self._services)} containers registered")

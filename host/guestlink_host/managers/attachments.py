"""The daemon's work with container managers: attach their containers, follow their status, start them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

from guestlink.errors import GuestlinkError
from guestlink.program import run_program
from guestlink.tasks import TaskOwner
from guestlink_host.containers.container_services import ContainerServices
from guestlink_host.containers.guest import Guest
from guestlink_host.containers.registry import DEFAULT_UID, Container, Containers
from guestlink_host.managers import FROZEN, RUNNING, Instance, Mounts, RunProgram, managers_here
from guestlink_host.managers.inside import check_installed, complaint
from guestlink_host.managers.manager_watch import ManagerWatch, Snapshot, key_of
from guestlink_host.settings import gpu_nodes

_log = logging.getLogger(__name__)

BOOT_LIMIT = 120.0
"""Seconds that a container may take from its start until it registers."""
_COMPLAINT_PAUSE = 4.0
"""Seconds between two runs of `guestlink doctor` in a container that runs and does not register."""
_POLL_LIMIT = 3.0
"""Seconds that a command waits for the managers; after that it gets the result of the previous poll."""


class Attachments:
    """The part of the daemon that knows container managers.

    :param kinds: kinds of managers that may be polled.
    :param gpu: the setting ``gpu``.
    :param containers: the registry.
    :param services: serves the containers of the registry.
    :param run: as for :class:`~guestlink_host.managers.manager_watch.ManagerWatch`.
    """

    def __init__(
        self,
        kinds: tuple[str, ...],
        gpu: str,
        containers: Containers,
        services: ContainerServices,
        run: RunProgram = run_program,
    ) -> None:
        self._gpu = gpu
        self._containers = containers
        self._services = services
        self._watch = ManagerWatch(
            kinds, managers_here, lambda: containers, changed=self._changed, unclaimed=self._unclaimed, run=run
        )
        self._tasks = TaskOwner("container managers")
        self._starts: dict[str, _Start] = {}
        self._refused: dict[str, str] = {}
        self._gone: set[str] = set()

    async def start(self) -> None:
        """Begin to poll the managers."""
        self._tasks.start(self._watch.run(), name="poll the container managers")

    async def close(self) -> None:
        """Stop polling. The managers go on with the starts that were requested."""
        await self._tasks.close()

    def status(self, container: Container) -> str:
        """A container's status at its manager, as of the last poll."""
        return self._watch.last.status(container)

    async def poll(self) -> None:
        """Poll the managers now, but wait at most :data:`_POLL_LIMIT` seconds for them."""
        if any(container.manager for container in self._containers):
            await asyncio.wait([self._tasks.start(self._watch.poll(), name="poll")], timeout=_POLL_LIMIT)

    # -- commands ------------------------------------------------------------------------------------------------

    async def add(self, name: str, manager: str, place: str, uid: int, users: Iterable[int]) -> Mounts:
        """Add a manager's container, or store its new values; the command, not the daemon, calls the manager.

        :param uid: the id of the container's user, inside.
        :param users: the host's ids of the container's root and its user.
        :returns: what the command has to mount.
        :raises GuestlinkError: the name is invalid, or another manager's container has it.
        """
        values = {"manager": manager, "place": place, "uid": uid, "users": _foreign(users)}
        known = next((container for container in self._containers if container.name == name), None)
        if known is None:
            await self._services.add(name, **values)
        else:
            if known.manager and (known.manager, known.place) != (manager, place):
                raise GuestlinkError(
                    f"{name} is a container of {known.manager} ({known.place}) already",
                    hint=f"forget that one first: `guestlink-host detach {name}`",
                )
            self._change(known, by_profile=False, **values)
        service = self._services[name]
        service.manager_problem = ""
        service.directory_is_new = False  # The command mounts the directory.
        return self._mounts(self._containers[name])

    def start_and_wait(self, guest: Guest, *, first: bool) -> str | None:
        """Begin to start a container that is not reachable. The client repeats the call until it is ready.

        :param first: whether this is the client's first call: it starts again what has failed before.
        :returns: the current step, or ``None`` if the container can be called, or has no manager.
        :raises GuestlinkError: the container cannot be started, or does not register.
        """
        name = guest.container.name
        if guest.reachable or not guest.container.manager:
            self._starts.pop(name, None)
            return None
        start = self._starts.get(name)
        if start is None or (first and start.task.done()):
            start = self._starts[name] = _Start()
            start.task = self._tasks.start(self._start(guest, start), name=f"start {name}")
        if start.task.done():
            del self._starts[name]
            if start.failure is not None:
                raise start.failure
        return start.step

    async def _start(self, guest: Guest, start: _Start) -> None:
        """Start a container and wait until it has registered; store a failure, which the next call raises."""
        try:
            name = guest.container.name
            instance = _instance(await self._watch.poll(), guest.container)
            ran = instance.status == RUNNING
            if not ran:
                start.step = f"{'thawing' if instance.status == FROZEN else 'starting'} the container {name}"
                await asyncio.to_thread(self._watch.manager(instance).start, instance)
                guest.event("started", "")
                await self._watch.poll()
            start.step = f"waiting until the container {name} has registered"
            await self._registered(guest, instance, ran=ran)
        except GuestlinkError as error:
            start.failure = error

    async def _registered(self, guest: Guest, instance: Instance, *, ran: bool) -> None:
        """Wait until a container has registered.

        If it ran before, ``guestlink doctor`` runs in it every few seconds to find out why it does not. If it has
        just been started, that runs only at the end, because most of its services start later by themselves.

        :raises GuestlinkError: why it does not register.
        """
        manager = self._watch.manager(instance)
        if not guest.container.by_profile:  # By profile, cloud-init may still be installing it.
            await asyncio.to_thread(check_installed, manager, instance)
        before: GuestlinkError | None = None
        outdated = guest.outdated
        deadline = asyncio.get_running_loop().time() + BOOT_LIMIT
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            limit = min(left, _COMPLAINT_PAUSE if ran else left)
            if await _soon(lambda: guest.reachable or guest.outdated > outdated, limit):
                if not guest.reachable:
                    raise guest.too_old()
                return
            found = await asyncio.to_thread(complaint, manager, instance)
            # Raise it only when it repeats: the first may come from a service that is about to start.
            if found is not None and before is not None and found.message == before.message:
                raise found
            before = found
        raise before or GuestlinkError(
            f"the container {instance.name} runs, but has not registered within {BOOT_LIMIT:g} s",
            hint=f"`{manager.shell_prefix(instance)} guestlink doctor` prints the reason",
        )

    # -- what the managers report --------------------------------------------------------------------------------

    async def _changed(self, container: Container, instance: Instance | None) -> None:
        name = container.name
        try:
            service = self._services[name]
        except GuestlinkError:
            return  # It was removed during the poll.
        if instance is None:
            guest = service.guest
            is_news = name not in self._gone or guest.registered  # Every poll reports it.
            self._gone.add(name)
            if is_news:
                _log.info("%s is gone", name)
            if container.by_profile:
                await self._services.forget(name)
            else:
                guest.gone()
                guest.publisher.submit([])
                if is_news:
                    guest.event("deleted", "")
            return
        self._gone.discard(name)
        try:
            self._change(container, users=_foreign(map(instance.outside, (0, container.uid))))
            has_old_mount = service.directory_is_new or not instance.read_only
            if has_old_mount and container.manager and instance.directory is not None:
                manager, mounts = self._watch.manager(instance), self._mounts(container)
                if await asyncio.to_thread(manager.mount_again, instance, mounts):
                    service.directory_is_new = False
                    service.manager_problem = ""
                else:
                    service.manager_problem = "started before its directory was there; restart it"
            elif instance.status == RUNNING:
                service.manager_problem = ""
        except GuestlinkError as error:
            _log.warning("%s: %s", name, error)
            service.manager_problem = error.message

    async def _unclaimed(self, instance: Instance) -> None:
        """Remove our mounts from a copy, which must not pass for the original; attach what a profile asks for."""
        if instance.directory is not None and instance.directory.parent == self._containers.directories:
            _log.warning(
                "%s is a copy of %s and had its directory and token; guestlink-host unmounts them, "
                "and `guestlink-host attach %s` gives the copy its own",
                *(instance.name, instance.directory.name, instance.name),
            )
            await asyncio.to_thread(self._watch.manager(instance).drop, instance)
        if instance.wanted_by == os.getuid():
            known = next((one for one in self._containers if key_of(one) == key_of(instance)), None)
            if known is not None and known.by_profile:
                _log.info("another container has the name %s now", known.name)
                await self._services.forget(known.name)
                known = None
            if known is None:
                await self._attach(instance)

    async def _attach(self, instance: Instance) -> None:
        """Attach a container because its profile asks for it."""
        name = instance.name
        try:
            if any(container.name == name for container in self._containers):
                raise GuestlinkError(
                    f"another container has the name {name} already",
                    hint=f"rename one of them, or forget the other: `guestlink-host remove {name}`",
                )
            users = _foreign(map(instance.outside, (0, DEFAULT_UID)))
            values = {"manager": instance.manager, "place": instance.place, "users": users, "by_profile": True}
            container = await self._services.add(name, **values)
            try:
                await asyncio.to_thread(self._watch.manager(instance).attach, instance, self._mounts(container))
            except BaseException:
                await self._services.forget(name)
                raise
            self._services[name].directory_is_new = False
            self._services.guest(name).event("attached", "its profile asks for it")
        except GuestlinkError as error:
            if self._refused.get(name) != error.message:
                _log.warning("%s is not attached, though its profile asks for it: %s", name, error)
            self._refused[name] = error.message

    def _change(self, container: Container, **values: Any) -> None:
        """Store changed values, and update the access control list of the container's directory."""
        changed = container._replace(**values)
        if changed != container:
            self._services.guest(container.name).container = self._containers.change(container.name, **values)
            self._containers.prepare(changed)

    def _mounts(self, container: Container) -> Mounts:
        name = container.name
        return Mounts(self._containers.directory(name), self._containers.token_file(name), gpu_nodes(self._gpu))


class _Start:
    """A container start in progress: its task, its current step and its failure."""

    task: asyncio.Task[None]
    step = "asking the container manager"
    failure: GuestlinkError | None = None


async def _soon(condition: Callable[[], bool], limit: float) -> bool:
    """Wait up to ``limit`` seconds for a condition; returns whether it holds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit):
            while not condition():
                await asyncio.sleep(0.1)
    return condition()


def _instance(snapshot: Snapshot, container: Container) -> Instance:
    """The instance of a container.

    :raises GuestlinkError: the manager has no such instance, or does not answer.
    """
    if (instance := snapshot.instances.get(key_of(container))) is not None:
        return instance
    if (error := snapshot.error(container)) is not None:
        raise error
    raise GuestlinkError(
        f"the container {container.name} is gone: {container.manager} has none of that name",
        hint=f"create it again and attach it, or forget it: `guestlink-host remove {container.name}`",
    )


def _foreign(users: Iterable[int]) -> tuple[int, ...]:
    """The user ids that need an access control entry: all but our own and the host's root."""
    return tuple(sorted(set(users) - {os.getuid(), 0}))

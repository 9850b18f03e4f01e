"""The daemon's work with container managers: attach their containers, follow their status, start them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from guestlink.errors import GuestlinkError
from guestlink.tasks import TaskOwner
from guestlink_host.containers import DEFAULT_UID, Container, Containers
from guestlink_host.guest import Guest
from guestlink_host.inside import check_installed, complaint
from guestlink_host.manager_watch import Look, ManagerWatch, key_of
from guestlink_host.managers import FROZEN, RUNNING, Carried, Instance, managers_here
from guestlink_host.settings import gpu_nodes

_log = logging.getLogger(__name__)

BOOT_LIMIT = 120.0
"""Seconds that a container may take from its start until it registers."""
_COMPLAINT_PAUSE = 4.0
"""Seconds between two runs of `guestlink doctor` in a container that runs and does not register."""
_LOOK_LIMIT = 3.0
"""Seconds that a command waits for the managers; after that it gets the result of the previous poll."""


class Attachments:
    """The part of the daemon that knows container managers.

    :param kinds: kinds of managers that may be polled.
    :param gpu: the setting ``gpu``.
    :param containers: the registry.
    :param guest: returns the :class:`Guest` of a container's name.
    :param add: adds a container to the registry and serves it; ``forget`` undoes that.
    """

    def __init__(
        self,
        kinds: tuple[str, ...],
        gpu: str,
        containers: Containers,
        guest: Callable[[str], Guest],
        *,
        add: Callable[..., Awaitable[Container]],
        forget: Callable[[str], Awaitable[None]],
    ) -> None:
        self._gpu = gpu
        self._containers = containers
        self._guest = guest
        self._add = add
        self._forget = forget
        self._watch = ManagerWatch(
            kinds, managers_here, lambda: containers, changed=self._changed, strange=self._strange
        )
        self._tasks = TaskOwner("container managers")
        self._waking: dict[str, _Waking] = {}
        self._stale: set[str] = set()
        self._refused: dict[str, str] = {}
        self.problems: dict[str, str] = {}

    def start(self) -> None:
        """Begin to poll the managers."""
        self._tasks.start(self._watch.run(), name="look at the container managers")

    async def close(self) -> None:
        """Stop polling. The managers go on with the starts that were requested."""
        await self._tasks.close()

    def made_anew(self, container: Container) -> None:
        """Note that a container's directory is new: if the container runs, it cannot see it."""
        if container.manager:
            self._stale.add(container.name)

    def status(self, container: Container) -> str:
        """A container's status at its manager, as of the last poll."""
        return self._watch.last.status(container)

    async def look(self) -> None:
        """Poll the managers now, but wait at most :data:`_LOOK_LIMIT` seconds for them."""
        if any(container.manager for container in self._containers):
            await asyncio.wait([self._tasks.start(self._watch.look(), name="look")], timeout=_LOOK_LIMIT)

    # -- commands ------------------------------------------------------------------------------------------------

    async def do_attach(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Add a manager's container, or store its new values; the command, not the daemon, calls the manager."""
        try:
            name, manager, place = (str(fields[key]) for key in ("name", "manager", "place"))
            uid, users = int(fields["uid"]), _foreign(map(int, fields["users"]))
        except (KeyError, TypeError, ValueError) as error:
            raise GuestlinkError("the call attach lacks something", hint="update both to one version") from error
        values = {"manager": manager, "place": place, "uid": uid, "users": users}
        known = next((container for container in self._containers if container.name == name), None)
        if known is None:
            await self._add(name, **values)
        else:
            if known.manager and (known.manager, known.place) != (manager, place):
                raise GuestlinkError(
                    f"{name} is a container of {known.manager} ({known.place}) already",
                    hint=f"forget that one first: `guestlink-host detach {name}`",
                )
            self._change(known, by_profile=False, **values)
        self.problems.pop(name, None)
        self._stale.discard(name)  # The command mounts the directory.
        carried = self._carried(self._containers[name])
        return {"directory": str(carried.directory), "token_file": str(carried.token)}

    async def do_wake(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Begin to start a container that is not reachable. The client repeats the call until it is ready."""
        guest = self._guest(str(fields.get("name", "")))
        name = guest.container.name
        if guest.reachable or not guest.container.manager:
            self._waking.pop(name, None)
            return {"ready": True, "doing": ""}
        waking = self._waking.get(name)
        if waking is None or (fields.get("first") and waking.task.done()):
            waking = self._waking[name] = _Waking()
            waking.task = self._tasks.start(self._wake(guest, waking), name=f"start {name}")
        if waking.task.done():
            del self._waking[name]
            if waking.failure is not None:
                raise waking.failure
        return {"ready": False, "doing": waking.doing}

    async def _wake(self, guest: Guest, waking: _Waking) -> None:
        """Start a container and wait until it has registered; store a failure, which the next call raises."""
        try:
            name = guest.container.name
            instance = _there(await self._watch.look(), guest.container)
            ran = instance.status == RUNNING
            if not ran:
                waking.doing = f"{'thawing' if instance.status == FROZEN else 'starting'} the container {name}"
                await asyncio.to_thread(self._watch.manager(instance).start, instance)
                guest.event("started", "")
                await self._watch.look()
            waking.doing = f"waiting until the container {name} has registered"
            await self._registered(guest, instance, ran=ran)
        except GuestlinkError as error:
            waking.failure = error

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
        deadline = asyncio.get_running_loop().time() + BOOT_LIMIT
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            if await _soon(lambda: guest.reachable, min(left, _COMPLAINT_PAUSE if ran else left)):
                return
            found = await asyncio.to_thread(complaint, manager, instance)
            # Raise it only when it repeats: the first may come from a service that is about to start.
            if found is not None and before is not None and found.message == before.message:
                raise found
            before = found
        raise before or GuestlinkError(
            f"the container {instance.name} runs, but has not registered within {BOOT_LIMIT:g} s",
            hint=f"`{manager.shell_prefix(instance)} guestlink doctor` says why",
        )

    # -- what the managers report --------------------------------------------------------------------------------

    async def _changed(self, container: Container, instance: Instance | None) -> None:
        name = container.name
        guest = self._guest(name)
        if instance is None:
            _log.info("%s is gone", name)
            if container.by_profile:
                await self._forget(name)
            else:
                guest.gone()
                guest.publisher.submit([])
                guest.event("deleted", "")
            return
        try:
            self._change(container, users=_foreign(map(instance.outside, (0, container.uid))))
            if name in self._stale and instance.directory is not None:
                manager, carried = self._watch.manager(instance), self._carried(container)
                if await asyncio.to_thread(manager.carry_again, instance, carried):
                    self._stale.discard(name)
                    self.problems.pop(name, None)
                else:
                    self.problems[name] = "started before its directory was there; restart it"
            elif instance.status == RUNNING:
                self.problems.pop(name, None)
        except GuestlinkError as error:
            _log.warning("%s: %s", name, error)
            self.problems[name] = error.message

    async def _strange(self, instance: Instance) -> None:
        """Take our devices out of a copy, which must not pass for the original; attach what a profile wants."""
        if instance.directory is not None and instance.directory.parent == self._containers.directories:
            _log.warning(
                "%s is a copy of %s and had its directory and token; they are taken out of the copy, "
                "`guestlink-host attach %s` gives it its own",
                *(instance.name, instance.directory.name, instance.name),
            )
            await asyncio.to_thread(self._watch.manager(instance).drop, instance)
        if instance.wanted_by == os.getuid():
            known = next((one for one in self._containers if key_of(one) == key_of(instance)), None)
            if known is not None and known.by_profile:
                _log.info("%s is another container than before", known.name)
                await self._forget(known.name)
                known = None
            if known is None:
                await self._attach(instance)

    async def _attach(self, instance: Instance) -> None:
        """Attach a container because its profile asks for it."""
        name = instance.name
        try:
            if any(container.name == name for container in self._containers):
                raise GuestlinkError(f"another container is known as {name} already")
            users = _foreign(map(instance.outside, (0, DEFAULT_UID)))
            values = {"manager": instance.manager, "place": instance.place, "users": users, "by_profile": True}
            container = await self._add(name, **values)
            try:
                await asyncio.to_thread(self._watch.manager(instance).attach, instance, self._carried(container))
            except BaseException:
                await self._forget(name)
                raise
            self._stale.discard(name)
            self._guest(name).event("attached", "its profile wants it")
        except GuestlinkError as error:
            if self._refused.get(name) != error.message:
                _log.warning("%s is not attached, though its profile wants it: %s", name, error)
            self._refused[name] = error.message

    def _change(self, container: Container, **values: Any) -> None:
        """Store changed values, and update the access control list of the container's directory."""
        changed = container._replace(**values)
        if changed != container:
            self._guest(container.name).container = self._containers.change(container.name, **values)
            self._containers.prepare(changed)

    def _carried(self, container: Container) -> Carried:
        name = container.name
        return Carried(self._containers.directory(name), self._containers.token_file(name), gpu_nodes(self._gpu))


class _Waking:
    """A container start in progress: its task, its current step and its failure."""

    task: asyncio.Task[None]
    doing = "asking the container manager"
    failure: GuestlinkError | None = None


async def _soon(condition: Callable[[], bool], limit: float) -> bool:
    """Wait up to ``limit`` seconds for a condition; returns whether it holds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit):
            while not condition():
                await asyncio.sleep(0.1)
    return condition()


def _there(look: Look, container: Container) -> Instance:
    """The instance of a container.

    :raises GuestlinkError: the manager has no such instance, or does not answer.
    """
    if (instance := look.instances.get(key_of(container))) is not None:
        return instance
    if (silence := look.silence(container)) is not None:
        raise silence
    raise GuestlinkError(
        f"the container {container.name} is gone: {container.manager} has none of that name",
        hint=f"create it again and attach it, or forget it: `guestlink-host remove {container.name}`",
    )


def _foreign(users: Iterable[int]) -> tuple[int, ...]:
    """The user ids that need an access control entry: all but our own and the host's root."""
    return tuple(sorted(set(users) - {os.getuid(), 0}))

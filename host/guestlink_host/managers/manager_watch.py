"""Polls the container managers: which of our containers run, are stopped, or are gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from guestlink.program import run_program
from guestlink_host.containers.registry import Container
from guestlink_host.managers import RUNNING, Instance, Manager, ManagerError, RunProgram

_log = logging.getLogger(__name__)

INTERVAL = 5.0
"""Seconds between two polls."""
GONE, UNKNOWN = "gone", "unknown"


class InstanceKey(NamedTuple):
    """Identifies an instance on this machine."""

    manager: str
    place: str
    name: str


def key_of(thing: Container | Instance) -> InstanceKey:
    """The key of an instance, or of the instance of a container."""
    return InstanceKey(thing.manager, thing.place, thing.name)


class Snapshot(NamedTuple):
    """The result of one poll of all managers.

    :ivar instances: all instances that the managers report.
    :ivar errors: the errors of managers that did not answer, by kind and place; the place is ``""`` except for LXC.
    """

    instances: Mapping[InstanceKey, Instance]
    errors: Mapping[tuple[str, str], ManagerError]

    def status(self, container: Container) -> str:
        """The instance's status, :data:`GONE`, :data:`UNKNOWN`, or ``""`` for a container without a manager."""
        if not container.manager:
            return ""
        if (instance := self.instances.get(key_of(container))) is not None:
            return instance.status
        return UNKNOWN if self.error(container) is not None else GONE

    def error(self, container: Container) -> ManagerError | None:
        """The error of a container's manager, if it did not answer."""
        return self.errors.get(_source(container))


def _source(container: Container | Instance) -> tuple[str, str]:
    # One LXD answers for all its projects; each LXC directory has a manager of its own.
    return (container.manager, container.place if container.manager == "lxc" else "")


class ManagerWatch:
    """Keeps the result of the last poll, and reports changes since the poll before.

    :param kinds: kinds of managers that may be polled.
    :param find: returns the managers of some kinds that this machine has.
    :param known: returns the containers in the registry ("ours").
    :param changed: is called for a container of ours whose instance is new or has changed, with the instance, or
        ``None`` if it is gone.
    :param unclaimed: is called for an instance that is not ours if a profile asks for it, or if it has our disk
        device, as a copy of an attached container does. Also for an instance that replaces a container of ours by
        profile: deleted and created again between two polls, it has no directory. For an instance that does not
        run, the call waits until two polls in a row have seen the same.
    :param run: runs managers' commands that start containers or enter them.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        find: Callable[[Sequence[str]], list[Manager]],
        known: Callable[[], Iterable[Container]],
        *,
        changed: Callable[[Container, Instance | None], Awaitable[None]],
        unclaimed: Callable[[Instance], Awaitable[None]],
        run: RunProgram = run_program,
    ) -> None:
        self._run = run
        self._kinds = kinds
        self._find = find
        self._known = known
        self._changed = changed
        self._unclaimed = unclaimed
        self._polling = asyncio.Lock()
        self._managers: dict[tuple[str, str], Manager] = {}
        self.last = Snapshot({}, {})

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            try:
                await self.poll()
            except Exception:
                _log.exception("polling the container managers failed")
            await asyncio.sleep(INTERVAL)

    async def poll(self) -> Snapshot:
        """Poll now, and report what has changed."""
        async with self._polling:
            before = self.last
            known = list(self._known())
            self.last = await asyncio.to_thread(self._ask, known)
            for source, error in self.last.errors.items():
                if source not in before.errors and any(_source(container) == source for container in known):
                    _log.warning("%s; %s", error, error.hint or "the states of its containers are unknown")
            ours = {key_of(container): container for container in known}
            for key, container in ours.items():
                instance = self.last.instances.get(key)
                unknown = instance is None and self.last.status(container) != GONE
                seen = before.instances.get(key)
                first = before.status(container) == UNKNOWN or key not in before.instances
                if container.manager and not unknown and (first or instance != seen):
                    await self._changed(container, instance)
            for key, instance in self.last.instances.items():
                mine = ours.get(key)
                if mine is None:
                    is_unclaimed = instance.wanted_by is not None or instance.directory is not None
                else:
                    is_unclaimed = mine.by_profile and instance.wanted_by is not None and instance.directory is None
                # A new instance may be about to start, and the manager refuses a start during a change.
                if is_unclaimed and (instance.status == RUNNING or instance == before.instances.get(key)):
                    await self._unclaimed(instance)
            return self.last

    def manager(self, thing: Container | Instance) -> Manager:
        """The manager of a container, as of the last poll.

        :raises ManagerError: this machine has no manager of its kind.
        """
        if (manager := self._managers.get(_source(thing))) is not None:
            return manager
        raise ManagerError(
            f"this machine has no {thing.manager} that this user may use",
            hint="install it, or allow it with the setting managers",
        )

    def _ask(self, known: Sequence[Container]) -> Snapshot:
        from guestlink_host.managers.lxc import Lxc

        # LXC is polled for the containers that we know, in any directory; the others list all in one call.
        daemons = [kind for kind in self._kinds if kind != "lxc"]
        self._managers = {(manager.kind, ""): manager for manager in self._find(daemons)}
        places = {container.place for container in known if container.manager == "lxc"}
        self._managers |= {("lxc", place): Lxc(Path(place), self._run) for place in places if "lxc" in self._kinds}
        instances: dict[InstanceKey, Instance] = {}
        errors: dict[tuple[str, str], ManagerError] = {}
        for source, manager in self._managers.items():
            ours = [container.name for container in known if _source(container) == source]
            names = ours if manager.kind == "lxc" else None
            try:
                instances |= {key_of(instance): instance for instance in manager.instances(names)}
            except ManagerError as error:
                errors[source] = error
        for container in known:
            if container.manager and _source(container) not in self._managers:
                kind = container.manager
                errors.setdefault(_source(container), ManagerError(f"there is no {kind} that this user may use"))
        return Snapshot(instances, errors)

"""Forwards the ports of containers, as the user has named them and as the policy ``ports`` allows."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from guestlink.errors import GuestlinkError
from guestlink.tasks import TaskOwner
from guestlink_host.border.policies import AUTO, DENY, how_to_allow
from guestlink_host.border.ports.forward import FORWARD_LIMIT, Forward
from guestlink_host.border.ports.relay_client import RelayClient
from guestlink_host.border.rate_limit import RateLimit
from guestlink_host.containers.container_policies import ContainerPolicies
from guestlink_host.containers.guest import Guest
from guestlink_host.containers.registry import Containers
from guestlink_host.names import visible_line

_log = logging.getLogger(__name__)

EVENTS, EVENT_WINDOW = 20, 60.0
"""Events of one container's ports in a window, and the window in seconds."""
_ASK_PAUSES = (0.1, 0.2, 0.4)
"""Seconds before a process that has just started is asked again: it may not have its connection to garcon yet."""
_TEXT_LIMIT = 300
"""Characters of a text that may have come from the container."""


class PortBorder:
    """The forwards of all containers.

    :param containers: the registry, which stores the forwards.
    :param policies: has ``ports``.
    """

    def __init__(self, containers: Containers, policies: ContainerPolicies) -> None:
        self._containers = containers
        self._policies = policies
        self._relays: dict[str, RelayClient] = {}
        self._tasks = TaskOwner("ports")
        self._closing: set[asyncio.Task[None]] = set()
        # One container's process may be slow to answer, and delays no other's.
        self._changing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        policies.watch("ports", self._policy_changed)

    async def start(self) -> None:
        """Nothing: containers are added while the daemon serves them."""

    async def close(self) -> None:
        """End every forward."""
        await asyncio.gather(*(relay.close() for relay in self._relays.values()))
        self._relays.clear()
        while self._closing:
            await asyncio.wait(self._closing)
        await self._tasks.close()

    def add(self, guest: Guest) -> None:
        """Begin to forward the ports of a container."""
        name = guest.container.name
        limit = RateLimit(EVENTS, EVENT_WINDOW)

        def event(what: str, detail: str) -> None:
            if limit.allows(time.monotonic()):
                guest.event(what, visible_line(detail, _TEXT_LIMIT))

        self._relays[name] = RelayClient(name, guest.ports, event)
        if self._is_wanted(name):
            self._tasks.start(self._apply_quietly(name), name=name)

    def remove(self, name: str) -> None:
        """End the forwards of a container, which is forgotten."""
        relay = self._relays.pop(name, None)
        if relay is not None:
            task = self._tasks.start(relay.close(), name=f"end the ports of {name}")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def change(self, name: str, *, add: Sequence[Forward], remove: Sequence[Forward]) -> None:
        """Change the forwards that the user has named. One that cannot listen changes nothing.

        :raises GuestlinkError: there is no such container or forward, the policy denies it, or a port is taken.
        """
        async with self._changing[name]:
            before = self._containers[name].forwards
            for one in remove:
                if one not in before:
                    raise GuestlinkError(
                        f"{name} has no forward from {one}", hint=f"`guestlink-host ports {name}` lists them"
                    )
            kept = [one for one in before if one not in remove]
            fresh = [one for one in dict.fromkeys(add) if one not in kept]
            if add and self._policies.value(name, "ports") == DENY:
                raise GuestlinkError(f"the policy denies ports of {name}", hint=how_to_allow(name, "ports"))
            if len(kept) + len(fresh) > FORWARD_LIMIT:
                raise GuestlinkError(f"there are {FORWARD_LIMIT} forwards already", hint="remove one first")
            self._check_listen(kept, fresh)
            if fresh:
                await self._try(name, (*kept, *fresh), fresh)
            guest_forwards = (*kept, *fresh)
            if guest_forwards != before:
                self._containers.change(name, forwards=guest_forwards)
            if not fresh:
                await self._apply(name)

    @staticmethod
    def _check_listen(kept: Sequence[Forward], fresh: Sequence[Forward]) -> None:
        """Check that no two forwards listen at one place.

        :raises GuestlinkError: two do.
        """
        taken = {(one.back, one.listen): one for one in kept}
        for one in fresh:
            if (other := taken.get((one.back, one.listen))) is not None:
                raise GuestlinkError(
                    f"{one.listen} is forwarded already, to {other.target}", hint="remove that forward first"
                )
            taken[one.back, one.listen] = one

    async def _try(self, name: str, forwards: Sequence[Forward], fresh: Sequence[Forward]) -> None:
        """Put forwards in force; if a new one cannot listen, go back to those of the registry.

        :raises GuestlinkError: with the reason and the remedy.
        """
        relay = self._relay(name)
        states = await relay.set(forwards, auto=self._is_auto(name))
        packed = [one.pack() for one in fresh]
        for state in states:
            # Without garcon nothing is known of the container's side; the forward works when garcon is there.
            if state["forward"] in packed and state["hint"]:
                await self._apply(name)
                raise GuestlinkError(
                    visible_line(state["problem"], _TEXT_LIMIT), hint=visible_line(state["hint"], _TEXT_LIMIT)
                )

    async def describe(self, name: str) -> dict[str, Any]:
        """The container's forwards with their states, and its listening ports.

        :returns: ``policy``; ``forwards``, objects with ``forward`` (a :class:`Forward`), ``problem``,
            ``connections``, ``program`` and ``automatic``; and ``listening``, a list of host, port and program, or
            ``None`` if garcon does not tell.
        :raises GuestlinkError: there is no such container, or its process does not answer.
        """
        policy = self._policies.value(name, "ports")
        if policy == DENY:
            states = [
                {
                    "forward": one.pack(),
                    "problem": "the policy denies it",
                    "connections": 0,
                    "program": "",
                    "automatic": False,
                }
                for one in self._containers[name].forwards
            ]
            return {"policy": policy, "forwards": states, "listening": None}
        async with self._changing[name]:
            relay = self._relay(name)
            try:
                answer = await relay.ask()
                for pause in _ASK_PAUSES:
                    if answer["listening"] is not None:
                        break
                    await asyncio.sleep(pause)
                    answer = await relay.ask()
            finally:
                if not self._is_wanted(name):
                    self._relay(name).stop()
        forwards = [_shown(one) for one in answer["forwards"]]
        return {"policy": policy, "forwards": forwards, "listening": answer["listening"]}

    def _relay(self, name: str) -> RelayClient:
        """The relay of a container.

        :raises GuestlinkError: there is no such container, or it is being removed.
        """
        relay = self._relays.get(self._containers[name].name)
        if relay is None:
            raise GuestlinkError(f"the container {name} is being removed", hint="try again in a moment")
        return relay

    def _is_auto(self, name: str) -> bool:
        return self._policies.value(name, "ports") == AUTO

    def _is_wanted(self, name: str) -> bool:
        policy = self._policies.value(name, "ports")
        return policy != DENY and (policy == AUTO or bool(self._containers[name].forwards))

    async def _apply(self, name: str) -> None:
        """Put the registry's forwards in force."""
        if self._is_wanted(name):
            await self._relay(name).set(self._containers[name].forwards, auto=self._is_auto(name))
        else:
            self._relay(name).stop()

    async def _apply_quietly(self, name: str) -> None:
        try:
            async with self._changing[name]:
                await self._apply(name)
        except GuestlinkError as error:
            _log.warning("%s", error)

    def _policy_changed(self, name: str, value: str) -> None:
        if name in self._relays:
            if value == DENY:
                self._relays[name].stop()  # At once: a request to a slow process may still wait for its answer.
            self._tasks.start(self._apply_quietly(name), name=name)


def _shown(state: dict[str, Any]) -> dict[str, Any]:
    """A forward's state with texts that a terminal can show: some are the container's."""
    return state | {key: visible_line(state[key], _TEXT_LIMIT) for key in ("problem", "hint", "program")}

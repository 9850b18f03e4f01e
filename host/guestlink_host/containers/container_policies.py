"""The policies of all containers, as they are in force, and their changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from guestlink.config import Config
from guestlink_host.border.policies import POLICIES, in_force
from guestlink_host.containers.registry import Containers


class ContainerPolicies:
    """Answers what a container may do, and tells the parts of the daemon when the user changes that.

    :param containers: the registry, which stores the containers' own values.
    :param config: the settings, which have the other containers' values.
    """

    def __init__(self, containers: Containers, config: Config) -> None:
        self._containers = containers
        self._config = config
        self._watchers: defaultdict[str, list[Callable[[str, str], None]]] = defaultdict(list)

    def value(self, name: str, key: str) -> str:
        """The value of one policy for a container.

        :raises GuestlinkError: there is no such container.
        """
        return self.values(name)[key]

    def values(self, name: str) -> dict[str, str]:
        """The value of every policy for a container, by key; raises as :meth:`value` does."""
        return in_force(self._containers[name].policies, self._config)

    def watch(self, key: str, changed: Callable[[str, str], None]) -> None:
        """Call a function with the container's name and the new value after each change of a policy.

        :param key: the policy's key.
        :raises KeyError: there is no such policy.
        """
        self._watchers[POLICIES[key].key].append(changed)

    def change(self, name: str, **values: str) -> None:
        """Give a container values of its own, by key, and tell the watchers.

        :raises GuestlinkError: there is no such container, or the registry cannot be written.
        """
        before = self.values(name)
        self._containers.change(name, policies={**self._containers[name].policies, **values})
        for key, value in self.values(name).items():
            if value != before[key]:
                for changed in self._watchers[key]:
                    changed(name, value)

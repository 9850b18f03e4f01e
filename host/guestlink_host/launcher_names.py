"""Which launchers say what container they are of: by default those that share their name with another one."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

AUTO, ALWAYS, NEVER = "auto", "always", "never"
HOST = ""
"""Stands for this machine's own applications beside the containers' names."""


class LauncherNames:
    """Knows the names of every container's applications.

    :param setting: :data:`AUTO`, :data:`ALWAYS` or :data:`NEVER`.
    :ivar complete: set when the names of all containers and of the host are known: launchers that are written
        before would be written twice.
    """

    def __init__(self, setting: str = AUTO) -> None:
        self.complete = asyncio.Event()
        self._setting = setting
        self._names: dict[str, set[str]] = {}
        self._holders: dict[str, set[str]] = defaultdict(set)
        self._changed: dict[str, Callable[[], None]] = {}

    def join(self, container: str, changed: Callable[[], None]) -> None:
        """Begin to hear of changes.

        :param changed: is called when another container's applications make :meth:`tells` answer differently.
        """
        self._changed[container] = changed

    def update(self, container: str, names: Iterable[str]) -> None:
        """Note a container's applications by their names, all of them; none when it is forgotten."""
        old, new = self._names.get(container, set()), set(map(str.casefold, names))
        self._names[container] = new
        affected: set[str] = set()
        for name in old ^ new:
            others = self._holders[name] - {container}
            if len(others) == 1:  # It has a namesake now, or none any more.
                affected |= others
            if holders := others | ({container} if name in new else set()):
                self._holders[name] = holders
            else:
                del self._holders[name]
        for other in affected & self._changed.keys():
            self._changed[other]()

    def forget(self, container: str) -> None:
        """A container has gone."""
        self._changed.pop(container, None)
        self.update(container, ())
        del self._names[container]

    def tells(self, name: str) -> bool:
        """Whether a launcher of this name says what container it is of."""
        if self._setting == AUTO:
            return len(self._holders.get(name.casefold(), ())) > 1
        return self._setting == ALWAYS

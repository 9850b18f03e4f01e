"""Which launchers show their container's name: by default those that share their own name with another one."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

AUTO, ALWAYS, NEVER = "auto", "always", "never"
HOST = ""
"""Key for this machine's own applications, beside the containers' names."""


class LauncherNames:
    """The names of the host's and of every container's applications.

    :param setting: :data:`AUTO`, :data:`ALWAYS` or :data:`NEVER`.
    :ivar complete: set when the names of all containers and of the host are known. A launcher that is written
        earlier might have to be written again.
    """

    def __init__(self, setting: str = AUTO) -> None:
        self.complete = asyncio.Event()
        self._setting = setting
        self._names: dict[str, set[str]] = {}
        self._holders: dict[str, set[str]] = defaultdict(set)
        self._changed: dict[str, Callable[[], None]] = {}

    def join(self, container: str, changed: Callable[[], None]) -> None:
        """Subscribe a container to changes of the other containers' names.

        :param changed: is called when another container's applications change an answer of :meth:`shows_container`.
        """
        self._changed[container] = changed

    def update(self, container: str, names: Iterable[str]) -> None:
        """Replace the names of a container's applications."""
        old, new = self._names.get(container, set()), set(map(str.casefold, names))
        self._names[container] = new
        affected: set[str] = set()
        for name in old ^ new:
            others = self._holders[name] - {container}
            if len(others) == 1:  # The other one has gained or lost a namesake.
                affected |= others
            if holders := others | ({container} if name in new else set()):
                self._holders[name] = holders
            else:
                del self._holders[name]
        for other in affected & self._changed.keys():
            self._changed[other]()

    def forget(self, container: str) -> None:
        """Forget a container and its names."""
        self._changed.pop(container, None)
        self.update(container, ())
        del self._names[container]

    def shows_container(self, name: str) -> bool:
        """Whether a launcher of this name shows its container's name."""
        if self._setting == AUTO:
            return len(self._holders.get(name.casefold(), ())) > 1
        return self._setting == ALWAYS

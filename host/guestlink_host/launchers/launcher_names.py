"""Which launchers show their container's name: by default those that share their own name with another one.

Names that look alike count as the same (:mod:`~guestlink_host.launchers.menu_names`).
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from guestlink_host.launchers.menu_names import claimed_container, look

RENAMINGS = 1000
"""How many launchers of others a container may let lose their container's name again. Each namesake that comes and
goes makes the host write the other's launcher twice; after that the launchers keep the name."""
AUTO, ALWAYS, NEVER = "auto", "always", "never"
HOST = ""
"""Key for this machine's own applications, beside the containers' names."""


class LauncherNames:
    """The names of the host's and of every container's applications.

    :param setting: :data:`AUTO`, :data:`ALWAYS` or :data:`NEVER`.
    :ivar window_classes: classes of the windows of the host's applications, in small letters.
    :ivar complete: set when the names of all containers and of the host are known. A launcher that is written
        earlier might have to be written again.
    """

    def __init__(self, setting: str = AUTO) -> None:
        self.complete = asyncio.Event()
        self.window_classes: frozenset[str] = frozenset()
        self._setting = setting
        self._names: dict[str, set[str]] = {}
        self._holders: dict[str, set[str]] = defaultdict(set)
        self._kept: set[str] = set()
        """Names that show their container although their namesake has gone."""
        self._renamings: Counter[str] = Counter()
        self._changed: dict[str, Callable[[], None]] = {}
        self._container_looks: frozenset[str] = frozenset()

    def join(self, container: str, changed: Callable[[], None]) -> None:
        """Subscribe a container to changes of the other containers' names.

        :param changed: is called when another container's applications change an answer of :meth:`shows_container`.
        """
        self._changed[container] = changed
        self._container_looks = frozenset(map(look, self._changed))
        for other in self._changed.keys() - {container}:
            self._changed[other]()  # One of its names may end with this container's.

    def reserve(self, window_classes: frozenset[str]) -> None:
        """Replace the classes of windows that belong to the host's applications: no launcher names them."""
        if window_classes != self.window_classes:
            self.window_classes = window_classes
            for changed in self._changed.values():
                changed()

    def update(self, container: str, looks: Iterable[str]) -> None:
        """Replace the names of a container's applications.

        :param looks: what the names look like, which takes time for many of them.
        """
        old, new = self._names.get(container, set()), set(looks)
        self._names[container] = new
        affected: set[str] = set()
        for name in old ^ new:
            others = self._holders[name] - {container}
            if len(others) == 1 and self._must_rename(container, name, is_lost=name in old):
                affected |= others  # The other one has gained or lost a namesake.
            if holders := others | ({container} if name in new else set()):
                self._holders[name] = holders
            else:
                del self._holders[name]
                self._kept.discard(name)
        for other in affected & self._changed.keys():
            self._changed[other]()

    def _must_rename(self, container: str, name: str, *, is_lost: bool) -> bool:
        """Whether the only other holder of a name has to hear that a container has got or lost the name."""
        if is_lost:
            self._renamings[container] += container != HOST
            if self._renamings[container] > RENAMINGS:
                self._kept.add(name)
                return False
            return True
        if name in self._kept:
            self._kept.discard(name)
            return False
        return True

    def forget(self, container: str) -> None:
        """Forget a container and its names: the user has removed it, so every namesake gets its own name back."""
        self._changed.pop(container, None)
        self._container_looks = frozenset(map(look, self._changed))
        kept, self._kept = self._kept, set()
        del self._renamings[container]
        self.update(container, ())
        del self._names[container]
        del self._renamings[container]
        for other in {holder for name in kept for holder in self._holders.get(name, ())} & self._changed.keys():
            self._changed[other]()

    def shows_container(self, name: str) -> bool:
        """Whether a launcher of this name shows its container's name.

        It does so, too, if its own name ends like that of a launcher that shows a container.
        """
        if self._setting == AUTO:
            seen = look(name)
            if len(self._holders.get(seen, ())) > 1 or seen in self._kept:
                return True
            return claimed_container(name) in self._container_looks
        return self._setting == ALWAYS

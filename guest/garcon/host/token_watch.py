"""Watches the token's file."""

from __future__ import annotations

import os
from collections.abc import Callable

from garcon.watch import DirectoryWatch


class TokenWatch:
    """Calls back after a change in the token's directory, because hosts replace the file.

    :param path: the token's file.
    :param changed: called in the event loop; it reads the token again.
    """

    def __init__(self, path: str, changed: Callable[[], None]) -> None:
        self._watch = DirectoryWatch()
        self._watch.add(os.path.abspath(path), changed)

    async def start(self) -> None:
        """Begin to watch."""
        self._watch.start()

    async def close(self) -> None:
        """Stop watching."""
        await self._watch.close()

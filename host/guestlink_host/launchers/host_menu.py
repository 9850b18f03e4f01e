"""The names of this machine's own applications in its menus."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from guestlink import xdg
from guestlink.tasks import TaskOwner
from guestlink_host.launchers.launcher_names import HOST, LauncherNames

INTERVAL = 5.0
"""Seconds between two polls."""
_FILE_LIMIT = 5000
_SIZE_LIMIT = 256 * 1024
"""Bytes of a desktop file that are read: its names are in its first group."""


class HostMenu:
    """Polls the directories of desktop files, and reads them only after they have changed.

    :param data_home: ``$XDG_DATA_HOME``, which contains our own launchers too.
    """

    def __init__(self, data_home: Path) -> None:
        listed = [data_home, *map(Path, xdg.data_dirs())]
        self._directories = [directory / "applications" for directory in dict.fromkeys(listed)]
        self._seen: list[int] = []

    def poll(self) -> set[str] | None:
        """The names, or ``None`` if nothing has changed since the last call. Blocks; call it in a thread."""
        times = [_modified(directory) for directory in self._directories]
        if times == self._seen:
            return None
        self._seen = times
        return set(_names(self._directories))


class HostMenuWatch:
    """Polls the host's own applications and updates their names.

    :param menu: the host's menus.
    :param names: the names of all applications.
    """

    def __init__(self, menu: HostMenu, names: LauncherNames) -> None:
        self._menu = menu
        self._names = names
        self._tasks = TaskOwner("host menu")

    async def start(self) -> None:
        """Begin to poll."""
        self._tasks.start(self._run(), name="poll")

    async def close(self) -> None:
        """Stop polling."""
        await self._tasks.close()

    async def _run(self) -> None:
        while True:
            if (found := await asyncio.to_thread(self._menu.poll)) is not None:
                self._names.update(HOST, found)
            self._names.complete.set()
            await asyncio.sleep(INTERVAL)


def _names(directories: Iterable[Path]) -> Iterator[str]:
    files: dict[str, Path] = {}
    for directory in directories:
        with contextlib.suppress(OSError):
            for entry in os.scandir(directory):
                if entry.name.endswith(".desktop") and not entry.name.startswith("guestlink-"):
                    files.setdefault(entry.name, Path(entry.path))  # Earlier directories win.
    for path in list(files.values())[:_FILE_LIMIT]:
        with contextlib.suppress(OSError):
            if path.is_file() and (name := _shown_name(path)):
                yield name


def _shown_name(path: Path) -> str:
    """The default name (the one without a locale); ``""`` if menus do not show the file."""
    with path.open("rb") as stream:
        text = stream.read(_SIZE_LIMIT).decode(errors="replace")
    keys: dict[str, str] = {}
    inside = False
    for line in text.splitlines():
        if line.startswith("["):
            if inside:
                break
            inside = line.strip() == "[Desktop Entry]"
        elif inside:
            key, _, value = line.partition("=")
            keys[key.strip()] = value.strip()
    hidden = "true" in (keys.get("NoDisplay"), keys.get("Hidden"))
    return "" if hidden or keys.get("Type") != "Application" else keys.get("Name", "")


def _modified(directory: Path) -> int:
    try:
        return directory.stat().st_mtime_ns
    except OSError:
        return 0

"""Which package owns a desktop file: the host offers "Uninstall" for those that have one (garcon.md §3.7).

Asks the package manager's own database in one batch. An answer is the PackageKit id
``name;version;architecture;installed``; ``""`` means that nobody owns the file.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Iterable, Sequence

from guestlink.process import CommandFailed, run

_log = logging.getLogger(__name__)

TIMEOUT = 30.0
"""Seconds for one batch."""
_BATCH = 200
"""Files of one command line."""
_SYSTEM = ("/usr/", "/opt/", "/etc/", "/var/lib/")
"""Where packages put files; others are never asked about."""
_Ask = Callable[[Sequence[str]], Awaitable[dict[str, str]]]
_PACMAN = re.compile(r"^(?P<path>/.+) is owned by (?P<name>\S+) (?P<version>\S+)$", re.MULTILINE)


class PackageOwners:
    """Remembers owners by file and modification time."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], str] = {}
        self._ask = _backend()

    def known(self, path: str) -> str:
        """The owner as far as it is known now; ``""`` otherwise."""
        return self._known.get(_key(path), "")

    async def look_up(self, paths: Iterable[str]) -> bool:
        """Ask about files that are not known yet.

        :returns: whether :meth:`known` has new answers.
        """
        if self._ask is None:
            return False
        keys = {path: key for path in paths if path.startswith(_SYSTEM) and (key := _key(path)) not in self._known}
        learned = False
        names = sorted(keys)
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            try:
                owners = await self._ask(batch)
            except CommandFailed as error:
                _log.info("package owners are not known: %s", error)
                return learned
            for path in batch:
                owner = self._known[keys[path]] = owners.get(path, "")
                learned = learned or bool(owner)
        return learned


def _key(path: str) -> tuple[str, int]:
    try:
        return path, os.stat(path).st_mtime_ns
    except (OSError, ValueError):
        return path, 0


def _backend() -> _Ask | None:
    for program, ask in (("dpkg-query", _ask_dpkg), ("rpm", _ask_rpm), ("pacman", _ask_pacman)):
        if shutil.which(program):
            return ask
    return None


async def _ask_dpkg(paths: Sequence[str]) -> dict[str, str]:
    # Paths that nobody owns give status 1 and a line on standard error.
    found = await run(["dpkg-query", "-S", *paths], timeout=TIMEOUT)
    owners: dict[str, str] = {}
    for line in found.stdout.decode(errors="replace").splitlines():
        names, _, path = line.rpartition(": ")
        if names and not names.startswith("diversion "):
            owners[path] = names.split(",")[0]
    if not owners:
        return {}
    form = "${binary:Package}\t${Package};${Version};${Architecture};installed\n"
    details = await run(["dpkg-query", "-W", "-f", form, *sorted(set(owners.values()))], timeout=TIMEOUT)
    ids = dict(line.split("\t", 1) for line in details.stdout.decode().splitlines() if "\t" in line)
    return {path: ids.get(name, "") for path, name in owners.items()}


async def _ask_rpm(paths: Sequence[str]) -> dict[str, str]:
    # One line per file in their order, an owner or a sentence; several owners would break the order.
    form = "%{NAME};%{VERSION}-%{RELEASE};%{ARCH};installed\n"
    owners = {}
    for path in paths:
        found = await run(["rpm", "-qf", "--qf", form, path], timeout=TIMEOUT)
        if found.status == 0:
            owners[path] = found.stdout.decode(errors="replace").splitlines()[0]
    return owners


async def _ask_pacman(paths: Sequence[str]) -> dict[str, str]:
    found = await run(["pacman", "-Qo", *paths], timeout=TIMEOUT, environ={**os.environ, "LC_ALL": "C"})
    return {
        match["path"]: f"{match['name']};{match['version']};{os.uname().machine};installed"
        for match in _PACMAN.finditer(found.stdout.decode(errors="replace"))
    }

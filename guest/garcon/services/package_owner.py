"""Finds the package that owns a desktop file: hosts offer "Uninstall" for owned files (chromeos-garcon.md §3.7).

An owner is published only while PackageKit can remove packages, so that "Uninstall" is not offered in vain.

This module queries the package manager's own database in batches. An owner is the PackageKit id
``name;version;architecture;installed``; ``""`` means that no package owns the file.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import NamedTuple

from guestlink.process import run
from guestlink.program import CommandFailed

_log = logging.getLogger(__name__)

TIMEOUT = 30.0
"""Seconds for one batch."""
_BATCH = 200
"""Files of one command line."""
_SYSTEM = ("/usr/", "/opt/", "/etc/", "/var/lib/")
"""Directories of packaged files; files elsewhere are never queried."""
_PACMAN = re.compile(r"^(?P<path>/.+) is owned by (?P<name>\S+) (?P<version>\S+)$", re.MULTILINE)


class Backend(NamedTuple):
    """A package manager.

    :ivar program: its command; the package manager is installed if the command is.
    :ivar ask: finds the owners of files; the result omits files without an owner.
    :ivar database: files or directories whose modification times change with the installed packages.
    """

    program: str
    ask: Callable[[Sequence[str]], Awaitable[dict[str, str]]]
    database: tuple[str, ...]


class _Answer(NamedTuple):
    modified: int
    database: tuple[int, ...]
    owner: str


class PackageOwners:
    """Caches owners until a file changes.

    The answer that a file has no owner is valid only until the database changes, because a package manager installs
    files before it records them.

    :param backend: the package manager; without one no file has an owner.
    """

    def __init__(self, backend: Backend | None) -> None:
        self._backend = backend
        self._answers: dict[str, _Answer] = {}

    @property
    def paths(self) -> list[str]:
        """The files whose owners are cached."""
        return list(self._answers)

    def known(self, path: str) -> str:
        """The cached owner; ``""`` if there is none."""
        answer = self._answers.get(path)
        return answer.owner if answer is not None and answer.modified == _modified(path) else ""

    async def look_up(self, paths: Collection[str]) -> bool:
        """Query the owners of files that are not cached.

        :param paths: every file of interest; the cache drops all others.
        :returns: whether :meth:`known` returns another owner for any file now.
        """
        self._answers = {path: self._answers[path] for path in paths if path in self._answers}
        if self._backend is None:
            return False
        # Read the times before the query: a file that changes meanwhile is queried again.
        database = tuple(map(_modified, self._backend.database))
        unknown = {path: _modified(path) for path in paths if path.startswith(_SYSTEM)}
        unknown = {
            path: modified for path, modified in unknown.items() if not self._holds(path, modified, database)
        }
        learned = False
        names = sorted(unknown)
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            try:
                owners = await self._backend.ask(batch)
            except CommandFailed as error:
                _log.info("package owners are not known: %s", error)
                break
            for path in batch:
                owner = owners.get(path, "")
                learned = learned or owner != self.known(path)
                self._answers[path] = _Answer(unknown[path], database, owner)
        return learned

    def _holds(self, path: str, modified: int, database: tuple[int, ...]) -> bool:
        answer = self._answers.get(path)
        return (
            answer is not None and answer.modified == modified and bool(answer.owner or answer.database == database)
        )


def _modified(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except (OSError, ValueError):
        return 0


def installed_backend() -> Backend | None:
    """The package manager of this system."""
    return next((backend for backend in BACKENDS if shutil.which(backend.program)), None)


async def _ask_dpkg(paths: Sequence[str]) -> dict[str, str]:
    # dpkg-query takes patterns. Paths without an owner give status 1 and a line on standard error.
    patterns = [re.sub(r"([*?\[\\])", r"\\\1", path) for path in paths]
    found = await run(["dpkg-query", "-S", *patterns], timeout=TIMEOUT, environ=_plain_environ())
    owners: dict[str, str] = {}
    for line in found.stdout.decode(errors="replace").splitlines():
        names, _, path = line.partition(": ")
        first = names.split(", ")[0]
        if first and " " not in first:  # Not "diversion by … from".
            owners[path] = first
    if not owners:
        return {}
    form = "${binary:Package}\t${Package};${Version};${Architecture};installed\n"
    packages = sorted(set(owners.values()))
    details = await run(["dpkg-query", "-W", "-f", form, *packages], timeout=TIMEOUT)
    ids = dict(line.split("\t", 1) for line in details.stdout.decode(errors="replace").splitlines() if "\t" in line)
    return {path: ids[name] for path, name in owners.items() if name in ids}


async def _ask_rpm(paths: Sequence[str]) -> dict[str, str]:
    form = "%{NAME};%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE};%{ARCH};installed\n"
    found = await run(["rpm", "-qf", "--qf", form, *paths], timeout=TIMEOUT, environ=_plain_environ())
    lines = found.stdout.decode(errors="replace").splitlines()
    if len(lines) != len(paths):
        # A missing file gives no line, and a file with two owners two lines: query each file on its own.
        return (
            {path: owner for path in paths for owner in (await _ask_rpm([path])).values()} if len(paths) > 1 else {}
        )
    # One line for each path, in order: the owner or an error message.
    return {path: line for path, line in zip(paths, lines, strict=True) if line.endswith(";installed")}


async def _ask_pacman(paths: Sequence[str]) -> dict[str, str]:
    found = await run(["pacman", "-Qo", *paths], timeout=TIMEOUT, environ=_plain_environ())
    return {
        match["path"]: f"{match['name']};{match['version']};{os.uname().machine};installed"
        for match in _PACMAN.finditer(found.stdout.decode(errors="replace"))
    }


def _plain_environ() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


_RPM_DATABASE = tuple(
    f"{directory}/{name}"
    for directory in ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
    for name in ("rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages.db", "Packages")
)
BACKENDS = (
    Backend("dpkg-query", _ask_dpkg, ("/var/lib/dpkg/info", "/var/lib/dpkg/status")),
    Backend("rpm", _ask_rpm, _RPM_DATABASE),
    Backend("pacman", _ask_pacman, ("/var/lib/pacman/local",)),
)
"""Package managers in search order, because some systems have another's tools besides their own."""

"""Reads the profiles of the user's login shell again after they have changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping

from garcon.session.login_shell import LoginShell, with_login_variables
from garcon.watch import DirectoryWatch
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

_SETTLE = 1.0
"""Seconds after a change until the profiles are read: editors and package managers write several times."""
_ATTEMPTS = 3
"""Runs of the shell in a row: somebody may change a profile while the shell reads it."""
_SYSTEM = ("/etc/profile", "/etc/profile.d", "/etc/zsh/zprofile", "/etc/zprofile", "/etc/fish/conf.d")
_OWN = (
    ".profile",
    ".bash_profile",
    ".bash_login",
    ".bashrc",
    ".zshenv",
    ".zprofile",
    ".config/fish/config.fish",
    ".config/fish/conf.d",
)
"""Files and directories that login shells read. What a profile reads in turn is not known here."""


class Profiles:
    """Keeps an environment up to date with the profiles.

    :param session: the environment without what the profiles add.
    :param environ: the environment with it, which is changed in place.
    :param changed: called after PATH or XDG_DATA_DIRS got another value.
    """

    def __init__(self, session: Mapping[str, str], environ: dict[str, str], changed: Callable[[], None]) -> None:
        self._session = session
        self._environ = environ
        self._changed = changed
        home = session.get("HOME") or os.path.expanduser("~")
        self._paths = [*_SYSTEM, *(os.path.join(home, name) for name in _OWN)]
        self._read: list[tuple[str, int, int]] = []
        self._watch = DirectoryWatch()
        self._tasks = TaskOwner("profiles")
        self._reading = False

    async def start(self) -> None:
        """Begin to watch; the profiles count as read now."""
        self._read = self._state()
        for path in self._paths:
            self._watch.add(path, self._touched)
        self._watch.start()

    async def close(self) -> None:
        """Stop watching."""
        await self._watch.close()
        await self._tasks.close()

    def _touched(self) -> None:
        if not self._reading:
            self._reading = True
            self._tasks.start(self._read_again(), name="read the profiles")

    async def _read_again(self) -> None:
        try:
            await asyncio.sleep(_SETTLE)
            for _ in range(_ATTEMPTS):
                state = self._state()
                if state == self._read:
                    return
                login = await asyncio.to_thread(_login_variables, self._session)
                self._read = state
                if login:
                    self._take(with_login_variables(self._session, login))
            # Profiles that write to themselves must not keep us busy.
            self._read = self._state()
        finally:
            self._reading = False

    def _take(self, environ: Mapping[str, str]) -> None:
        changed = [name for name in ("PATH", "XDG_DATA_DIRS") if self._environ.get(name) != environ.get(name)]
        if not changed:
            return
        _log.info("the profiles have changed %s", " and ".join(changed))
        for name in changed:
            if name in environ:
                self._environ[name] = environ[name]
            else:
                del self._environ[name]
        self._changed()

    def _state(self) -> list[tuple[str, int, int]]:
        """The profiles that exist, with their times of change and sizes."""
        found = []
        for path in self._paths:
            with contextlib.suppress(OSError):
                names = [path, *(entry.path for entry in os.scandir(path))] if os.path.isdir(path) else [path]
                for name in sorted(names):
                    status = os.stat(name)
                    found.append((name, status.st_mtime_ns, status.st_size))
        return found


def _login_variables(environ: Mapping[str, str]) -> dict[str, str]:
    return LoginShell(environ).variables()

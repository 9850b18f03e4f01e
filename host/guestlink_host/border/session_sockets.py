"""Links sockets of the host's session for sound into containers' directories.

A hard link is a second name of the same socket: it works in a directory that is mounted in a container, where a
symbolic link would lead nowhere, and costs nothing per connection. A restarted sound server creates a new socket:
the daemon compares the links periodically.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from guestlink import acl, xdg
from guestlink.errors import GuestlinkError, reason
from guestlink.socket_directory import PIPEWIRE, PULSE, PULSE_COOKIE
from guestlink.tasks import TaskOwner
from guestlink_host.containers.registry import write_in_place

_log = logging.getLogger(__name__)

_COOKIE_LIMIT = 256
"""Bytes of PulseAudio's cookie."""
INTERVAL = 5.0
"""Seconds between two polls of the session's sockets."""


class SessionSocket:
    """One socket of the session.

    :param name: its name in containers' directories.
    :param source: its path in the session.
    :param loss: what containers lack without it, as a sentence for the log.
    """

    def __init__(self, name: str, source: Path, loss: str) -> None:
        self.name = name
        self._source = source
        self._loss = loss
        self._warned = ""

    def update(self, directories: Mapping[Path, Collection[int]]) -> None:
        """Link the session's current socket into containers' directories, in place of an older one.

        :param directories: the host user ids of each container's users, by directory; empty if they are our own.
        """
        try:
            status = self._source.stat()
        except OSError:
            # The program does not run. The old socket stays: it refuses connections, which is the right answer.
            return
        try:
            # Set the list on the session's own path, where no container can put another file in its place.
            if users := frozenset().union(*directories.values()):
                acl.grant(self._source, users, acl.READ | acl.WRITE)
        except GuestlinkError as error:
            self._complain(error.message)
        for directory in directories:
            target = directory / self.name
            try:
                if target.exists() and os.path.samestat(target.stat(), status):
                    continue
                temporary = directory / f".{self.name}.new"
                with contextlib.suppress(FileNotFoundError):
                    temporary.unlink()
                os.link(self._source, temporary)
                os.replace(temporary, target)
            except OSError as error:
                self._complain(f"{self._source} cannot be linked into {directory}: {reason(error)}")

    def _complain(self, problem: str) -> None:
        if problem != self._warned:
            _log.warning("%s; %s", problem, self._loss)
            self._warned = problem


class SoundCookie:
    """PulseAudio's cookie. PulseAudio requires it from all users but its own; PipeWire does not.

    :param source: its path in the session.
    """

    def __init__(self, source: Path) -> None:
        self._source = source

    def update(self, directories: Mapping[Path, Collection[int]]) -> None:
        """Copy the session's current cookie into containers' directories."""
        try:
            with self._source.open("rb") as stream:
                cookie = stream.read(_COOKIE_LIMIT)
            for directory in directories:
                write_in_place(directory / PULSE_COOKIE, cookie, 0o644)
        except OSError:
            return  # Without a cookie no server requires one.


class SessionSocketLinks:
    """Keeps the session's sockets and cookie in the containers' directories up to date.

    :param sockets: what :func:`session_sockets` returns.
    :param directories: returns the host user ids of each container's users, by the container's directory.
    """

    def __init__(
        self,
        sockets: Sequence[SessionSocket | SoundCookie],
        directories: Callable[[], Mapping[Path, Collection[int]]],
    ) -> None:
        self._sockets = sockets
        self._directories = directories
        self._tasks = TaskOwner("session sockets")

    async def start(self) -> None:
        """Begin to compare the links periodically: a restarted sound server has a new socket."""
        self._tasks.start(self._run(), name="link")

    async def close(self) -> None:
        """Stop; the links stay."""
        await self._tasks.close()

    def update(self) -> None:
        """Link and copy now."""
        if directories := self._directories():
            for each in self._sockets:
                each.update(directories)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            self.update()


def session_sockets(sound: str, environ: Mapping[str, str] = os.environ) -> list[SessionSocket | SoundCookie]:
    """The sockets and the cookie to put into containers' directories.

    :param sound: ``auto`` for PulseAudio's protocol, which PipeWire serves too; ``pipewire`` for PipeWire's own
        protocol as well; ``off`` for none.
    :param environ: the session's environment.
    """
    runtime = Path(xdg.runtime_directory(environ) or "/")
    found: list[SessionSocket | SoundCookie] = []
    if sound == "off" or not xdg.runtime_directory(environ):
        return found
    quiet = "containers have no sound"
    found.append(SessionSocket(PULSE, Path(environ.get("PULSE_RUNTIME_PATH", runtime / "pulse"), "native"), quiet))
    config = Path(xdg.config_home(environ))
    found.append(SoundCookie(Path(environ.get("PULSE_COOKIE", config / "pulse" / "cookie"))))
    if sound == "pipewire":
        remote = Path(environ.get("PIPEWIRE_RUNTIME_DIR", runtime), environ.get("PIPEWIRE_REMOTE", PIPEWIRE))
        found.append(SessionSocket(PIPEWIRE, remote, quiet))
    return found

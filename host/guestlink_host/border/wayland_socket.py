"""A container's Wayland socket: what stands behind it.

Its clients reach the compositor either through a security context, which the compositor serves itself, or through
``sommelier``, a process of its own for each container. Closing one lets nobody else connect; programs that are
connected keep their windows, also when guestlink-host ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from guestlink.backoff import backoff
from guestlink.child import Child
from guestlink.errors import reason

_log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds until a proxy that has exited may be started again; clients wait for that long at most."""
IDLE_TIME = 60.0
"""Seconds without clients after which a proxy exits."""
_STEADY = 60.0
"""Seconds after which a proxy that exits counts as one that has worked."""
_OF_DAEMON = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
"""Variables of guestlink-host's own unit."""


class SandboxedSocket:
    """A socket that the compositor serves in a security context.

    :param keep_open: the compositor accepts clients until this descriptor is closed.
    """

    def __init__(self, keep_open: int) -> None:
        self._keep_open = keep_open

    def close(self) -> None:
        """Let the compositor accept no more clients."""
        if self._keep_open >= 0:
            os.close(self._keep_open)
            self._keep_open = -1


class ProxiedSocket:
    """A socket that a ``sommelier`` serves. A client starts the process, and a minute without clients ends it: a
    container without windows costs nothing.

    :param listener: listens; this object owns it.
    :param argv: the proxy's command line, without the descriptors.
    :param environ: variables for the process.
    :param container: the container's name, for the log.
    :param directory: made for each process as its ``XDG_RUNTIME_DIR``, and removed with it, because a process that
        is killed leaves files there.
    """

    def __init__(
        self,
        listener: socket.socket,
        argv: Sequence[str],
        environ: Mapping[str, str],
        container: str,
        directory: Path,
    ) -> None:
        self._listener = listener
        self._argv = list(argv)
        self._environ = {key: value for key, value in environ.items() if key not in _OF_DAEMON}
        self._environ["XDG_RUNTIME_DIR"] = str(directory)
        self._directory = directory
        self._container = container
        self._loop = asyncio.get_running_loop()
        self._lifeline = -1
        self._process: Child | None = None
        self._started = 0.0
        self._failures = 0
        self._pause: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._wait_for_client()

    def close(self) -> None:
        """Accept no more clients. A proxy with clients serves them, and exits after the last one."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        self._end_lifeline()

    def abandon(self) -> None:
        """Close, and do not wait for the process: guestlink-host ends."""
        self.close()
        if self._process is not None:
            self._process.abandon()

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    def _wait_for_client(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._start)

    def _start(self) -> None:
        self._loop.remove_reader(self._listener)
        theirs, ours = os.pipe2(os.O_CLOEXEC)
        descriptors = (self._listener.fileno(), theirs)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            process = subprocess.Popen(
                [
                    *self._argv,
                    f"--listen-fd={descriptors[0]}",
                    f"--lifeline-fd={theirs}",
                    f"--idle-time={IDLE_TIME:g}",
                ],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                pass_fds=descriptors,
                start_new_session=True,
            )
        except OSError as error:
            os.close(ours)
            self._failed(f"cannot be started: {reason(error)}")
            return
        finally:
            os.close(theirs)
        self._lifeline = ours
        self._started = self._loop.time()
        self._process = Child(process, self._ended)

    def _ended(self, process: Child) -> None:
        self._process = None
        self._end_lifeline()
        shutil.rmtree(self._directory, ignore_errors=True)
        if self._is_closed:
            return
        if process.status == 0:  # it was idle
            self._wait_for_client()
            return
        if self._loop.time() - self._started > _STEADY:
            self._failures = 0
        self._failed(f"has ended with status {process.status}")

    def _failed(self, what: str) -> None:
        self._failures += 1
        pause = backoff(FIRST_PAUSE, LONGEST_PAUSE, self._failures)
        _log.warning(
            "the Wayland proxy of %s %s; the next client starts another one in %.1f s", self._container, what, pause
        )
        self._pause = self._loop.call_later(pause, self._wait_for_client)

    def _end_lifeline(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

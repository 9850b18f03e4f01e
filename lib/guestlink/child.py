"""A child process whose exit the event loop notices.

asyncio's own child watcher keeps a thread for each process, and asyncio's transports kill the process when they are
closed. A pidfd does neither (pidfd_open(2)).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable

from guestlink.descriptor_limit import restore_limit


class Child:
    """Watches a process that was just started, and reaps it; the process gets the usual limit of descriptors.

    Call :meth:`kill` or :meth:`abandon` before the loop ends.

    :param process: the process; nothing else may wait for it.
    :param ended: called once the process has exited, except after :meth:`kill` and :meth:`abandon`.
    :ivar status: the exit status, negative after a signal; ``None`` while the process runs.
    """

    def __init__(self, process: subprocess.Popen[bytes], ended: Callable[[Child], None] | None = None) -> None:
        self.status: int | None = None
        self._process = process
        self._ended = ended
        self._exit = asyncio.Event()
        self._descriptor = os.pidfd_open(process.pid)
        restore_limit(process.pid)
        asyncio.get_running_loop().add_reader(self._descriptor, self._reap)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    async def wait(self, limit: float | None = None) -> int | None:
        """Wait for the exit.

        :param limit: seconds; ``None`` waits without a limit.
        :returns: the exit status, or ``None`` if the process still runs at the limit or was abandoned.
        """
        try:
            async with asyncio.timeout(limit):
                await self._exit.wait()
        except TimeoutError:
            pass
        return self.status

    def terminate(self) -> None:
        """Send SIGTERM, if the process still runs."""
        self._process.terminate()

    def kill_soon(self) -> None:
        """Kill the process without waiting for its exit, which a call of the kernel may delay."""
        self._process.kill()

    def kill(self) -> None:
        """Kill the process if it still runs, and reap it."""
        if self._descriptor < 0:
            return
        self.kill_soon()
        self._forget()
        self.status = self._process.wait()
        self._exit.set()

    def abandon(self) -> None:
        """Stop watching; the process keeps running, and init reaps it after our own exit."""
        if self._descriptor < 0:
            return
        self._forget()
        self._process.returncode = 0  # Otherwise subprocess warns about a process that still runs.
        self._exit.set()

    def _reap(self) -> None:
        self._forget()
        self.status = self._process.wait()
        self._exit.set()
        if self._ended is not None:
            self._ended(self)

    def _forget(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1

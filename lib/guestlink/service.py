"""The frame of a daemon: what systemd is told, and how signals end the work."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn

from guestlink.notify_socket import NotifySocket
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

STOP_TIMEOUT = 8.0
"""Seconds that a daemon may need to end before it is left to the kernel; its unit gives it ten.

One that is well needs a fraction of one, but a machine that shuts down is busy.
"""


_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that end a daemon: by its manager, by Ctrl-C, and by the end of its terminal."""


class Notifier:
    """Tells the service manager how the daemon is (sd_notify(3)); without a manager it only keeps the status.

    The socket's address is taken out of the environment, so that launched programs do not speak for us.
    """

    def __init__(self) -> None:
        self._socket = NotifySocket()
        self._watchdog = _watchdog_seconds()
        for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(name, None)
        self.text = ""
        self._ready = False

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between two signs of life (half the time that systemd allows), or ``None``."""
        return self._watchdog

    def ready(self) -> None:
        """Say once that start-up is complete."""
        if not self._ready:
            self._ready = True
            self._socket.send("READY=1")

    def status(self, text: str) -> None:
        """Show one sentence in ``systemctl status``."""
        if text != self.text:
            self.text = text
            self._socket.send("STATUS=" + text.replace("\n", " "))

    def stopping(self) -> None:
        """Say that the daemon is about to end."""
        self._socket.send("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._socket.send("WATCHDOG=1")

    def close(self) -> None:
        """Close the socket to the manager."""
        self._socket.close()


def _watchdog_seconds() -> float | None:
    pid = os.environ.get("WATCHDOG_PID")
    text = os.environ.get("WATCHDOG_USEC", "")
    if not text.isdecimal() or int(text) == 0 or (pid is not None and pid != str(os.getpid())):
        return None
    return int(text) / 2_000_000


async def run_daemon(body: Callable[[Notifier], Awaitable[None]]) -> int:
    """Run a daemon's body until it returns or SIGTERM or SIGINT cancels it.

    The body says READY and STATUS through the notifier, and cleans up in ``finally`` when it is cancelled.
    The watchdog is fed from the event loop, so that a loop that hangs is restarted by systemd.

    :returns: 0.
    :raises Exception: whatever the body raises.
    """
    notifier = Notifier()
    owner = TaskOwner("daemon")
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    # A signal that whoever started us has had ignored stays so: SIGHUP after nohup, SIGINT behind a shell's `&`.
    stopping = [number for number in _STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
    for number in stopping:
        loop.add_signal_handler(number, stopped.set)
    try:
        failures: list[Exception] = []
        work = owner.start(_run(body, notifier, failures), name="body")
        stop = owner.start(_wait(stopped), name="stop signal")
        if notifier.watchdog_interval is not None:
            owner.start(_feed_watchdog(notifier, notifier.watchdog_interval), name="watchdog")
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        notifier.stopping()
        work.cancel()
        done, _ = await asyncio.wait({work}, timeout=STOP_TIMEOUT)
        if not done:
            _log.warning("stopping took longer than %g s; ending without the rest", STOP_TIMEOUT)
        if failures:
            raise failures[0]
        return 0
    finally:
        for number in stopping:
            loop.remove_signal_handler(number)
        await owner.close()
        notifier.close()


def leave(status: int) -> NoReturn:
    """End the process of a daemon that has cleaned up after itself.

    The interpreter's own way out is not taken: gRPC's threads are still alive then, and some of its versions
    wait for one another for ever in about one of a thousand exits.

    :param status: the exit status.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


async def _run(body: Callable[[Notifier], Awaitable[None]], notifier: Notifier, failures: list[Exception]) -> None:
    try:
        await body(notifier)
    except Exception as error:
        failures.append(error)  # The caller raises it; as the task's own it would be logged a second time.


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _feed_watchdog(notifier: Notifier, interval: float) -> None:
    while True:
        notifier.alive()
        await asyncio.sleep(interval)

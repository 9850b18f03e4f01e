"""Runs a daemon: sends its state to systemd, and stops it on signals."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

from guestlink.notify_socket import NotifySocket
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

STOP_TIMEOUT = 8.0
"""Seconds to wait for a daemon's clean-up; its unit gives it ten.

A healthy daemon needs a fraction of a second, but a machine that shuts down is busy.
"""
THREAD_TIME = 1.0
"""Seconds to wait for calls in threads after the clean-up. A call may hang for ever: a file on a dead mount, a host
name without a name server."""

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that stop a daemon: from its manager, from Ctrl-C, and from a terminal that hangs up."""


class Notifier:
    """Sends the daemon's state to the service manager (sd_notify(3)); without a manager it only keeps the status.

    The constructor removes the socket's address from the environment, so that launched programs cannot use it.
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
        """Seconds between two watchdog messages (half the time that systemd allows), or ``None``."""
        return self._watchdog

    def ready(self) -> None:
        """Send once that start-up is complete."""
        if not self._ready:
            self._ready = True
            self._socket.send("READY=1")

    def status(self, text: str) -> None:
        """Show one sentence in ``systemctl status``."""
        if text != self.text:
            self.text = text
            self._socket.send("STATUS=" + text.replace("\n", " "))

    def stopping(self) -> None:
        """Send that the daemon is about to exit."""
        self._socket.send("STOPPING=1")

    def alive(self) -> None:
        """Send a watchdog message."""
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


def run(body: Callable[[Notifier], Awaitable[None]]) -> int:
    """Run a daemon as :func:`run_daemon` does; afterwards wait :data:`THREAD_TIME` for threads.

    The caller must end the process with :func:`leave`: :func:`asyncio.run` and the interpreter's own exit would
    wait for the threads without a limit.

    :returns: 0.
    :raises Exception: whatever the body raises.
    """
    runner = asyncio.Runner()
    threads = ThreadPoolExecutor(thread_name_prefix="asyncio")
    runner.get_loop().set_default_executor(threads)
    try:
        return runner.run(run_daemon(body))
    finally:
        ending = threading.Thread(target=threads.shutdown, kwargs={"cancel_futures": True}, daemon=True)
        ending.start()
        ending.join(THREAD_TIME)
        if ending.is_alive():
            _log.warning("a call in a thread does not end; exiting without it")


async def run_daemon(body: Callable[[Notifier], Awaitable[None]]) -> int:
    """Run a daemon's body until it returns, or until SIGTERM, SIGINT or SIGHUP cancels it.

    The body sends READY and STATUS with the notifier, and cleans up in ``finally`` when it is cancelled.
    The event loop sends the watchdog messages, so that systemd restarts a daemon whose loop hangs. If the clean-up
    takes longer than :data:`STOP_TIMEOUT`, this function exits the process with status 0.

    :returns: 0.
    :raises Exception: whatever the body raises.
    """
    notifier = Notifier()
    owner = TaskOwner("daemon")
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    # A signal that our parent set to ignored stays ignored: SIGHUP after nohup, SIGINT after a shell's `&`.
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
            _log.warning("stopping took longer than %g s; exiting without the rest of the clean-up", STOP_TIMEOUT)
            leave(0)  # Closing the owner would wait for the body, and so would asyncio.run().
        if failures:
            raise failures[0]
        return 0
    finally:
        for number in stopping:
            loop.remove_signal_handler(number)
        await owner.close()
        notifier.close()


def leave(status: int) -> NoReturn:
    """Exit the process of a daemon that has cleaned up.

    This skips the interpreter's own shutdown: gRPC's threads are still alive then, and in some versions they
    wait for each other for ever in about one of a thousand exits.

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
        failures.append(error)  # run_daemon raises it; if the task raised it, its owner would log it a second time.


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _feed_watchdog(notifier: Notifier, interval: float) -> None:
    while True:
        notifier.alive()
        await asyncio.sleep(interval)

"""systemd: readiness, status, watchdog, and the environment of the user's other services."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence

from guestlink import xdg
from guestlink.errors import GuestlinkError
from guestlink.notify_socket import NotifySocket
from sommelier_shim.daemon.children import RunningProgram, start_program
from sommelier_shim.daemon.loop import Loop, Timer

_log = logging.getLogger(__name__)


class ServiceManager:
    """Notifications for systemd. Without systemd the methods do nothing.

    :param ready_text: sent when ready (``--sd-notify``); ``READY=1`` by default.
    """

    def __init__(self, loop: Loop, ready_text: str) -> None:
        self._loop = loop
        self._ready_text = ready_text or "READY=1"
        self._notifier = NotifySocket()
        self._children: list[RunningProgram] = []
        self._watchdog: Timer | None = None
        self._interval = _watchdog_interval()
        for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(name, None)

    def ready(self) -> None:
        """Notify readiness, and start feeding the watchdog."""
        self._notifier.send(self._ready_text)
        if self._interval:
            self._feed()

    def status(self, text: str) -> None:
        """Show a sentence in ``systemctl status``."""
        self._notifier.send("STATUS=" + text.replace("\n", " "))

    def stopping(self) -> None:
        """Notify that the proxy is stopping."""
        self._notifier.send("STOPPING=1")

    def publish(self, variables: Mapping[str, str], done: Callable[[], None]) -> None:
        """Set environment variables for all programs that the user manager and the session bus start from now on.

        :param done: called when the user manager has set them, or when that has failed.
        """
        import shutil  # imported late: with its compressors it takes a tenth of the start; only services need it

        words = [f"{name}={value}" for name, value in variables.items()]
        runtime = xdg.runtime_directory()
        # The bus itself starts services without a systemd unit, in its own environment.
        if os.path.exists(f"{runtime}/bus") and shutil.which("dbus-update-activation-environment"):
            self._run(["dbus-update-activation-environment", *words], lambda: None)
        if os.path.exists(f"{runtime}/systemd/private") and shutil.which("systemctl"):
            self._run(["systemctl", "--user", "set-environment", *words], done)
        else:
            _log.info("no user manager runs; %s is not published", " and ".join(variables))
            done()

    def close(self) -> None:
        """Stop feeding the watchdog, and end the child processes."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        for child in self._children:
            child.close()
        self._notifier.close()

    def _run(self, argv: Sequence[str], done: Callable[[], None]) -> None:
        def ended(status: int) -> None:
            if status != 0:
                _log.warning("%s failed with status %d", argv[0], status)
            done()

        try:
            self._children.append(start_program(self._loop, argv, os.environ, ended))
        except GuestlinkError as error:
            _log.warning("%s", error)
            done()

    def _feed(self) -> None:
        self._notifier.send("WATCHDOG=1")
        self._watchdog = self._loop.call_later(self._interval, self._feed)


def _watchdog_interval() -> float:
    """Seconds between two watchdog notifications: half of systemd's limit; 0 without a watchdog."""
    text = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    return int(text) / 2_000_000 if text.isdecimal() and pid == str(os.getpid()) else 0.0

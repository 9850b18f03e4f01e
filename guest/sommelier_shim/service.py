"""The service manager: readiness, status, watchdog, and the environment of the user's other services."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence

from guestlink.errors import GuestlinkError
from guestlink.notify_socket import NotifySocket
from sommelier_shim.children import Child, start_program
from sommelier_shim.loop import Loop, Timer

_log = logging.getLogger(__name__)


class ServiceManager:
    """What systemd is told. Without systemd nothing happens.

    :param ready_text: sent when ready (``--sd-notify``); ``READY=1`` by default.
    """

    def __init__(self, loop: Loop, ready_text: str) -> None:
        self._loop = loop
        self._ready_text = ready_text or "READY=1"
        self._notifier = NotifySocket()
        self._children: list[Child] = []
        self._watchdog: Timer | None = None
        self._interval = _watchdog_interval()
        for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(name, None)

    def ready(self) -> None:
        """Say that clients are served."""
        self._notifier.send(self._ready_text)
        if self._interval:
            self._feed()

    def status(self, text: str) -> None:
        """Show a sentence in ``systemctl status``."""
        self._notifier.send("STATUS=" + text.replace("\n", " "))

    def stopping(self) -> None:
        """Say that the proxy ends."""
        self._notifier.send("STOPPING=1")

    def publish(self, variables: Mapping[str, str], done: Callable[[], None]) -> None:
        """Give variables to everything that the user manager and the session bus start from now on.

        :param done: called when the user manager has them, or cannot have them.
        """
        import shutil  # with its compressors a tenth of the start, and for services alone

        words = [f"{name}={value}" for name, value in variables.items()]
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        # The bus starts services itself where they are not systemd's, in the environment that it began with.
        if os.path.exists(f"{runtime}/bus") and shutil.which("dbus-update-activation-environment"):
            self._run(["dbus-update-activation-environment", *words], lambda: None)
        if os.path.exists(f"{runtime}/systemd/private") and shutil.which("systemctl"):
            self._run(["systemctl", "--user", "set-environment", *words], done)
        else:
            _log.info("no user manager runs; %s is not published", " and ".join(variables))
            done()

    def close(self) -> None:
        """Stop."""
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
    """Seconds between two signs of life: half of what systemd allows; 0 without a watchdog."""
    text = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    return int(text) / 2_000_000 if text.isdecimal() and pid == str(os.getpid()) else 0.0

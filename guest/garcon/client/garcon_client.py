"""Calls of a command to the running garcon."""

from __future__ import annotations

import os
import time
from typing import Any

from guestlink import xdg
from guestlink.control import ControlClient, DaemonNotRunning
from guestlink.errors import GuestlinkError

_SCHEME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-")
"""RFC 3986 §3.1."""
_WRITE_A_URL = "name a file, or write a URL with its scheme, as in https://example.org"
_UNIT = "guestlink-garcon.service"
_RESTART_TIME = 15.0
"""Seconds that a command waits while garcon restarts: its unit waits 2 s, and a slow profile takes longer."""
_TRY_AGAIN = 0.1
_STATES = ("active", "activating", "deactivating", "reloading")
"""States of a unit that has a process or will have one."""


class GarconClient(ControlClient):
    """A client that waits while garcon restarts, for example in an upgrade or by ``systemctl restart``."""

    def call(self, name: str, /, *, timeout: float | None = 70.0, **fields: Any) -> dict[str, Any]:
        """Call as :class:`ControlClient` does. A call that garcon may have received is not repeated."""
        deadline = time.monotonic() + _RESTART_TIME
        while True:
            try:
                return super().call(name, timeout=timeout, **fields)
            except DaemonNotRunning:
                if time.monotonic() > deadline or not _is_starting():
                    raise
            time.sleep(_TRY_AGAIN)


def control_path() -> str:
    """garcon's control socket (docs/internals.md)."""
    if base := xdg.existing_runtime_directory():
        return f"{base}/guestlink/garcon.sock"
    from guestlink.paths import runtime_dir

    return str(runtime_dir() / "garcon.sock")


def garcon(*, patient: bool = True) -> ControlClient:
    """A client of this user's garcon.

    :param patient: wait while garcon restarts; a diagnosis does not wait, because it reports the current state.
    """
    kind = GarconClient if patient else ControlClient
    return kind(control_path(), daemon="garcon", hint=_how_to_start())


def _how_to_start() -> str:
    """The advice for a garcon that does not run: it depends on what this user can do."""
    if os.getuid() == 0:
        return "garcon runs for the container's user: `guestlink adopt` starts it, `guestlink doctor` checks it"
    if not os.path.exists(os.path.join(os.path.dirname(os.path.dirname(control_path())), "systemd")):
        return "no user manager runs for you: `guestlink adopt`, run by root, starts it and garcon"
    log = "its log is `journalctl --user-unit guestlink-garcon`"
    return f"start garcon with `systemctl --user start guestlink-garcon`; {log}"


def checked_url(text: str) -> str:
    """Like :func:`to_url`, but check the argument, because a person has typed it.

    :raises GuestlinkError: the text is no file here and does not look like a URL.
    """
    if not text.strip():
        raise GuestlinkError("there is nothing to open", hint=_WRITE_A_URL)
    url = to_url(text)
    scheme, colon, _ = url.strip().partition(":")
    is_scheme = bool(colon) and scheme[:1].isalpha() and not set(scheme) - _SCHEME_CHARACTERS
    if not is_scheme and not url.strip().lower().startswith("www."):
        raise GuestlinkError(
            f"there is no file {text} here, and it is not a URL",
            hint=_WRITE_A_URL,
        )
    return url


def to_url(text: str) -> str:
    """The URL to send to the host for an argument (chromeos-garcon.md §2.5).

    A text without ``://`` that is an existing path becomes a ``file:`` URL of the real path; any other text stays
    unchanged, ``mailto:x`` too. Unlike ChromeOS's garcon we escape the path; ``/`` stays, because the host compares
    prefixes. Bytes of a URL that are not UTF-8 are escaped as well (RFC 3986, §2.5).

    :raises GuestlinkError: the text is neither a path nor a URL, and not UTF-8.
    """
    if "://" not in text and text and os.path.exists(text):
        from urllib.parse import quote_from_bytes

        return "file://" + quote_from_bytes(os.fsencode(os.path.realpath(text)))
    if "://" not in text and any("\udc80" <= char <= "\udcff" for char in text):
        raise GuestlinkError(f"{text!r} is neither an existing path nor UTF-8 text", hint=_WRITE_A_URL)
    return "".join(f"%{ord(char) - 0xDC00:02X}" if "\udc80" <= char <= "\udcff" else char for char in text)


def _is_starting() -> bool:
    """Whether systemd is about to start garcon, or has just done so."""
    from guestlink.program import CommandFailed, run_program

    try:
        done = run_program(["systemctl", "--user", "show", "-p", "ActiveState,Job", _UNIT], timeout=5)
    except CommandFailed:
        return False
    state = dict(line.partition("=")[::2] for line in done.output.splitlines())
    return bool(state.get("Job")) or state.get("ActiveState") in _STATES

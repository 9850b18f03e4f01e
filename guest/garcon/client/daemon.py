"""The way from a command to the running garcon."""

from __future__ import annotations

import os

from guestlink.control import ControlClient
from guestlink.errors import GuestlinkError


def control_path() -> str:
    """garcon's control socket (docs/internals.md)."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if not base.startswith("/"):
        base = f"/run/user/{os.getuid()}"
        if not os.path.isdir(base):
            from guestlink.paths import runtime_dir

            return str(runtime_dir() / "garcon.sock")
    return f"{base}/guestlink/garcon.sock"


def garcon() -> ControlClient:
    """A client of this user's garcon."""
    return ControlClient(
        control_path(),
        daemon="garcon",
        hint="start it with `systemctl --user start guestlink-garcon`; its log is "
        "`journalctl --user-unit guestlink-garcon`",
    )


def to_url(text: str) -> str:
    """What the host is asked to open for an argument (garcon.md §2.5).

    A text without ``://`` that names an existing path becomes a ``file:`` URL of the real path; anything else
    passes unchanged, ``mailto:x`` too. Unlike the original we escape the path; ``/`` stays, because the host
    compares prefixes.
    """
    if "://" not in text and text and os.path.exists(text):
        from urllib.parse import quote_from_bytes

        return "file://" + quote_from_bytes(os.fsencode(os.path.realpath(text)))
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise GuestlinkError(f"{text!r} is neither an existing path nor UTF-8 text") from error
    return text

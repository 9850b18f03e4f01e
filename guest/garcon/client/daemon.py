"""The way from a command to the running garcon."""

from __future__ import annotations

import os

from guestlink.control import ControlClient
from guestlink.errors import GuestlinkError

_SCHEME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-")
"""RFC 3986 §3.1."""


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
    return ControlClient(control_path(), daemon="garcon", hint=_how_to_start())


def _how_to_start() -> str:
    """What to do about a garcon that does not run, by what this user can do about it."""
    if os.getuid() == 0:
        return (
            "it runs for the container's user: `guestlink adopt` starts it, `guestlink doctor` says what is missing"
        )
    if not os.path.exists(os.path.join(os.path.dirname(os.path.dirname(control_path())), "systemd")):
        return "no user manager runs for you: `guestlink adopt`, run by root, starts it and garcon"
    log = "its log is `journalctl --user-unit guestlink-garcon`"
    return f"start it with `systemctl --user start guestlink-garcon`; {log}"


def checked_url(text: str) -> str:
    """Like :func:`to_url`, for a person: what is neither a file here nor looks like a URL is named at once.

    :raises GuestlinkError: it is neither.
    """
    url = to_url(text)
    scheme, colon, _ = url.strip().partition(":")
    is_scheme = bool(colon) and scheme[:1].isalpha() and not set(scheme) - _SCHEME_CHARACTERS
    if not is_scheme and not url.strip().lower().startswith("www."):
        raise GuestlinkError(
            f"there is no file {text} here, and it is not a URL",
            hint="write a URL with its scheme, as in https://example.org",
        )
    return url


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

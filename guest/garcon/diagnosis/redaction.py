"""Removes secrets and the names of the user and the machine from a report before it leaves the container."""

from __future__ import annotations

import re
from collections.abc import Iterable

_UUID = re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b")
"""The form of current and old tokens, and of the ids of machines and disks."""
_SECRET = re.compile(
    r"(?im)^(\s*[\w.-]*(?:password|passwd|secret|token|api_?key|credential)s?\s*[=:][ \t]*)(?!/)(\S.*)$"
)
"""Settings and variables with a secret value; a path is not a secret."""
_USER_INFO = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^/\s@]+@")


class Redaction:
    """Replaces names and secrets.

    :param user: the user's name.
    :param home: the user's home directory.
    :param host_name: this machine's name.
    :param secrets: texts to replace wherever they occur.
    """

    def __init__(self, user: str, home: str, host_name: str, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)
        self._names = [
            (re.compile(rf"(?<!\w){re.escape(name)}(?!\w)"), mark)
            for name, mark in ((home.rstrip("/"), "$HOME"), (host_name, "$HOSTNAME"))
            if name
        ]
        if user and user != "root":
            self._names.append((re.compile(rf"(?<![A-Za-z0-9_]){re.escape(user)}(?![A-Za-z0-9_])"), "$USERNAME"))

    def apply(self, text: str) -> str:
        """The text with marks instead of names and secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "$SECRET")
        text = _UUID.sub("$UUID", text)
        text = _SECRET.sub(r"\1$SECRET", text)
        text = _USER_INFO.sub(r"\1$SECRET@", text)
        for pattern, mark in self._names:
            text = pattern.sub(mark, text)  # no mark has a backslash
        return text

"""The change log of adoption, for undo."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from guestlink.errors import GuestlinkError
from guestlink.paths import atomic_write

CHANGE_LOG = "/var/lib/guestlink/adopted.json"

_IF_REMOVED = "remove it; `guestlink adopt --undo` then undoes nothing"

Change = dict[str, Any]
"""``do`` is the kind of change; the kind decides the other fields."""


class ChangeLog:
    """The list of changes, oldest first.

    :param root: directory of the container's root file system.
    :raises GuestlinkError: the list on disk cannot be read or parsed.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / CHANGE_LOG.lstrip("/")
        self.changes: list[Change] = []
        try:
            content = json.loads(self._path.read_text())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise GuestlinkError(f"{self._path} cannot be read: {error}", hint=_IF_REMOVED) from error
        if not isinstance(content, list) or not all(isinstance(change, dict) for change in content):
            raise GuestlinkError(
                f"{self._path} is not a list of changes", hint="remove it; adopt --undo then has nothing to undo"
            )
        self.changes = content

    def add(self, change: Change) -> None:
        """Record a change before it is made: to undo a change that was never made does no harm."""
        if change not in self.changes:
            self.changes.append(change)
            self.save()

    def save(self) -> None:
        """Write the list; remove the file of an empty list."""
        if self.changes:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(self._path, json.dumps(self.changes, indent=1).encode() + b"\n")
            return
        self._path.unlink(missing_ok=True)
        try:
            os.rmdir(self._path.parent)
        except OSError:
            pass  # The directory has other files, too.

"""The change log of adoption, for undo."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from guestlink.errors import GuestlinkError, reason
from guestlink.paths import atomic_write

CHANGE_LOG = "/var/lib/guestlink/adopted.json"

_IF_REMOVED = "remove the file; `guestlink adopt --undo` then undoes nothing"

Change = dict[str, str]
"""``do`` is the kind of change; the kind decides the other fields."""
FIELDS = {
    "file": ("path", "content"),
    "link": ("path", "target"),
    "directory": ("path",),
    "gshadow": (),
    "group": ("name",),
    "member": ("user", "group"),
    "lingering": ("user",),
    "user": ("name",),
}
"""The fields of each kind of change; another version may write other kinds."""


class ChangeLog:
    """The list of changes, oldest first.

    :param root: directory of the container's root file system.
    :param read: reads a file of the container.
    :raises GuestlinkError: the list on disk cannot be read or parsed.
    """

    def __init__(self, root: Path, read: Callable[[str], str]) -> None:
        self._path = root / CHANGE_LOG.lstrip("/")
        self.changes: list[Change] = []
        try:
            content = json.loads(read(CHANGE_LOG))
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:
            raise GuestlinkError(f"{self._path} cannot be read: {reason(error)}", hint=_IF_REMOVED) from error
        if not isinstance(content, list) or not all(_is_change(change) for change in content):
            raise GuestlinkError(f"{self._path} is not a list of changes", hint=_IF_REMOVED)
        self.changes = content

    def add(self, change: Change) -> bool:
        """Record a change before it is made, in case the container stops meanwhile.

        :returns: whether the list did not have the change yet.
        """
        if change in self.changes:
            return False
        self.changes.append(change)
        self.save()
        return True

    def drop(self, change: Change) -> None:
        """Remove the record of a change that was not made, or has been undone."""
        self.changes.remove(change)
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


def _is_change(change: object) -> bool:
    if not isinstance(change, dict) or not all(isinstance(value, str) for value in change.values()):
        return False
    fields = FIELDS.get(change.get("do", ""), ())
    # Programs would read a name that begins with a hyphen as an option.
    return "do" in change and all(
        field in change and not (field in ("name", "user", "group") and change[field].startswith("-"))
        for field in fields
    )

"""Finds the desktop file of an id that no scan has seen (chromeos-garcon.md §3.9)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence

HYPHEN_LIMIT = 10
"""Most hyphens in an id for which every combination of hyphen and slash is tried."""
_LENGTH_LIMIT = 4096
"""Characters; no path is longer."""


def find_desktop_file(desktop_file_id: str, directories: Sequence[str]) -> str | None:
    """Search the directories for a desktop file.

    :param desktop_file_id: as the host sent it.
    :param directories: the ``applications`` directories in search order.
    :returns: its path, or ``None``; the id cannot lead outside the directories.
    """
    if len(desktop_file_id) > _LENGTH_LIMIT or "\0" in desktop_file_id:
        return None
    parts = desktop_file_id.split("-")
    if len(parts) - 1 > HYPHEN_LIMIT:
        candidates = ["/".join(parts), desktop_file_id]
        return _first_existing((directory, name) for directory in directories for name in candidates)
    # Variant 0 turns every hyphen into a slash; the last hyphen changes fastest.
    variants = (
        "".join(itertools.chain.from_iterable(zip(parts, (*separators, ""), strict=True)))
        for separators in itertools.product("/-", repeat=len(parts) - 1)
    )
    return _first_existing((directory, name) for name in variants for directory in directories)


def _first_existing(candidates: Iterable[tuple[str, str]]) -> str | None:
    for directory, name in candidates:
        if not {"", ".", ".."}.isdisjoint(name.split("/")):
            continue  # Such a name leads elsewhere, or to a file that has another id.
        path = f"{directory}/{name}.desktop"
        if os.path.isfile(path):
            return path
    return None

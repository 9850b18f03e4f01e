"""The directories that hold applications, icons and MIME types, in garcon's order (garcon.md §3.1)."""

from __future__ import annotations

import os
from collections.abc import Mapping

DEFAULT_DATA_DIRS = "/usr/local/share:/usr/share"


def data_directories(environ: Mapping[str, str]) -> list[str]:
    """XDG_DATA_DIRS as given, then XDG_DATA_HOME: last, unlike the XDG specification wants it.

    Packaging puts the user's directory first in XDG_DATA_DIRS, which gives the user's files priority.

    :param environ: the session's environment.
    :returns: absolute paths without duplicates; relative ones do not count.
    """
    listed = [entry.strip() for entry in (environ.get("XDG_DATA_DIRS") or DEFAULT_DATA_DIRS).split(":")]
    data_home = environ.get("XDG_DATA_HOME") or ""
    if not data_home.startswith("/"):
        data_home = f"{environ.get('HOME') or os.path.expanduser('~')}/.local/share"
    return list(dict.fromkeys(os.path.normpath(entry) for entry in [*listed, data_home] if entry.startswith("/")))

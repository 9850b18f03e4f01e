"""The directories that hold applications, icons and MIME types, in garcon's order (chromeos-garcon.md §3.1)."""

from __future__ import annotations

import os
from collections.abc import Mapping

from guestlink import xdg


def data_directories(environ: Mapping[str, str]) -> list[str]:
    """XDG_DATA_DIRS as given, then XDG_DATA_HOME, which is first in the XDG specification.

    Packaging puts the user's directory first in XDG_DATA_DIRS, which gives the user's files priority.

    :param environ: the session's environment.
    :returns: absolute paths without duplicates; relative ones are dropped.
    """
    listed = [*xdg.data_dirs(environ), xdg.data_home(environ)]
    return list(dict.fromkeys(map(os.path.normpath, listed)))


def mime_directories(environ: Mapping[str, str]) -> list[str]:
    """The directories of MIME caches, the least important first.

    ChromeOS's garcon reads only the first and the last (chromeos-garcon.md §3.10); Flatpak and administrators add
    types to those in between (chromeos-garcon.md §8.2).
    """
    system, user = "/usr/share/mime", f"{xdg.home(environ)}/.local/share/mime"
    others = [f"{directory}/mime" for directory in reversed(data_directories(environ))]
    return [system, *(directory for directory in others if directory not in (system, user)), user]

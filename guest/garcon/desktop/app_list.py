"""Selects the applications to publish and makes their ids. Pure (chromeos-garcon.md §3.3 to §3.6)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

from garcon.desktop.desktop_entry import DesktopEntry
from garcon.desktop.exec_line import executable_file_name

DESKTOP = "GNOME"
"""The desktop that OnlyShowIn and NotShowIn are compared with, whatever the session's is
(chromeos-garcon.md §3.4)."""

Resolves = Callable[[str], bool]
"""Returns whether a TryExec value names a program."""


class FoundEntry(NamedTuple):
    """A desktop file that a scan found.

    :ivar desktop_file_id: its id within the directory that was scanned.
    :ivar path: its path.
    :ivar entry: its content.
    """

    desktop_file_id: str
    path: str
    entry: DesktopEntry


class PublishedApplication(NamedTuple):
    """An application as it is published.

    :ivar package_id: the package that owns it (:mod:`garcon.services.package_owner`); empty if garcon cannot remove
        it, or does not know it yet.
    """

    desktop_file_id: str
    path: str
    entry: DesktopEntry
    executable_file_name: str
    package_id: str = ""


class AppList(NamedTuple):
    """The result of a scan.

    :ivar applications: the published applications, in scan order.
    :ivar paths: the desktop file of every id, published or not.
    """

    applications: tuple[PublishedApplication, ...]
    paths: dict[str, str]


def desktop_file_id(relative_path: str) -> str:
    """The id of a file: its path below ``applications`` without the extension, ``/`` as ``-``
    (chromeos-garcon.md §3.5)."""
    return relative_path.removesuffix(".desktop").replace("/", "-")


def build_app_list(found: Iterable[FoundEntry], resolves: Resolves) -> AppList:
    """Select the applications to publish.

    The first file with an id claims it, before the filter: a valid file with ``Hidden=true`` hides a later one.

    :param found: valid entries in scan order.
    :param resolves: looks up TryExec.
    """
    applications = []
    paths: dict[str, str] = {}
    for candidate in found:
        if candidate.desktop_file_id in paths:
            continue
        paths[candidate.desktop_file_id] = candidate.path
        if is_published(candidate.entry, resolves):
            name = executable_file_name(candidate.entry)
            applications.append(PublishedApplication(*candidate, executable_file_name=name))
    return AppList(tuple(applications), paths)


def is_published(entry: DesktopEntry, resolves: Resolves) -> bool:
    """Whether an entry passes the filter (chromeos-garcon.md §3.4)."""
    return (
        entry.type == "Application"
        and not entry.hidden
        and bool(entry.exec)
        and not (entry.no_display and not entry.mime_types)
        and "Settings" not in entry.categories
        and (not entry.only_show_in or DESKTOP in entry.only_show_in)
        and DESKTOP not in entry.not_show_in
        and (not entry.try_exec or resolves(entry.try_exec))
    )


def path_resolver(path: str | None) -> Resolves:
    """A :data:`Resolves` for a PATH.

    An absolute name is that file; any other name is searched in each directory. The file must be executable for its
    owner (chromeos-garcon.md §3.4, 8). The resolver caches its results, so use a new one for each scan.

    :param path: the value of PATH; ``None`` finds only absolute names.
    """
    directories = [entry for entry in (path or "").split(":") if entry]
    known: dict[str, bool] = {}

    def resolves(name: str) -> bool:
        if name not in known:
            candidates = [name] if name.startswith("/") else [os.path.join(entry, name) for entry in directories]
            known[name] = any(map(_owner_executable, candidates))
        return known[name]

    return resolves


def _owner_executable(path: str) -> bool:
    try:
        return bool(os.stat(path).st_mode & 0o100)
    except (OSError, ValueError):
        return False

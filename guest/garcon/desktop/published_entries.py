"""Finds the desktop file of an id that the host sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from garcon.desktop.app_list import AppList
from garcon.desktop.app_scanner import read_desktop_file
from garcon.desktop.desktop_entry import BrokenEntry, DesktopEntry
from garcon.desktop.id_lookup import find_desktop_file
from garcon.session.launch_plan import CannotLaunch


class PublishedEntries:
    """Looks an id up in the last scan first, and then on disk, where several files may match the id.

    :param current: returns the last scan.
    :param directories: returns the ``applications`` directories in search order.
    """

    def __init__(self, current: Callable[[], AppList], directories: Callable[[], Sequence[str]]) -> None:
        self._current = current
        self._directories = directories

    def find(self, desktop_file_id: str) -> tuple[str, DesktopEntry]:
        """The path and the content of a desktop file, read now.

        :raises CannotLaunch: there is no such file, or it is broken (chromeos-garcon.md §5.5).
        """
        path = self._current().paths.get(desktop_file_id) or find_desktop_file(desktop_file_id, self._directories())
        if path is None:
            raise CannotLaunch("Desktop file does not exist")
        try:
            return path, read_desktop_file(path)
        except FileNotFoundError as error:
            raise CannotLaunch("Desktop file does not exist") from error
        except (BrokenEntry, OSError) as error:
            raise CannotLaunch(f"Desktop file contents are invalid: {error}") from error

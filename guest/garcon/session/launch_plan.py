"""Plans a launch: programs, environment, working directory. Pure (chromeos-garcon.md §5)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from garcon.desktop.desktop_entry import DesktopEntry
from garcon.desktop.exec_line import launch_commands

GTK3_IME, VIRTUAL_KEYBOARD, QT_IME = 1, 2, 3
"""Values of ContainerFeature (chromeos-garcon.md §1.4)."""

DISPLAY_VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY", "XCURSOR_SIZE")
LOW_DENSITY = "_LOW_DENSITY"

_BUS_NAME = re.compile(r"(?=.{1,255}$)[A-Za-z_-][A-Za-z0-9_-]*(\.[A-Za-z_-][A-Za-z0-9_-]*)+")
"""Well-known names (D-Bus Specification, "Bus names"): only ids of this form are activated over D-Bus."""


class CannotLaunch(Exception):
    """The application cannot be started; the text goes to the host as ``failure_reason``."""


class LaunchPlan(NamedTuple):
    """One launch.

    :ivar argvs: programs to start; more than one if the application takes a single file each.
    :ivar environ: variables for the programs on top of the session's.
    :ivar directory: working directory, or ``None`` for the session's.
    :ivar terminal: run the programs in a terminal.
    :ivar bus_name: activate this D-Bus name first, or ``None``.
    """

    argvs: list[list[str]]
    environ: dict[str, str]
    directory: str | None
    terminal: bool
    bus_name: str | None


def plan_launch(
    desktop_file_id: str,
    entry: DesktopEntry,
    path: str,
    files: Sequence[str],
    *,
    scaled: bool,
    features: Sequence[int],
    session: Mapping[str, str],
    startup_notify: bool,
) -> LaunchPlan:
    """Decide how an application starts.

    :param desktop_file_id: as published.
    :param entry: its desktop file, read now.
    :param path: the desktop file, for ``%k``.
    :param files: paths or URLs to open, as the host gave them.
    :param scaled: use the low-density displays (DisplayScaling.SCALED).
    :param features: ContainerFeature values; unknown ones are ignored.
    :param session: the session's environment.
    :param startup_notify: set DESKTOP_STARTUP_ID where the application asks for it.
    :raises CannotLaunch: with the reason (chromeos-garcon.md §5.5).
    """
    if entry.type != "Application":
        raise CannotLaunch("Desktop file is not for an application")
    argvs = launch_commands(entry, path, files, session)
    if not all(argv and argv[0] for argv in argvs):
        raise CannotLaunch("Failure in generating argv list for application: the desktop file has no Exec")
    environ = feature_environ(features, session)
    if entry.launch_notified and startup_notify:
        environ["DESKTOP_STARTUP_ID"] = desktop_file_id
    if scaled:
        environ |= low_density_environ(session)
    return LaunchPlan(
        argvs=argvs,
        environ=environ,
        directory=entry.path or None,
        terminal=entry.launch_in_terminal,
        # An activated service keeps its own environment, so we cannot give it the low-density displays.
        bus_name=desktop_file_id if _activatable(desktop_file_id, entry) and not scaled else None,
    )


def feature_environ(features: Sequence[int], session: Mapping[str, str]) -> dict[str, str]:
    """Variables that ContainerFeature values ask for (chromeos-garcon.md §2.6)."""
    environ: dict[str, str] = {}
    if GTK3_IME in features and "GTK_IM_MODULE" not in session:
        environ["GTK_IM_MODULE"] = "cros"
    if QT_IME in features and "QT_IM_MODULE" not in session:
        environ["QT_IM_MODULE"] = "cros"
    if VIRTUAL_KEYBOARD in features:
        environ["CROS_IM_VIRTUAL_KEYBOARD"] = "1"
    return environ


def low_density_environ(session: Mapping[str, str]) -> dict[str, str]:
    """Variables of the low-density displays; a missing one changes nothing (chromeos-garcon.md §5.4)."""
    return {name: session[name + LOW_DENSITY] for name in DISPLAY_VARIABLES if session.get(name + LOW_DENSITY)}


def _activatable(desktop_file_id: str, entry: DesktopEntry) -> bool:
    return entry.dbus_activatable and _BUS_NAME.fullmatch(desktop_file_id) is not None

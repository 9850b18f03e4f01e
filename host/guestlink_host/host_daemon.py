"""The guestlink-host daemon, put together from its parts."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import NoReturn

from guestlink import xdg
from guestlink.bus import SessionBus
from guestlink.config import Config
from guestlink.control import ControlServer
from guestlink.descriptor_limit import raise_limit
from guestlink.errors import GuestlinkError, reason, report
from guestlink.logs import setup_logging
from guestlink.part_stack import PartStack, StartablePart
from guestlink.paths import private_directory
from guestlink.service import Notifier, leave, run
from guestlink.suite_program import suite_program
from guestlink_host.border.desktop import Desktop
from guestlink_host.border.folder_threads import FolderThreads
from guestlink_host.border.open_requests import OpenRequests
from guestlink_host.border.opened_copies import OpenedCopies
from guestlink_host.border.pictures.renderer import DRAWINGS_LIMIT, Renderer
from guestlink_host.border.policies import ALLOW, DENY
from guestlink_host.border.ports.port_border import PortBorder
from guestlink_host.border.rate_limit import RateLimit
from guestlink_host.border.screensaver import Screensaver
from guestlink_host.border.session_programs import SessionPrograms, is_sandboxed
from guestlink_host.border.sound.sound_border import SoundBorder
from guestlink_host.border.user_notifications import UserNotifications
from guestlink_host.border.wayland_access import WaylandAccess, compositor_socket
from guestlink_host.border.wayland_plan import WaylandRules
from guestlink_host.containers.container_policies import ContainerPolicies
from guestlink_host.containers.container_services import ContainerServices
from guestlink_host.containers.event_log import EventLog
from guestlink_host.containers.guest import Guest
from guestlink_host.containers.registry import Container, Containers
from guestlink_host.control.table import handlers
from guestlink_host.launchers.desktop_databases import DesktopDatabases
from guestlink_host.launchers.host_defaults import HostDefaults
from guestlink_host.launchers.host_menu import HostMenu
from guestlink_host.launchers.host_watch import HostWatch
from guestlink_host.launchers.launcher_files import LauncherFiles
from guestlink_host.launchers.launcher_names import LauncherNames
from guestlink_host.launchers.launcher_publisher import WORKERS, LauncherPublisher
from guestlink_host.listener import implementations
from guestlink_host.listener.opening import OPENING_LIMIT, OPENING_WINDOW
from guestlink_host.managers.attachments import Attachments
from guestlink_host.parts import HostParts
from guestlink_host.settings import (
    ASK,
    COMPOSITOR,
    GPU,
    LAUNCHER_NAMES,
    LOG_LEVEL,
    MANAGERS,
    OPENER,
    PROGRAM,
    SHELL,
    SOUND,
    TERMINAL,
    TITLE_PREFIX,
    UNINSTALL_ACTION,
    WAYLAND_ALLOW,
    WAYLAND_DENY,
    control_socket,
    host_runtime_directory,
    state_directory,
)
from guestlink_host.single_daemon import only_daemon

_log = logging.getLogger(__name__)


def serve(config: Config, *, replace: bool = False) -> NoReturn:
    """Run the daemon and exit with its status; an error, such as a second daemon, is reported first.

    :param replace: stop the daemon that runs already: its session, and so its environment, may be outdated.
    """
    try:
        setup_logging(PROGRAM, config[LOG_LEVEL])
        raise_limit()
        for warning in config.warnings:
            _log.warning("%s", warning)
        status = run(HostDaemon(config, replace=replace).run)
    except GuestlinkError as error:
        report(PROGRAM, error)
        status = error.exit_code
    except Exception:
        _log.critical("internal error; exiting", exc_info=True)
        status = 1
    leave(status)


class HostDaemon:
    """The daemon of one user.

    :param replace: stop the daemon that runs already.
    """

    def __init__(self, config: Config, *, replace: bool = False) -> None:
        self._config = config
        self._replace = replace

    async def run(self, notifier: Notifier) -> None:
        """Serve until cancelled.

        :raises GuestlinkError: another daemon of this user runs, or the state cannot be read.
        """
        async with PartStack() as stack:
            stack.enter_context(only_daemon(host_runtime_directory() / "lock", replace=self._replace))
            for part in assemble(self._config, notifier):
                await stack.start(part)
            notifier.ready()
            _log.info("guestlink-host serves in %s; %s", host_runtime_directory(), notifier.text)
            await asyncio.Event().wait()


def assemble(config: Config, notifier: Notifier) -> list[StartablePart]:
    """Make the daemon's parts, in the order in which they start; they close in the reverse order.

    :raises GuestlinkError: the state cannot be read.
    """
    # New sockets before they are moved into a container's directory, and vsock bridges; only we see them.
    private = _emptied(private_directory(host_runtime_directory() / "private"))
    containers = Containers(state_directory(), host_runtime_directory())
    policies = ContainerPolicies(containers, config)
    data_home = Path(xdg.data_home())
    databases = DesktopDatabases(data_home)
    defaults = HostDefaults(data_home)
    names = LauncherNames(config[LAUNCHER_NAMES])
    shell = config[SHELL] or suite_program("vsh", "guestlink_host.vsh")
    programs = SessionPrograms(SessionBus(passes_descriptors=True) if is_sandboxed() else None)
    desktop = Desktop(config[OPENER], config[TERMINAL], config[ASK], shell, programs)
    notifications = UserNotifications()
    screensaver = Screensaver(SessionBus())

    threads = FolderThreads()
    copies = OpenedCopies(host_runtime_directory() / "opened", threads)
    requests = OpenRequests(config, desktop, copies, threads, notifications, policies)
    openings = RateLimit(OPENING_LIMIT, OPENING_WINDOW)
    program = suite_program(PROGRAM, "guestlink_host")
    events = EventLog()
    slots, workers = asyncio.Semaphore(DRAWINGS_LIMIT), asyncio.Semaphore(WORKERS)

    def publisher(name: str) -> LauncherPublisher:
        return LauncherPublisher(
            name,
            LauncherFiles(name, data_home),
            Renderer(name, slots),
            containers.list_file(name),
            program,
            names,
            defaults,
            workers,
            databases.request,
            mime_allowed=policies.value(name, "mime") == ALLOW,
            offers_uninstall=config[UNINSTALL_ACTION],
        )

    def calls(guest: Guest) -> dict[str, tuple[object, ...]]:
        return implementations(
            guest, containers, requests, openings, notifications, windows, sounds, screensaver, policies
        )

    def windows(name: str) -> dict[str, str]:
        return wayland.describe(name)

    def sounds(name: str) -> dict[str, str]:
        return sound.describe(name)

    # Both parts need the services, which call them only later.
    def status(container: Container) -> str:
        return attachments.status(container)

    def started(name: str) -> None:
        wayland.add(name, containers.directory(name))
        sound.add(services.guest(name), containers.directory(name))
        ports.add(services.guest(name))

    def ended(name: str) -> None:
        wayland.remove(name)
        sound.remove(name)
        ports.remove(name)

    def plan_launchers() -> None:
        for guest in services.guests():
            guest.publisher.defaults_changed()

    def mime_changed(name: str, value: str) -> None:
        services.guest(name).publisher.allow_mime(value == ALLOW)

    def screensaver_changed(name: str, value: str) -> None:
        if value == DENY:
            screensaver.release(name)

    policies.watch("mime", mime_changed)
    policies.watch("screensaver", screensaver_changed)
    services = ContainerServices(
        containers,
        private,
        publisher=publisher,
        implementations=calls,
        events=events,
        notifier=notifier,
        status=status,
        started=started,
        ended=ended,
    )
    attachments = Attachments(config[MANAGERS], config[GPU], containers, services, programs.run_from_thread)
    wayland = _wayland_access(config, private, policies)
    sound = SoundBorder(config[SOUND], private, policies, requests)
    ports = PortBorder(containers, policies)
    parts = HostParts(config, containers, policies, services, attachments, wayland, sound, ports, events, notifier)
    return [
        databases,
        containers.discarded,
        notifications,
        screensaver,
        programs,
        desktop,
        copies,
        requests,
        wayland,
        sound,
        ports,
        services,
        HostWatch(HostMenu(data_home), names, defaults, plan_launchers),
        attachments,
        ControlServer(control_socket(), handlers(parts)),
    ]


def _wayland_access(config: Config, private: Path, policies: ContainerPolicies) -> WaylandAccess:
    """The containers' Wayland sockets, which follow the policies."""
    wayland = WaylandAccess(
        *compositor_socket(config[COMPOSITOR]),
        private,
        host_runtime_directory() / "wayland",
        policies.values,
        rules=WaylandRules(config[TITLE_PREFIX], config[WAYLAND_ALLOW], config[WAYLAND_DENY]),
        proxy=suite_program("sommelier", "sommelier_shim"),
    )
    for key in ("wayland", "clipboard"):
        policies.watch(key, lambda name, value: wayland.update(name))
    return wayland


def _emptied(directory: Path) -> Path:
    """Remove what a killed daemon left in the directory, and return the directory.

    :raises GuestlinkError: something there cannot be removed.
    """
    try:
        for path in directory.iterdir():
            path.unlink()
    except OSError as error:
        raise GuestlinkError(
            f"{error.filename or directory} is in the way: {reason(error)}", hint=f"remove {directory}"
        ) from error
    return directory

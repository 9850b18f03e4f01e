"""garcon's parts that work with any host, put together."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from garcon.desktop.application_publisher import ApplicationPublisher
from garcon.desktop.icon_lookup import IconLookup
from garcon.desktop.published_entries import PublishedEntries
from garcon.host.host_connection import HostConnection
from garcon.host.sftp import SftpStream
from garcon.services.chunnels import Chunnels
from garcon.services.disk_space import DiskSpace
from garcon.services.file_watches import FileWatches
from garcon.services.package_owner import PackageOwners, installed_backend
from garcon.services.packagekit import PackageKit
from garcon.services.packages import Packages
from garcon.services.screensaver import ScreensaverService
from garcon.session.failures import ApplicationFailure, FailureWatch
from garcon.session.launcher import Launcher
from garcon.session.programs import Programs
from garcon.session.shells import Shells
from garcon.settings import (
    ICON_THEME,
    SFTP_LIMIT,
    SFTP_SERVER,
    STARTUP_NOTIFY,
    TERMINAL,
    TOKEN_FILE,
    has_handshake,
    vsh_address,
)
from guestlink.address import Address
from guestlink.bus import SessionBus, SystemBus
from guestlink.config import Config
from guestlink.part_stack import PartStack, StartablePart
from guestlink.user_manager import UserManager


@dataclass(frozen=True)
class GarconParts:
    """The parts, for the calls and for the daemon.

    :ivar environ: the session's environment.
    :ivar screensaver: the daemon starts this part after garcon begins to register, so that it closes first.
    :ivar failures: the daemon starts this part after garcon begins to register, and only for a Linux host.
    :ivar sftp: the daemon starts this part together with its own server, before each registration.
    :ivar startable: the parts that the daemon starts when its servers run, and before it registers.
    """

    config: Config
    environ: Mapping[str, str]
    host: HostConnection
    programs: Programs
    publisher: ApplicationPublisher
    entries: PublishedEntries
    launcher: Launcher
    failures: FailureWatch
    icons: IconLookup
    shells: Shells
    sftp: SftpStream
    chunnels: Chunnels
    file_watches: FileWatches
    packages: Packages
    screensaver: ScreensaverService
    startable: tuple[StartablePart, ...]


def make_parts(
    stack: PartStack, config: Config, environ: Mapping[str, str], runtime: Path, host: HostConnection
) -> GarconParts:
    """Make every part and start none.

    The stack closes the bus, the programs, the launcher, the SFTP stream and the chunnels. The daemon adds the
    other parts to the stack when it starts them.

    :param runtime: our private directory.
    """
    bus = stack.add(SessionBus())
    manager = UserManager(bus)
    programs = stack.add(Programs(manager, environ))
    kit, owners = PackageKit(stack.add(SystemBus())), PackageOwners(installed_backend())
    publisher = ApplicationPublisher(environ, host, config[ICON_THEME], owners, kit.is_there)
    entries = PublishedEntries(lambda: publisher.current, lambda: publisher.directories)
    launcher = Launcher(entries, programs, bus, terminal=config[TERMINAL], startup_notify=config[STARTUP_NOTIFY])
    failures = FailureWatch(manager, entries.find, functools.partial(_report, host))
    handshake = functools.partial(has_handshake, config)

    def address(port: int) -> Address:
        return vsh_address(config, host.address, port)

    shells = Shells(programs, runtime, address, config[TOKEN_FILE], handshake)
    sftp = SftpStream(config[SFTP_SERVER], config[SFTP_LIMIT], environ)
    file_watches = FileWatches(
        environ.get("HOME") or os.path.expanduser("~"), lambda path: host.call("FileWatchTriggered", path=path)
    )
    disk_space = DiskSpace(lambda free: host.call("LowDiskSpaceTriggered", free_bytes=free))
    screensaver = ScreensaverService(bus, host.call)
    return GarconParts(
        config=config,
        environ=environ,
        host=host,
        programs=programs,
        publisher=publisher,
        entries=entries,
        launcher=stack.add(launcher),
        failures=failures,
        icons=IconLookup(environ, config[ICON_THEME]),
        shells=shells,
        sftp=stack.add(sftp),
        chunnels=stack.add(Chunnels(address, config[TOKEN_FILE], handshake)),
        file_watches=file_watches,
        packages=stack.add(Packages(kit, owners, host.call)),
        screensaver=screensaver,
        startable=(publisher, shells, file_watches, disk_space),
    )


async def _report(host: HostConnection, failure: ApplicationFailure) -> None:
    await host.call("ReportApplicationFailure", **failure._asdict())

"""The process of ``sommelier -X``: the X display, and the program that starts with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM

from guestlink import __version__, xdg
from guestlink.config import Config
from guestlink.errors import GuestlinkError, report
from guestlink.private_directory import make_runtime_directory
from sommelier_shim import options
from sommelier_shim.channel.unix_socket import SocketChannel
from sommelier_shim.daemon.children import start_program
from sommelier_shim.daemon.display_socket import is_socket
from sommelier_shim.daemon.host_link import HostLink
from sommelier_shim.daemon.loop import Loop
from sommelier_shim.daemon.service import ServiceManager
from sommelier_shim.features.policy.interfaces import GlobalPolicy
from sommelier_shim.xwayland.application_ids import (
    WindowClasses,
    XNaming,
    chromeos_x11_naming,
    forced_naming,
    linux_x11_naming,
)
from sommelier_shim.xwayland.authority import write_authority
from sommelier_shim.xwayland.display import open_display
from sommelier_shim.xwayland.x11_service import X11Service
from sommelier_shim.xwayland.xwayland import XwaylandSettings

_log = logging.getLogger("sommelier")


class X11Proxy:
    """The parts of one process.

    :param asked: the command line and the settings.
    :raises GuestlinkError: the host is nowhere, or no X display can be used.
    """

    def __init__(self, asked: options.Options, environ: Mapping[str, str]) -> None:
        config = asked.config
        self._asked = asked
        self._result = 0
        self._stack = ExitStack()
        path = options.host_path(config, environ, nested=True, is_socket=is_socket)
        try:
            self._loop = Loop()
            self._stack.callback(self._loop.close)
            self._manager = ServiceManager(self._loop, config[options.SD_NOTIFY])
            self._stack.callback(self._manager.close)
            host = HostLink(
                self._loop,
                SocketChannel(path),
                app_id=options.container_name(config),
                use_security_context=config[options.SECURITY_CONTEXT],
                follows_outputs=True,
            )
            self._stack.callback(host.close)
            number = config[options.X_DISPLAY]
            display = open_display(None if number < 0 else number)
            self._stack.callback(display.close)
            policy = GlobalPolicy(config[options.ALLOW], config[options.DENY])
            authority = config[options.X_AUTH]
            if not authority:
                file = Path(make_runtime_directory()) / f"Xauthority-{display.number}"
                write_authority(file, display.number)
                self._stack.callback(file.unlink, missing_ok=True)
                authority = str(file)
            settings = _xwayland(asked, environ, authority)
            identity_property = config[options.APPLICATION_ID_PROPERTY]
            naming = _naming(config, environ, host)
            service = X11Service(
                self._loop,
                display,
                host,
                policy,
                settings,
                naming,
                identity_property,
                config[options.SCALE],
                config[options.DPI],
            )
            self._stack.callback(service.close)
        except BaseException:
            self._stack.close()
            raise
        # No XCURSOR_SIZE: Wayland programs, which read it too, have other units. X programs read RESOURCE_MANAGER.
        self._variables = {"DISPLAY": display.name, "XAUTHORITY": authority}
        self._environ = dict(environ) | self._variables
        self._environ |= {"WAYLAND_DISPLAY": ".", "SOMMELIER_VERSION": __version__}

    def run(self) -> int:
        """Serve until a signal arrives, or until the program has ended; returns the exit status."""
        for number in (SIGTERM, SIGINT, SIGHUP):
            self._loop.on_signals((number,), self._loop.stop)
        variable = self._asked.config[options.PUBLISH]
        if variable:
            self._manager.publish(self._variables, self._published)
        else:
            self._published()
        self._loop.run()
        self._manager.stopping()
        return self._result

    def close(self) -> None:
        """End the program, Xwayland and its clients, and remove the display."""
        self._stack.close()

    def _published(self) -> None:
        if not self._asked.program:
            self._manager.ready()
            return
        try:
            child = start_program(self._loop, self._asked.program, self._environ, self._program_ended)
        except GuestlinkError as error:
            report("sommelier", error)
            self._result = error.exit_code
            self._loop.stop()
        else:
            self._stack.callback(child.close)

    def _program_ended(self, status: int) -> None:
        if self._asked.exits_with_program:
            self._result = status
            self._loop.stop()
            return
        if status:
            _log.warning("%s failed with status %d", self._asked.program[0], status)
        self._manager.ready()


def _naming(config: Config, environ: Mapping[str, str], host: HostLink) -> XNaming:
    """The naming for the host, which has listed its globals before there is a window."""
    if app_id := config[options.APPLICATION_ID]:
        return forced_naming(app_id)
    on_chromeos = chromeos_x11_naming(options.virtual_machine(config))
    classes = WindowClasses([xdg.data_home(environ), *xdg.data_dirs(environ)])
    elsewhere = linux_x11_naming(options.container_name(config), classes)
    return lambda identity: on_chromeos(identity) if host.is_chromeos else elsewhere(identity)


def _xwayland(asked: options.Options, environ: Mapping[str, str], authority: str) -> XwaylandSettings:
    config = asked.config
    switches = ["-auth", authority, *([] if config[options.GLAMOR] else ["-shm"])]
    if config[options.X_FONT_PATH]:
        switches += ["-fp", config[options.X_FONT_PATH]]
    variables = dict(environ)
    if config[options.XWAYLAND_GL_DRIVER_PATH]:
        variables["LIBGL_DRIVERS_PATH"] = config[options.XWAYLAND_GL_DRIVER_PATH]
    program = (*config[options.XWAYLAND_CMD_PREFIX], config[options.XWAYLAND_PATH])
    return XwaylandSettings(program, tuple(switches), variables)

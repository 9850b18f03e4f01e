"""``sommelier``: runs the proxy as a service, for one program, or for one connection."""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from guestlink import __version__
from guestlink.errors import GuestlinkError, report, run_command
from guestlink.logs import setup_logging
from guestlink.private_directory import make_runtime_directory
from guestlink.sockets import PeerPolicy, activated_sockets
from sommelier_shim import options
from sommelier_shim.channel.unix_socket import SocketChannel
from sommelier_shim.daemon.children import RunningProgram, start_program
from sommelier_shim.daemon.connectors import Connectors, connect_directly
from sommelier_shim.daemon.display_socket import DisplaySocket, is_socket
from sommelier_shim.daemon.host_link import HostLink
from sommelier_shim.daemon.log_limit import LogLimit
from sommelier_shim.daemon.loop import READABLE, Loop, Timer
from sommelier_shim.daemon.proxy import Proxy
from sommelier_shim.daemon.proxy_server import (
    CLIENT_LIMIT,
    CONTAINER_CLIENT_LIMIT,
    ProxyServer,
    limit_memory,
    raise_descriptor_limit,
)
from sommelier_shim.daemon.service import ServiceManager
from sommelier_shim.daemon.status import StatusServer

if TYPE_CHECKING:
    from sommelier_shim.daemon.wrapper import Wrapper

_log = logging.getLogger("sommelier")

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sommelier``.

    :param argv: arguments; ``sys.argv[1:]`` by default.
    :returns: 0, or the exit status of the program; 1 after an error message if the proxy cannot start.
    """
    return run_command("sommelier", _main, argv)


def _main(argv: list[str]) -> int:
    asked = options.parse(argv)
    if asked.help:
        print(options.help_text())
        return 0
    if asked.version:
        print(f"Version: {__version__}")
        return 0
    setup_logging("sommelier", asked.config[options.LOG_LEVEL])
    for warning in asked.warnings:
        _log.warning("%s", warning)
    if asked.x11:
        return _serve_x11(asked)
    if not (asked.parent or asked.program or asked.client_fd >= 0):
        raise GuestlinkError("nothing to do", hint="give a program to run, or --parent to serve a socket")
    raise_descriptor_limit()
    if asked.for_container:
        limit_memory()
        logging.getLogger().handlers[0].addFilter(LogLimit())  # standard error
    application = _Application(asked, os.environ)
    try:
        return application.run()
    finally:
        application.close()


def _serve_x11(asked: options.Options) -> int:
    from sommelier_shim.xwayland.x11_proxy import X11Proxy  # imported late: only the X11 unit uses it

    raise_descriptor_limit()
    proxy = X11Proxy(asked, os.environ)
    try:
        return proxy.run()
    finally:
        proxy.close()


class _Application:
    """The parts of one proxy process."""

    def __init__(self, asked: options.Options, environ: Mapping[str, str]) -> None:
        config = asked.config
        path = options.host_path(config, environ, nested=not asked.parent, is_socket=is_socket)
        own = asked.parent and asked.listen_fd < 0
        if own and path == options.socket_path(config[options.SOCKET], environ):
            raise GuestlinkError(
                f"{path} cannot be both the host's socket and our own", hint="choose another name with --socket"
            )
        self._asked = asked
        self._environ = environ
        self._loop = Loop()
        self._path = path
        on_host = bool(asked.for_container)
        self._proxy = Proxy(config, environ, on_host=on_host)
        self._host = HostLink(
            self._loop,
            SocketChannel(path),
            app_id=options.container_name(config) or socket.gethostname(),
            use_security_context=config[options.SECURITY_CONTEXT],
            follows_outputs=self._proxy.follows_outputs,
            on_change=self._host_changed,
        )
        self._connectors = Connectors(self._loop)
        connect = self._connectors.connect if asked.client_fd < 0 else connect_directly
        # Who may reach a container's socket is decided by the directory in which the caller has put it.
        self._server = ProxyServer(
            self._loop,
            self._host,
            self._proxy.routes,
            self._proxy.failed,
            connect,
            allowed=PeerPolicy() if on_host else None,
            limit=CONTAINER_CLIENT_LIMIT if on_host else CLIENT_LIMIT,
        )
        self._trouble: str | None = None
        self._manager = ServiceManager(self._loop, config[options.SD_NOTIFY])
        self._status: StatusServer | None = None
        self._own_socket: DisplaySocket | None = None
        self._child: RunningProgram | None = None
        self._wrapper: Wrapper | None = None
        self._idle: Timer | None = None
        self._result = 0

    def run(self) -> int:
        """Serve until a signal arrives, or until the program or the connection has ended.

        :returns: the exit status.
        """
        for number in _SIGNALS:
            self._loop.on_signals((number,), partial(self._signalled, number))
        if self._asked.lifeline_fd >= 0:
            os.set_inheritable(self._asked.lifeline_fd, False)
            self._loop.add(self._asked.lifeline_fd, READABLE, lambda _: self._drain())
        if self._asked.client_fd >= 0:
            self._server.serve(_adopted(self._asked.client_fd, "connected", "--client-fd"), self._loop.stop)
        elif self._asked.parent:
            self._start_parent()
        else:
            from sommelier_shim.daemon.wrapper import Wrapper  # imported late: a service does not use it

            words, single = self._asked.program, self._asked.config[options.WAYLAND_SOCKET]
            self._wrapper = Wrapper(
                self._loop, self._server, words, self._environ, self._wrapper_ended, single=single
            )
        gc.freeze()  # the tables live as long as the process: the garbage collector can skip them
        self._loop.run()
        self._manager.stopping()
        return self._result

    def close(self) -> None:
        """Close everything and remove the proxy's files."""
        if self._child is not None:
            self._child.close()
        if self._wrapper is not None:
            self._wrapper.close()
        self._server.close()
        self._connectors.close()
        self._host.close()
        if self._status is not None:
            self._status.close()
        if self._own_socket is not None:
            self._own_socket.close()
        self._manager.close()
        self._loop.close()

    # -- a service -----------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """The process that has started this one ends the lifeline: serve only the present clients, then exit."""
        self._loop.remove(self._asked.lifeline_fd)
        self._server.stop_listening()
        if self._server.is_empty:
            self._loop.stop()
        else:
            self._server.when_empty = self._loop.stop

    def _became_idle(self) -> None:
        """Exit after a while without clients; clients that wait at the socket are the next process's."""
        if self._idle is not None:
            self._idle.cancel()
        if self._asked.idle_time < math.inf:
            self._idle = self._loop.call_later(self._asked.idle_time, self._exit_if_idle)

    def _exit_if_idle(self) -> None:
        if self._server.is_empty:
            self._loop.stop()

    def _start_parent(self) -> None:
        if self._asked.listen_fd >= 0:
            listener = _adopted(self._asked.listen_fd, "listening", "--listen-fd")
            listener.setblocking(False)
            self._server.listen(listener)
            self._server.when_empty = self._became_idle
            self._became_idle()
            self._manager.ready()
            return
        name = self._asked.config[options.SOCKET]
        activated = list(activated_sockets().values())
        path = options.socket_path(name, self._environ)
        for listener in activated or [self._listen(path)]:
            self._server.listen(listener)
        file = f"sommelier-{name.removeprefix('wayland-')}.sock".replace("/", "-")
        status = f"{make_runtime_directory()}/{file}"
        self._status = StatusServer(self._loop, status, {"status": self._describe})
        self._look()
        variable = self._asked.config[options.PUBLISH]
        if variable:
            self._manager.publish({variable: name, "SOMMELIER_VERSION": __version__}, self._published)
        else:
            self._published()

    def _published(self) -> None:
        """The variables are published: start the program, or notify readiness."""
        if self._asked.program:
            environ = dict(self._environ)
            environ |= {"WAYLAND_DISPLAY": self._asked.config[options.SOCKET], "SOMMELIER_VERSION": __version__}
            try:
                ended = self._program_of_parent_ended
                self._child = start_program(self._loop, self._asked.program, environ, ended)
            except GuestlinkError as error:
                report("sommelier", error)
                self._result = error.exit_code
                self._loop.stop()
        else:
            self._manager.ready()

    def _look(self) -> None:
        """Connect to the host, if the proxy is not connected; :meth:`_host_changed` gets the result."""
        self._host.when_known(lambda trouble: None)

    def _host_changed(self, trouble: str) -> None:
        if not self._asked.parent or trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            # Not fatal: the compositor may start later, and each client triggers another attempt.
            _log.warning("%s", trouble)
            self._manager.status(f"waiting for the host: {trouble}")
        else:
            self._server.prepare()
            kind = "ChromeOS" if self._host.is_chromeos else "a Wayland compositor"
            self._manager.status(f"the host at {self._path} is {kind}")

    def _listen(self, path: str) -> socket.socket:
        self._own_socket = DisplaySocket(path)
        return self._own_socket.listener

    def _program_of_parent_ended(self, status: int) -> None:
        if status == 0:
            self._manager.ready()
            return
        _log.error("%s failed with status %d", self._asked.program[0], status)
        self._result = status
        self._loop.stop()

    def _describe(self) -> dict[str, Any]:
        if not self._host.is_known:
            self._look()  # for the next status call: the host may be back, and no client has connected since
        return {
            "version": __version__,
            "socket": self._asked.config[options.SOCKET],
            "host": self._path,
            "host_known": self._host.is_known,
            "host_asked": self._host.is_asked,
            "chromeos": self._host.is_chromeos,
            "sandboxed": self._host.is_sandboxed,
            "why": options.why_proxy(self._asked.config),
            "scale": self._asked.config[options.SCALE],
            "direct_scale": self._asked.config[options.DIRECT_SCALE],
            "served": self._server.served,
            "failures": self._server.failures,
            "limits": [limit._asdict() for limit in self._proxy.limits],
            "globals": [
                {"interface": interface, "version": version, "hidden": self._reason_hidden(interface)}
                for interface, version in sorted(set(self._host.globals.values()))
            ],
            "clients": [client._asdict() for client in self._server.clients],
        }

    def _reason_hidden(self, interface: str) -> str:
        reason = self._proxy.policy.reason_hidden(interface)
        return reason or ("kept from sandboxed clients by the host" if self._host.hides(interface) else "")

    # -- one program ---------------------------------------------------------------------------------------------

    def _signalled(self, number: int) -> None:
        if self._wrapper is None:
            self._loop.stop()
        else:
            self._wrapper.signalled(number)

    def _wrapper_ended(self, status: int) -> None:
        self._result = status
        self._loop.stop()


def _adopted(descriptor: int, kind: str, switch: str) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise GuestlinkError(
            f"descriptor {descriptor} is not a socket", hint=f"pass a {kind} Unix socket with {switch}"
        ) from error
    os.set_inheritable(descriptor, False)
    return sock


if __name__ == "__main__":
    sys.exit(main())

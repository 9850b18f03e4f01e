"""Entry point of ``vshd``."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable

from guestlink.address import CID_HOST, Address, TcpAddress, UnixAddress
from guestlink.authentication import authenticate, preload, set_tcp_options
from guestlink.errors import GuestlinkError, run_command
from guestlink.handshake import ListenerHandshake, Purpose
from guestlink.logs import setup_logging
from guestlink.notify_socket import NotifySocket
from guestlink.sockets import PeerPolicy, activated_sockets, listen, same_user
from guestlink.token import read_token
from vshd.arguments import USAGE, Arguments, parse_arguments
from vshd.fork_server import ForkServer
from vshd.garcon_requests import dial, serve_request
from vshd.rehearsal import rehearse
from vshd.session_defaults import SessionDefaults
from vshd.shell_session import ShellSession
from vshd.waiting_child import WaitingChild

_log = logging.getLogger(__name__)

_BACKLOG = 1024
"""Connections that may wait for a fork."""


def main() -> int:
    """Run vshd."""
    return run_command("vshd", _run)


def _run(argv: list[str]) -> int:
    inherited = dict(os.environb)
    sockets = list(activated_sockets().values())
    arguments = parse_arguments(argv, activated=bool(sockets))
    if arguments.help:
        return _help(arguments.help)
    setup_logging("vshd", arguments.log_level)
    _keep_descriptors()
    defaults = SessionDefaults(
        inherited if arguments.inherit else None, False, arguments.default_user, arguments.may_switch
    )
    if arguments.connect is not None:
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        gc.freeze()  # Collections in the session skip the objects that exist now.
        sock = dial(arguments.connect, arguments.token_file, handshake=arguments.handshake)
        ShellSession(sock, defaults).run()
        return 0
    if arguments.standby:
        return _serve_garcon(arguments)
    if arguments.listen is not None:
        if arguments.handshake or isinstance(arguments.listen, TcpAddress):
            read_token(arguments.token_file)  # raises: without the token vshd would refuse every connection
        sockets.append(listen(arguments.listen, backlog=_BACKLOG))
    return _serve_host(sockets, arguments, defaults)


def _keep_descriptors() -> None:
    """Mark the descriptors that we inherited, so that no program of a session inherits them."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):  # the directory's own descriptor is closed
                os.set_inheritable(int(name), False)


def _serve_host(listeners: list[socket.socket], arguments: Arguments, defaults: SessionDefaults) -> int:
    policy = PeerPolicy(uids=same_user().uids, cids=frozenset({CID_HOST}))

    def serve(connection: socket.socket, child: WaitingChild | None, begun: Callable[[], None]) -> int:
        try:
            set_tcp_options(connection)
            if arguments.handshake or connection.family in (socket.AF_INET, socket.AF_INET6):
                authenticate(connection, ListenerHandshake(read_token(arguments.token_file), (Purpose.VSHD,)))
        except (GuestlinkError, OSError) as error:
            # Every user of the machine can connect, again and again, so this is no warning.
            _log.debug("refused a connection: %s", error)
            return 1
        ShellSession(connection, defaults, child, begun).run()
        return 0

    if arguments.handshake or any(listener.family in (socket.AF_INET, socket.AF_INET6) for listener in listeners):
        preload()
    NotifySocket().send("READY=1")
    ForkServer(
        listeners,
        policy.refusal,
        serve,
        leaves_sessions=arguments.listen is None,
        rehearse=lambda: rehearse(defaults),
    ).run()
    _remove(arguments.listen)
    return 0


def _serve_garcon(arguments: Arguments) -> int:
    if arguments.handshake:
        preload()
    address = UnixAddress(arguments.standby)
    policy = same_user()

    def serve(connection: socket.socket, child: WaitingChild | None, begun: Callable[[], None]) -> int:
        return serve_request(connection, arguments.default_user, arguments.may_switch, child, begun)

    until = os.pidfd_open(arguments.until) if arguments.until else -1
    defaults = SessionDefaults({}, True, arguments.default_user, arguments.may_switch)
    ForkServer(
        [listen(address, backlog=_BACKLOG)], policy.refusal, serve, until, rehearse=lambda: rehearse(defaults)
    ).run()
    _remove(address)
    return 0


def _remove(address: Address | None) -> None:
    """Remove the file of a Unix socket; other addresses have none."""
    if isinstance(address, UnixAddress):
        try:
            os.unlink(address.path)
        except OSError:
            pass


def _help(switch: str) -> int:
    if switch == "--version":
        from guestlink import __version__

        print(f"vshd (Guestlink) {__version__}")
    else:
        print(USAGE, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())

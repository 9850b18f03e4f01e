"""The garcon daemon: starts garcon's parts, servers first, and closes them (chromeos-garcon.md §2.2)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

from garcon.calls import implementations
from garcon.calls.commands import CommandCalls
from garcon.host.garcon_server import GarconServer
from garcon.host.host_calls import CallsAtAddress, HostCalls, calls_parked_at, calls_parked_with_proof
from garcon.host.host_connection import HostConnection
from garcon.host.host_dialer import host_dialer
from garcon.host.host_search import wait_for_host
from garcon.host.listener_client import ListenerClient
from garcon.host.network import AddressWatch
from garcon.host.registrar import Registrar
from garcon.host.sftp import SftpStream
from garcon.host.token_watch import TokenWatch
from garcon.parts import make_parts
from garcon.session.early_end import OUTCOME_TIME
from garcon.session.login_shell import LoginShell, with_login_variables
from garcon.session.profiles import Profiles
from garcon.settings import LOG_LEVEL, LOGIN_SHELL, TOKEN_FILE, garcon_address, has_handshake, load_settings
from guestlink.address import Address, UnixAddress, VsockAddress, is_chromeos
from guestlink.config import Config
from guestlink.control import ControlServer
from guestlink.errors import GuestlinkError, report
from guestlink.logs import setup_logging
from guestlink.part_stack import PartStack
from guestlink.paths import runtime_dir
from guestlink.service import Notifier, leave, run

_log = logging.getLogger(__name__)

_UNIT_VARIABLES = ("INVOCATION_ID", "JOURNAL_STREAM", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
"""Variables that systemd sets for garcon's unit alone (systemd.exec(5)); launched programs must not get them."""
_DESKTOP_UID = 1000
"""The uid that ChromeOS's host expects (chromeos-garcon.md §2.2)."""


def main(argv: Sequence[str]) -> NoReturn:
    """Run ``garcon --server`` and end the process with its status.

    :param argv: switches of ChromeOS's garcon; unknown ones are reported and ignored.
    """
    environ = {name: value for name, value in os.environ.items() if name not in _UNIT_VARIABLES}
    try:
        switches = _parse(argv)
        config = load_settings(environ, **switches)
        setup_logging("garcon", config[LOG_LEVEL])
        for warning in config.warnings:
            _log.warning("%s", warning)
        if os.getuid() != _DESKTOP_UID and "--allow_any_user" not in argv:
            raise GuestlinkError(
                f"garcon serves the user with uid {_DESKTOP_UID}, and this is uid {os.getuid()}",
                hint=f"run garcon as the user with uid {_DESKTOP_UID}, or with --allow_any_user",
            )
        shell = LoginShell(environ) if config[LOGIN_SHELL] else None
        status = run(Daemon(config, environ, shell).run)
    except GuestlinkError as error:
        report("garcon", error)
        status = error.exit_code if error.exit_code != 1 else 255
    except Exception:
        _log.critical("internal error; exiting", exc_info=True)
        status = 255
    leave(status)


def _parse(argv: Sequence[str]) -> dict[str, str | None]:
    switches: dict[str, str | None] = {}
    words = iter(argv)
    for word in words:
        if word == "--no_startup_notify":
            switches["startup_notify"] = "no"
        elif word.partition("=")[0] == "--log-level":
            switches["log_level"] = word.partition("=")[2] or next(words, "")
        elif word not in ("--server", "--allow_any_user"):
            error = GuestlinkError(f"ignoring the unknown switch {word!r}", hint="garcon --help lists the switches")
            report("garcon", error)
    return switches


class Daemon:
    """One garcon process.

    :param config: garcon's settings.
    :param environ: the session's environment.
    :param shell: adds the directories of the user's login shell to PATH and XDG_DATA_DIRS; ``None`` adds none.
    """

    def __init__(self, config: Config, environ: Mapping[str, str], shell: LoginShell | None = None) -> None:
        self._config = config
        self._environ = environ
        self._shell = shell

    async def run(self, notifier: Notifier) -> None:
        """Serve until cancelled."""
        config, environ = self._config, await self._complete_environ()
        runtime = runtime_dir(environ=environ)

        def status(sentence: str) -> None:
            notifier.status(sentence)
            _log.info("%s", sentence)

        connection = HostConnection(status)

        def no_host(sentence: str) -> None:
            connection.absent(sentence)
            notifier.ready()

        async with PartStack() as stack:
            parts = make_parts(stack, config, environ, runtime, connection)
            # The control socket first: a second garcon fails here, because the socket has a listener.
            control = await stack.start(ControlServer(runtime / "garcon.sock", CommandCalls(parts).handlers))
            host = await wait_for_host(config, no_host)

            def registered() -> None:
                parts.publisher.publish_everything()
                if not is_chromeos(host):
                    parts.screensaver.registered()

            if not is_chromeos(host):
                # ChromeOS gets the response as soon as the program runs, and takes no report of a later failure.
                parts.launcher.report_failures(parts.failures, OUTCOME_TIME)
            server = stack.add(GarconServer(implementations(parts), runtime))
            calls = stack.add(_host_calls(config, server, parts.sftp, host))
            if isinstance(calls, CallsAtAddress):
                await calls.serve()  # An address that cannot be served ends garcon with one sentence.
            dialer = host_dialer(host, config[TOKEN_FILE], runtime, handshake=has_handshake(config, host))
            client = ListenerClient(
                host,
                config[TOKEN_FILE],
                serve=calls.serve,
                dialer=stack.add(dialer),
                pending_count=lambda: parts.publisher.pending_count,
                on_registered=registered,
                on_change=connection.changed,
            )
            connection.found(host, client)
            await stack.start(TokenWatch(config[TOKEN_FILE], client.token_changed))
            await stack.start(AddressWatch(client.register_again))
            for part in parts.startable:
                await stack.start(part)
            if self._shell is not None:
                await stack.start(Profiles(self._environ, environ, parts.publisher.environ_changed))
            notifier.ready()
            await stack.start(Registrar(client, needs_address=isinstance(host, VsockAddress)))
            await stack.start(parts.screensaver)
            if not is_chromeos(host):
                await stack.start(parts.failures)
            stack.add(control)  # Closed first: a command that finds no listener waits for the next garcon.
            await asyncio.Event().wait()

    async def _complete_environ(self) -> dict[str, str]:
        """The session's environment with what the user's profiles add."""
        if self._shell is None:
            return dict(self._environ)
        return with_login_variables(self._environ, await asyncio.to_thread(self._shell.variables))


def _host_calls(config: Config, server: GarconServer, sftp: SftpStream, host: Address) -> HostCalls:
    if (address := garcon_address(config, host)) is not None:
        return CallsAtAddress(server, sftp, address, host)
    if isinstance(host, UnixAddress):
        return calls_parked_at(server, sftp, host)
    return calls_parked_with_proof(server, sftp, host, config[TOKEN_FILE])

"""The garcon daemon: starts and closes garcon's parts, servers first (chromeos-garcon.md §2.2)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from garcon.early_end import OUTCOME_TIME
from garcon.entries import PublishedEntries
from garcon.failures import ApplicationFailure, FailureWatch
from garcon.garcon_server import GarconServer
from garcon.host_dial import HostDial
from garcon.host_link import CALL_TIMEOUT, HostLink, HostUnavailable
from garcon.icon_lookup import IconLookup
from garcon.launcher import Launcher
from garcon.login_shell import LoginShell, with_login_variables
from garcon.network import AddressWatch, wait_for_address
from garcon.profiles import Profiles
from garcon.programs import Programs
from garcon.publisher import Publisher
from garcon.service import GarconService
from garcon.session_bus import SessionBus
from garcon.settings import (
    ICON_THEME,
    LOG_LEVEL,
    LOGIN_SHELL,
    SFTP_LIMIT,
    SFTP_SERVER,
    STARTUP_NOTIFY,
    TERMINAL,
    TOKEN_FILE,
    NoHost,
    garcon_address,
    host_address,
    load_settings,
    vsh_address,
)
from garcon.sftp import SftpStream, sftp_address
from garcon.shells import Shells
from garcon.user_manager import UserManager
from garcon.watch import DirectoryWatch
from guestlink import __version__
from guestlink.address import CID_HOST, Address, VsockAddress
from guestlink.config import Config
from guestlink.control import ControlServer
from guestlink.errors import GuestlinkError, report
from guestlink.logs import recent_messages, setup_logging
from guestlink.paths import runtime_dir
from guestlink.process import run
from guestlink.program import CommandFailed
from guestlink.service import Notifier, leave, run_daemon
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

_ADDRESS_TIMEOUT = 30.0
"""Seconds to wait for an address on eth0 before ContainerReady on ChromeOS (chromeos-garcon.md §7.4)."""
_START_TIME = 5.0
"""Seconds that a command waits for the first registration after garcon's start."""
_STATE_ATTEMPTS = 3
"""Attempts at ``systemctl is-system-running``, which systemd may kill with the other processes of a service."""
_NO_HOST_DELAY = 2.0
"""Seconds between two polls for a host while none is configured or found."""
_STATE_TIMEOUT = 5.0
"""Seconds for one ``systemctl is-system-running``; systemd is busy during a shutdown."""
_PRIVATE_VARIABLES = (
    "GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS",
    "GRPC_VERBOSITY",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
)
_DESKTOP_UID = 1000
"""The uid that ChromeOS's host expects (chromeos-garcon.md §2.2)."""


def main(argv: Sequence[str]) -> NoReturn:
    """Run ``garcon --server`` and end the process with its status.

    :param argv: switches of ChromeOS's garcon; unknown ones are reported and ignored.
    """
    environ = _own_environ()
    try:
        switches = _parse(argv)
        config = load_settings(environ, **switches)
        setup_logging("garcon", config[LOG_LEVEL])
        for warning in config.warnings:
            _log.warning("%s", warning)
        if os.getuid() != _DESKTOP_UID and "--allow_any_user" not in argv:
            raise GuestlinkError(
                f"garcon serves the user with uid {_DESKTOP_UID}, and this is uid {os.getuid()}",
                hint="run it as that user, or with --allow_any_user",
            )
        shell = LoginShell(environ) if config[LOGIN_SHELL] else None
        status = asyncio.run(run_daemon(Daemon(config, environ, shell).run))
    except GuestlinkError as error:
        report("garcon", error)
        status = error.exit_code if error.exit_code != 1 else 255
    except Exception:
        _log.critical("an error of garcon's own ends it", exc_info=True)
        status = 255
    leave(status)


def _own_environ() -> dict[str, str]:
    """``os.environ`` without the variables that systemd sets for this unit alone and that gRPC's library reads."""
    environ = dict(os.environ)
    for name in _PRIVATE_VARIABLES:
        environ.pop(name, None)
    return environ


def _parse(argv: Sequence[str]) -> dict[str, str | None]:
    switches: dict[str, str | None] = {}
    words = iter(argv)
    for word in words:
        if word == "--no_startup_notify":
            switches["startup_notify"] = "no"
        elif word.partition("=")[0] == "--log-level":
            switches["log_level"] = word.partition("=")[2] or next(words, "")
        elif word not in ("--server", "--allow_any_user"):
            report("garcon", GuestlinkError(f"there is no switch {word!r}; it is passed over"))
    return switches


class Daemon:
    """The parts of one garcon process.

    :param config: garcon's settings.
    :param environ: the session's environment.
    :param shell: adds the directories of the user's login shell to PATH and XDG_DATA_DIRS; ``None`` adds none.
    """

    def __init__(self, config: Config, environ: Mapping[str, str], shell: LoginShell | None = None) -> None:
        self._config = config
        self._environ = environ
        self._shell = shell
        self._host: Address | None = None
        self._link: HostLink | None = None
        self._sentence = "starting"
        self._host_known = asyncio.Event()

    async def run(self, notifier: Notifier) -> None:
        """Serve until cancelled."""
        self._notifier = notifier
        session, environ = self._environ, dict(self._environ)
        if self._shell is not None:
            login = await asyncio.to_thread(self._shell.variables)
            environ = with_login_variables(session, login)
        self._environ = environ
        runtime = runtime_dir(environ=self._environ)
        tasks = TaskOwner("garcon")
        bus = SessionBus()
        manager = UserManager(bus)
        programs = self._programs = Programs(manager, self._environ)
        publisher = self._publisher = Publisher(self._environ, self._config[ICON_THEME])
        entries = PublishedEntries(lambda: publisher.current, lambda: publisher.directories)
        profiles = Profiles(session, environ, publisher.environ_changed)
        launcher = Launcher(
            entries,
            programs,
            bus,
            terminal=self._config[TERMINAL],
            startup_notify=self._config[STARTUP_NOTIFY],
        )
        failures = FailureWatch(manager, self._report_failure)
        sftp = SftpStream(
            self._config[SFTP_SERVER], self._config[SFTP_LIMIT], self._config[TOKEN_FILE], self._environ
        )
        shells = Shells(programs, runtime, self._vsh_address, self._config[TOKEN_FILE])
        service = GarconService(
            launcher=launcher,
            entries=entries,
            icons=IconLookup(self._environ, self._config[ICON_THEME]),
            shells=shells,
            environ=self._environ,
            sftp_port=lambda: sftp.port,
        )
        server = GarconServer(service, runtime)
        dial: HostDial | None = None
        control = ControlServer(runtime / "garcon.sock", self._handlers())
        token_watch = DirectoryWatch()
        address_watch: AddressWatch | None = None
        try:
            # The control socket first: a second garcon fails here, because the socket has a listener.
            await control.start()
            host = self._host = await self._await_host()
            is_chromeos = isinstance(host, VsockAddress) and host.cid == CID_HOST
            if not is_chromeos:
                # ChromeOS gets the response as soon as the program runs, and takes no report of a later failure.
                launcher.outcome_time, launcher.failures = OUTCOME_TIME, failures
            dial = HostDial(host, runtime)
            address = garcon_address(self._config, host)

            cid = host.cid if isinstance(host, VsockAddress) else CID_HOST

            async def serve() -> tuple[int, int]:
                return await server.start(address, cid), sftp.start(sftp_address(address), cid)

            await serve()
            link = self._link = HostLink(
                host,
                self._config[TOKEN_FILE],
                serve=serve,
                dial=dial.dial,
                probe=dial.probe,
                pending_count=lambda: publisher.pending_count,
                on_registered=publisher.publish_everything,
                on_change=self._changed,
            )
            self._host_known.set()
            token_watch.add(os.path.abspath(self._config[TOKEN_FILE]), link.token_changed)
            token_watch.start()
            publisher.start(link)
            if self._shell is not None:
                profiles.start()
            address_watch = AddressWatch(link.announce_again)
            address_watch.start()
            notifier.ready()
            shells.start()
            tasks.start(self._register(link, host), name="registration")
            if not is_chromeos:
                tasks.start(failures.resume(entries.find), name="watch running applications")
            await asyncio.Event().wait()
        finally:
            await control.close()  # First: a command that finds no listener waits for the next garcon.
            await self._tell_shutdown()
            if address_watch is not None:
                address_watch.close()
            await tasks.close()
            await shells.close()
            await profiles.close()
            await publisher.close()
            await token_watch.close()
            await sftp.close()
            await server.close()
            await launcher.close()
            await failures.close()
            if dial is not None:
                await dial.close()
            await bus.close()
            programs.close()

    async def _await_host(self) -> Address:
        """The host's address. While there is no host, poll for one, because a host may be attached later."""
        while True:
            try:
                return host_address(self._config)
            except NoHost as error:
                self._changed(error.message)
                self._host_known.set()
                self._notifier.ready()
            while not self._host_shows():
                await asyncio.sleep(_NO_HOST_DELAY)
            # A host mounts the token and its directory one after another, and the token alone looks like ChromeOS.
            await asyncio.sleep(_NO_HOST_DELAY)

    def _host_shows(self) -> bool:
        with contextlib.suppress(NoHost):
            return bool(host_address(self._config))
        return False

    def _vsh_address(self, port: int) -> Address:
        assert self._host is not None
        return vsh_address(self._config, self._host, port)

    async def _register(self, link: HostLink, host: Address) -> None:
        if isinstance(host, VsockAddress):
            await wait_for_address(_ADDRESS_TIMEOUT)
        await link.run()

    async def _report_failure(self, failure: ApplicationFailure) -> None:
        if self._link is not None:
            await self._link.call("ReportApplicationFailure", **failure._asdict())

    async def _tell_shutdown(self) -> None:
        """Send ContainerShutdown, but only if the container stops: the call voids the token
        (chromeos-garcon.md §2.3)."""
        link = self._link
        if link is not None and link.registration.registered and await system_is_stopping():
            await link.shut_down()

    def _changed(self, sentence: str) -> None:
        if sentence == self._sentence:
            return
        self._sentence = sentence
        self._notifier.status(sentence)
        _log.info("%s", sentence)

    def _handlers(self) -> dict[str, Any]:
        return {
            "status": self._do_status,
            "apps": self._do_apps,
            "log": self._do_log,
            "open_url": self._do_open_url,
            "open_terminal": self._do_open_terminal,
            "select_file": self._do_select_file,
            "report_metrics": self._do_report_metrics,
            "shader_cache": self._do_shader_cache,
        }

    async def _do_status(self, fields: dict[str, Any]) -> dict[str, Any]:
        registration = self._link.registration if self._link is not None else None
        return {
            "version": __version__,
            "sentence": self._sentence,
            "registered": registration is not None and registration.registered,
            "phase": registration.phase.value if registration is not None else "no host",
            "host": str(self._host or ""),
            "registrations": registration.registrations if registration is not None else 0,
            "detached_programs": self._programs.detached,
            "applications": len(self._publisher.current.applications),
            "warnings": [*self._config.warnings, *filter(None, [self._publisher.left_out])],
        }

    async def _do_log(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"lines": recent_messages()}

    async def _do_apps(self, fields: dict[str, Any]) -> dict[str, Any]:
        await self._publisher.rescan()
        return {
            "applications": [
                {
                    "id": application.desktop_file_id,
                    "name": application.entry.name,
                    "path": application.path,
                    "exec": application.entry.exec,
                    "no_display": application.entry.no_display,
                    "terminal": application.entry.terminal,
                }
                for application in self._publisher.current.applications
            ]
        }

    async def _ask_host(self, method: str, timeout: float | None = CALL_TIMEOUT, **fields: Any) -> Any:
        with contextlib.suppress(TimeoutError):  # During garcon's start a command waits, too.
            async with asyncio.timeout(_START_TIME):
                await self._host_known.wait()
                if self._link is not None:
                    await self._link.first_attempt()
        if self._link is None:
            raise HostUnavailable(
                f"the host cannot be asked now: {self._sentence}", hint="`guestlink doctor` says what to do"
            )
        return await self._link.call(method, timeout, **fields)

    async def _do_open_url(self, fields: dict[str, Any]) -> dict[str, Any]:
        await self._ask_host("OpenUrl", url=_text(fields, "url"))
        return {}

    async def _do_open_terminal(self, fields: dict[str, Any]) -> dict[str, Any]:
        params = fields.get("params", [])
        if not isinstance(params, list) or not all(isinstance(word, str) for word in params):
            raise GuestlinkError("a terminal's command is a list of words")
        await self._ask_host("OpenTerminal", params=[_valid(word) for word in params])
        return {}

    async def _do_select_file(self, fields: dict[str, Any]) -> dict[str, Any]:
        names = ("type", "title", "default_path", "allowed_extensions")
        answer = await self._ask_host("SelectFile", None, **{name: _text(fields, name) for name in names})
        return {"files": list(answer.files)}

    async def _do_report_metrics(self, fields: dict[str, Any]) -> dict[str, Any]:
        from guestlink.pb import container_host_pb2

        # The command's values are unsigned and the field is signed: ChromeOS's garcon copies the bits
        # (chromeos-garcon.md §1.8).
        metrics = [
            container_host_pb2.Metric(name=name, value=value if value < 1 << 63 else value - (1 << 64))
            for name, value in fields.get("metrics", [])
        ]
        answer = await self._ask_host("ReportMetrics", metric=metrics)
        return {"error": answer.error}

    async def _do_shader_cache(self, fields: dict[str, Any]) -> dict[str, Any]:
        app_id, mount, wait = int(fields["app_id"]), bool(fields["mount"]), bool(fields["wait"])
        timeout = None if wait else 60.0
        match fields["verb"]:
            case "install":
                await self._ask_host("InstallShaderCache", timeout, steam_app_id=app_id, mount=mount, wait=wait)
            case "unmount":
                await self._ask_host("UnmountShaderCache", timeout, steam_app_id=app_id, wait=wait)
            case _:
                await self._ask_host("UninstallShaderCache", timeout, steam_app_id=app_id)
        return {}


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise GuestlinkError(f"{name} is not a text")
    return _valid(value)


def _valid(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise GuestlinkError(f"{text!r} is not UTF-8, and the host takes nothing else") from error
    return text


async def system_is_stopping() -> bool:
    """Whether the whole container shuts down, not only this service."""
    try:
        for _ in range(_STATE_ATTEMPTS):
            answer = await run(["systemctl", "is-system-running"], timeout=_STATE_TIMEOUT)
            if answer.status >= 0:
                break
            # To stop a service, systemd signals all its processes, and so may kill this systemctl.
    except CommandFailed as error:
        _log.warning("whether the container stops is not known: %s", error)
        return False
    _log.debug("the system is %s", (answer.stdout or answer.stderr).decode(errors="replace").strip())
    return answer.stdout.strip() == b"stopping"

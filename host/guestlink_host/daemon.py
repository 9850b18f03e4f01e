"""The guestlink-host daemon: a ContainerListener for each container, and the commands' control socket."""

from __future__ import annotations

import asyncio
import base64
import functools
import itertools
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

from guestlink import xdg
from guestlink.config import Config
from guestlink.control import ControlServer
from guestlink.errors import GuestlinkError, report
from guestlink.logs import setup_logging
from guestlink.own_program import own_program
from guestlink.paths import private_directory
from guestlink.service import Notifier, leave, run_daemon
from guestlink.tasks import TaskOwner
from guestlink_host.applications import to_json
from guestlink_host.attachments import Attachments
from guestlink_host.call_fields import application_id, check_addresses, features, files, folder, number
from guestlink_host.container_service import ContainerService
from guestlink_host.containers import SHARE_LIMIT, Container, Containers
from guestlink_host.desktop import Desktop
from guestlink_host.desktop_databases import DesktopDatabases
from guestlink_host.guest import Guest
from guestlink_host.host_menu import HostMenu, watch_menu
from guestlink_host.launcher_files import LauncherFiles
from guestlink_host.launcher_names import LauncherNames
from guestlink_host.linux_host import LinuxHost
from guestlink_host.listener import OPENING_WINDOW, OPENINGS, ContainerListener
from guestlink_host.notification import notify
from guestlink_host.openings import Openings
from guestlink_host.publisher import Publisher
from guestlink_host.rate_limit import RateLimit
from guestlink_host.session_sockets import INTERVAL, session_sockets
from guestlink_host.settings import (
    ASK,
    COMPOSITOR,
    GPU,
    LAUNCHER_NAMES,
    LOG_LEVEL,
    MANAGERS,
    OPENER,
    POLICIES,
    SHELL,
    SOUND,
    TERMINAL,
    TERMINAL_POLICY,
    URL_POLICY,
    control_socket,
    host_runtime_directory,
    state_directory,
)
from guestlink_host.single_daemon import only_daemon
from guestlink_host.url_policy import Share

_log = logging.getLogger(__name__)

_EVENTS = 200
"""Events remembered for `guestlink-host events`."""


def serve(config: Config, *, replace: bool = False) -> NoReturn:
    """Run the daemon and exit with its status; an error, such as a second daemon, is reported first.

    :param replace: stop the daemon that runs already: its session, and so its environment, may be outdated.
    """
    try:
        setup_logging("guestlink-host", config[LOG_LEVEL])
        for warning in config.warnings:
            _log.warning("%s", warning)
        status = asyncio.run(run_daemon(Daemon(config, replace=replace).run))
    except GuestlinkError as error:
        report("guestlink-host", error)
        status = error.exit_code
    except Exception:
        _log.critical("an error of guestlink-host's own ends it", exc_info=True)
        status = 1
    leave(status)


class Daemon:
    """Everything that runs in one guestlink-host."""

    def __init__(self, config: Config, *, replace: bool = False) -> None:
        self._config = config
        self._replace = replace
        self._services: dict[str, ContainerService] = {}
        self._limit = RateLimit(OPENINGS, OPENING_WINDOW)
        self._events: deque[dict[str, Any]] = deque(maxlen=_EVENTS)
        self._program = own_program("guestlink-host", "guestlink_host")
        self._changing = asyncio.Lock()
        self._numbers = itertools.count(1)

    async def run(self, notifier: Notifier) -> None:
        """Serve until cancelled.

        :raises GuestlinkError: another daemon of this user runs, or the state cannot be read.
        """
        self._notifier = notifier
        with only_daemon(host_runtime_directory() / "lock", replace=self._replace):
            # New sockets before they are moved into a container's directory, and vsock bridges; only we see them.
            self._private = _emptied(private_directory(host_runtime_directory() / "private"))
            self._containers = Containers(state_directory(), host_runtime_directory())
            self._databases = DesktopDatabases(Path(xdg.data_home()))
            self._names = LauncherNames(self._config[LAUNCHER_NAMES])
            config = self._config
            shell = config[SHELL] or own_program("vsh", "guestlink_host.vsh")
            self._desktop = Desktop(config[OPENER], config[TERMINAL], config[ASK], shell)
            self._openings = Openings(config, self._desktop)
            self._sockets = session_sockets(config[COMPOSITOR], config[SOUND])
            self._attachments = Attachments(
                config[MANAGERS],
                config[GPU],
                self._containers,
                lambda name: self._guest({"name": name}),
                add=self._add,
                forget=self._forget,
            )
            self._tasks = TaskOwner("guestlink-host")
            control = ControlServer(control_socket(), self._handlers())
            try:
                self._tasks.start(self._databases.run(), name="refresh the desktop's databases")
                for container in self._containers:
                    await self._start_or_retry(container)
                menu = HostMenu(Path(xdg.data_home()))
                self._tasks.start(watch_menu(menu, self._names), name="look at the host's menu")
                self._attachments.start()
                self._tasks.start(self._keep_sockets(), name="carry the session's sockets")
                await control.start()
                self._show_status()
                notifier.ready()
                _log.info("guestlink-host serves in %s; %s", host_runtime_directory(), notifier.text)
                await asyncio.Event().wait()
            finally:
                await control.close()
                await self._attachments.close()
                await asyncio.gather(*(service.close() for service in self._services.values()))
                await self._openings.close()
                await self._desktop.close()
                await self._tasks.close()

    async def _start(self, container: Container) -> ContainerService:
        """Begin to serve a container.

        :raises GuestlinkError: its directory or its socket cannot be created.
        """
        name = container.name
        # A number instead of the name: a socket's path must be short.
        number = next(self._numbers)
        guest = Guest(
            container,
            self._containers.directory(name),
            self._private / f"{number}-garcon",
            self._publisher(name),
            functools.partial(self._event, name),
        )
        listener = ContainerListener(
            guest,
            self._limit,
            open_url=self._openings.open_url,
            open_terminal=self._openings.open_terminal,
            shut_down=self._shut_down,
        )
        linux_host = LinuxHost(guest, self._notify)
        private = self._private / f"{number}.sock"
        service = ContainerService(guest, listener, linux_host, self._containers, private)
        guest.standing = lambda: self._attachments.status(guest.container)
        guest.start()
        self._services[name] = service
        await service.listen()
        if service.made_anew:
            self._attachments.made_anew(container)
        self._carry_sockets()
        return service

    def _carry_sockets(self) -> None:
        known = [service.guest.container for service in self._services.values()]
        directories = {self._containers.directory(container.name): container.users for container in known}
        for each in self._sockets if directories else ():
            each.carry(directories)

    async def _keep_sockets(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            self._carry_sockets()

    async def _start_or_retry(self, container: Container) -> None:
        """Serve a container of an earlier run; a failure is logged and retried, and does not stop the others."""
        try:
            await self._start(container)
        except GuestlinkError as error:
            _log.error("%s cannot be served: %s", container.name, error)
            self._tasks.start(self._services[container.name].keep_trying(), name=f"listen for {container.name}")

    def _publisher(self, name: str) -> Publisher:
        files = LauncherFiles(name, Path(xdg.data_home()))
        state = self._containers.list_file(name)
        return Publisher(name, files, state, self._program, self._names, self._databases.request)

    # -- events --------------------------------------------------------------------------------------------------

    def _shut_down(self, guest: Guest) -> None:
        guest.gone()
        # The old token is invalid from now on, even if the new one cannot be stored.
        guest.container = guest.container._replace(token=os.urandom(18).hex())
        try:
            guest.container = self._containers.renew_token(guest.container.name)
        except GuestlinkError as error:
            _log.error("%s gets no new token: %s", guest.container.name, error)
        guest.event("shut down", "")

    def _event(self, container: str, what: str, detail: str) -> None:
        self._events.append({"time": time.time(), "container": container, "event": what, "detail": detail})
        self._show_status()

    def _notify(self, summary: str, text: str) -> None:
        self._tasks.start(asyncio.to_thread(notify, summary, text), name="notify the user")

    def _show_status(self) -> None:
        registered = sum(service.guest.registered for service in self._services.values())
        self._notifier.status(f"{registered} of {len(self._services)} containers registered")

    # -- commands ------------------------------------------------------------------------------------------------

    def _handlers(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]]:
        return {
            "add": self._do_add,
            "attach": self._attachments.do_attach,
            "wake": self._attachments.do_wake,
            "remove": self._do_remove,
            "list": self._do_list,
            "apps": self._do_apps,
            "launch": self._do_launch,
            "meeting_place": self._do_meeting_place,
            "sftp_place": self._do_sftp_place,
            "launch_vshd": self._do_launch_vshd,
            "icon": self._do_icon,
            "policy": self._do_policy,
            "share": self._do_share,
            "status": self._do_status,
            "events": self._do_events,
        }

    def _guest(self, fields: dict[str, Any]) -> Guest:
        container = self._containers[fields.get("name", "")]
        return self._services[container.name].guest

    async def _do_add(self, fields: dict[str, Any]) -> dict[str, Any]:
        texts = {key: str(fields[key]) for key in ("listen", "garcon", "ip") if fields.get(key)}
        check_addresses(texts)
        return self._describe(await self._add(fields.get("name", ""), **texts))

    async def _add(self, name: str, **fields: Any) -> Container:
        """Add a container to the registry and serve it; a failure undoes both."""
        async with self._changing:
            container = self._containers.add(name, **fields)
            try:
                await self._start(container)
            except BaseException:
                await self._services.pop(container.name).close()
                self._containers.remove(container.name)
                self._names.forget(container.name)
                raise
        self._show_status()
        return container

    async def _do_remove(self, fields: dict[str, Any]) -> dict[str, Any]:
        await self._forget(fields.get("name", ""))
        return {}

    async def _forget(self, name: str) -> None:
        async with self._changing:
            container = self._containers[name]
            service = self._services.pop(container.name)
            await service.close()
            try:
                # Launchers first: if that fails, the container is still known and the user can repeat the command.
                await self._publisher(container.name).remove_files()
                self._containers.remove(container.name)
            except BaseException:
                await self._start(container)
                raise
            self._names.forget(name)
        self._attachments.problems.pop(name, None)
        self._show_status()

    async def _do_list(self, fields: dict[str, Any]) -> dict[str, Any]:
        await self._attachments.look()
        return {"containers": [self._describe(container) for container in self._containers]}

    async def _do_apps(self, fields: dict[str, Any]) -> dict[str, Any]:
        guests = [self._guest(fields)] if fields.get("name") else [s.guest for s in self._services.values()]
        return {
            "applications": [
                {"container": guest.container.name, **application}
                for guest in guests
                for application in to_json(guest.publisher.applications)
            ]
        }

    async def _do_launch(self, fields: dict[str, Any]) -> dict[str, Any]:
        await self._guest(fields).launch(application_id(fields, "id"), files(fields))
        return {}

    async def _do_meeting_place(self, fields: dict[str, Any]) -> dict[str, Any]:
        return self._guest(fields).meeting_place()

    async def _do_sftp_place(self, fields: dict[str, Any]) -> dict[str, Any]:
        return self._guest(fields).sftp_place()

    async def _do_launch_vshd(self, fields: dict[str, Any]) -> dict[str, Any]:
        guest = self._guest(fields)
        await guest.launch_vshd(number(fields, "port", 1, 2**32 - 1), features(fields))
        return {}

    async def _do_icon(self, fields: dict[str, Any]) -> dict[str, Any]:
        size, scale = number(fields, "size", 1, 4095), number(fields, "scale", 1, 4)
        picture = await self._guest(fields).icon(application_id(fields, "id"), size, scale)
        return {"suffix": picture.suffix, "content": base64.b64encode(picture.content).decode()}

    async def _do_policy(self, fields: dict[str, Any]) -> dict[str, Any]:
        guest = self._guest(fields)
        name = guest.container.name
        for what in ("url", "terminal"):
            if (policy := fields.get(what)) is not None:
                if policy not in POLICIES:
                    raise GuestlinkError(f"there is no policy {policy!r:.40}", hint=f"use {', '.join(POLICIES)}")
                guest.container = self._containers.change(name, **{f"{what}_policy": policy})
        return self._policies(guest.container)

    async def _do_share(self, fields: dict[str, Any]) -> dict[str, Any]:
        guest = self._guest(fields)
        shares = {share.host: share for share in guest.container.shares}
        if host := fields.get("host"):
            share = Share(folder(host), folder(fields.get("inside") or host))
            shares[share.host] = share
            if len(shares) > SHARE_LIMIT:
                raise GuestlinkError(f"there are {SHARE_LIMIT} shared folders already", hint="forget one first")
        if (forget := fields.get("forget")) is not None and shares.pop(folder(forget), None) is None:
            raise GuestlinkError(
                f"{forget} is not shared with {guest.container.name}",
                hint=f"`guestlink-host share {guest.container.name}` lists what is",
            )
        guest.container = self._containers.change(guest.container.name, shares=tuple(shares.values()))
        return {"shares": [share._asdict() for share in shares.values()]}

    async def _do_status(self, fields: dict[str, Any]) -> dict[str, Any]:
        await self._attachments.look()
        return {
            "sentence": self._notifier.text,
            "containers": [self._describe(container) for container in self._containers],
            "events": list(self._events),
            "program": self._program,
            "pid": os.getpid(),
        }

    async def _do_events(self, fields: dict[str, Any]) -> dict[str, Any]:
        name = fields.get("name")
        if name:
            self._guest(fields)
        return {"events": [event for event in self._events if not name or event["container"] == name]}

    def _describe(self, container: Container) -> dict[str, Any]:
        guest = self._services[container.name].guest
        directory = self._containers.directory(container.name)
        return {
            "name": container.name,
            "registered": guest.registered,
            "reachable": guest.reachable,
            "state": guest.sentence,
            "manager": container.manager,
            "place": container.place,
            "instance": self._attachments.status(container),
            "applications": len(guest.publisher.applications),
            "lists": guest.publisher.lists,
            "pending": guest.pending,
            "mime_types": len(guest.mime_types),
            "username": guest.info.username,
            "homedir": guest.info.homedir,
            "sftp_port": guest.info.sftp_port,
            "problem": self._services[container.name].problem
            or guest.publisher.problem
            or self._attachments.problems.get(container.name, ""),
            "policies": self._policies(container),
            "shares": [share._asdict() for share in container.shares],
            "directory": str(directory),
            "token_file": str(self._containers.token_file(container.name)),
        }

    def _policies(self, container: Container) -> dict[str, Any]:
        return {
            "url": container.url_policy or self._config[URL_POLICY],
            "terminal": container.terminal_policy or self._config[TERMINAL_POLICY],
        }


def _emptied(directory: Path) -> Path:
    """Remove what a killed daemon left in the directory, and return the directory."""
    for path in directory.iterdir():
        path.unlink()
    return directory

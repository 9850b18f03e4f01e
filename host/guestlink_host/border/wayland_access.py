"""Gives each container a Wayland socket in its directory, and never the compositor's own.

:mod:`~guestlink_host.border.wayland_plan` decides what stands behind it. The sockets follow the compositor: after a
restart of the compositor they are made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from guestlink import xdg
from guestlink.address import UnixAddress
from guestlink.errors import GuestlinkError, reason
from guestlink.socket_directory import COMPOSITOR
from guestlink.sockets import listen
from guestlink.tasks import TaskOwner
from guestlink_host.border.wayland_compositor import CompositorConnection, CompositorUnusable
from guestlink_host.border.wayland_plan import DIRECT, NONE, PROXIED, WaylandPlan, WaylandRules, leak, plan
from guestlink_host.border.wayland_socket import ProxiedSocket, SandboxedSocket

_log = logging.getLogger(__name__)

POLL = 1.0
"""Seconds between two attempts to reach a compositor that does not run. One that runs is not polled."""
RETRY = 10.0
"""Seconds until a failed attempt to make a container's socket is repeated."""

_Behind: TypeAlias = SandboxedSocket | ProxiedSocket


class _Container:
    """One container's socket.

    :ivar directory: the container's directory.
    :ivar plan: what is in force; :ivar behind: what serves its socket, ``None`` if nothing does.
    :ivar compositor: the compositor's connection when that was decided.
    :ivar is_retrying: whether a failed attempt will be repeated.
    :ivar changing: held while the socket is replaced.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.plan = WaylandPlan(NONE, "guestlink-host has only just started")
        self.behind: _Behind | None = None
        self.compositor: CompositorConnection | None = None
        self.is_retrying = False
        self.changing = asyncio.Lock()


class WaylandAccess:
    """The Wayland sockets of all containers.

    :param display: the compositor's socket; ``None`` for none.
    :param absence: why there is none, as a sentence.
    :param private: a directory for new sockets, which no container sees.
    :param directories: a directory for the proxies' own directories, made here.
    :param policies: returns the policies of a container.
    :param rules: the settings for all containers.
    :param proxy: the command line of the proxy; empty if it is not installed.
    :param environ: the proxy's variables.
    """

    def __init__(
        self,
        display: Path | None,
        absence: str,
        private: Path,
        directories: Path,
        policies: Callable[[str], Mapping[str, str]],
        *,
        rules: WaylandRules = WaylandRules(),  # noqa: B008  # immutable
        proxy: Sequence[str],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._display = display
        self._trouble = absence if display is None else "the compositor does not run"
        self._private = private
        self._directories = directories
        self._policies = policies
        self._rules = rules
        self._proxy = list(proxy)
        self._environ = environ
        self._containers: dict[str, _Container] = {}
        self._compositor: CompositorConnection | None = None
        self._obstacle = ""
        self._numbers = itertools.count(1)
        self._draining: list[ProxiedSocket] = []
        self._tasks = TaskOwner("wayland")

    async def start(self) -> None:
        """Begin to follow the compositor."""
        # Proxies of an earlier daemon that still have clients need no path any more.
        if self._directories.is_dir():
            shutil.rmtree(self._directories, ignore_errors=True)
        if self._display is not None:
            self._tasks.start(self._follow(self._display), name="compositor")

    async def close(self) -> None:
        """Accept no more clients; windows that are open stay."""
        await self._tasks.close()
        for container in self._containers.values():
            self._retire(container)
        for proxied in self._draining:
            proxied.abandon()
        if self._compositor is not None:
            self._compositor.close()

    def add(self, name: str, directory: Path) -> None:
        """Make a container's socket in its directory, once the compositor runs."""
        container = self._containers[name] = _Container(directory)
        self._remove_file(container)  # An older guestlink-host may have left the compositor's own socket there.
        self.update(name)

    def remove(self, name: str) -> None:
        """Let a container's programs connect no more; its directory goes with it."""
        container = self._containers.pop(name, None)
        if container is not None:
            self._retire(container)

    def update(self, name: str) -> None:
        """A policy has changed: apply it to new connections."""
        if name in self._containers:
            self._tasks.start(self._apply(name), name=name)

    def describe(self, name: str) -> dict[str, str]:
        """A container's way to the compositor: ``way`` (direct, proxy or none), and ``why``, a sentence."""
        container = self._containers.get(name)
        if container is None:
            return {"way": NONE, "why": "the container is not served"}
        if self._compositor is None:
            return {"way": NONE, "why": self._trouble}
        return {"way": container.plan.way, "why": container.plan.why}

    # -- the compositor ------------------------------------------------------------------------------------------

    async def _follow(self, display: Path) -> None:
        said = False
        while True:
            try:
                compositor = await CompositorConnection.open(display)
            except CompositorUnusable as error:
                if error.message != self._trouble or not said:
                    _log.warning("no container can show windows: %s; its socket is %s", error.message, display)
                self._trouble, said = error.message, True
                await asyncio.sleep(POLL)
                continue
            said = False
            _log.info("the compositor at %s runs", display)
            self._compositor, self._obstacle = compositor, ""
            try:
                await asyncio.gather(*map(self._apply, list(self._containers)))
                await compositor.ended()
            finally:
                self._compositor = None
                compositor.close()
            self._trouble = "the compositor does not run"
            _log.info("the compositor at %s has ended", display)
            for container in self._containers.values():
                # The socket of a security context has died with the compositor. A proxy refuses clients with a
                # reason until the compositor is back.
                if isinstance(container.behind, SandboxedSocket):
                    self._retire(container)

    # -- one container -------------------------------------------------------------------------------------------

    async def _apply(self, name: str) -> None:
        container = self._containers.get(name)
        if container is None:
            return
        async with container.changing:
            if self._containers.get(name) is not container:
                return
            try:
                await self._replace(name, container)
            except (GuestlinkError, OSError) as error:
                self._retire(container)
                self._remove_file(container)
                why = error.message if isinstance(error, GuestlinkError) else reason(error)
                container.plan = WaylandPlan(NONE, why)
                _log.warning("windows of %s cannot be shown: %s", name, why)
                if not container.is_retrying:
                    container.is_retrying = True
                    self._tasks.start(self._retry(name, container), name=f"{name} again")

    async def _retry(self, name: str, container: _Container) -> None:
        await asyncio.sleep(RETRY)
        container.is_retrying = False
        await self._apply(name)

    async def _replace(self, name: str, container: _Container) -> None:
        """Put the socket in place that the policies and the compositor ask for.

        :raises GuestlinkError: the socket cannot be made.
        """
        wanted, compositor = self._plan(name), self._compositor
        is_same = wanted.way == container.plan.way != NONE and wanted.switches == container.plan.switches
        # A security context dies with its compositor, perhaps while it was made; a proxy outlives a restart.
        if is_same and (wanted.way == PROXIED or container.compositor is compositor):
            container.plan = wanted
            return
        behind: _Behind | None = None
        if wanted.way == DIRECT:
            try:
                behind = await self._sandboxed(name, container)
            except CompositorUnusable as error:
                self._obstacle = error.message
                wanted = self._plan(name)
        if wanted.way == PROXIED:
            behind = self._proxied(name, container, wanted)
        self._retire(container)
        container.plan, container.behind, container.compositor = wanted, behind, compositor
        if behind is None:
            self._remove_file(container)
        _log.info("windows of %s: %s, because %s", name, wanted.way, wanted.why)

    def _plan(self, name: str) -> WaylandPlan:
        if self._compositor is None:
            return WaylandPlan(NONE, self._trouble)
        interfaces = self._compositor.interfaces
        wanted = plan(name, self._policies(name), self._rules, interfaces, obstacle=self._obstacle)
        if wanted.way == PROXIED and not self._proxy:
            return WaylandPlan(NONE, f"the package guestlink-sommelier is not installed, and {wanted.why}")
        return wanted

    async def _sandboxed(self, name: str, container: _Container) -> SandboxedSocket:
        """Make a socket that the compositor serves in a security context.

        :raises CompositorUnusable: the compositor refuses, or offers in the context what no container may have.
        :raises GuestlinkError: the socket cannot be made.
        """
        assert self._display is not None
        path = self._new_path()
        connection = await CompositorConnection.open(self._display)
        try:
            with listen(path, mode=0o666) as listener:
                sandboxed = SandboxedSocket(await connection.create_security_context(listener, name))
            try:
                inside = await CompositorConnection.open(Path(path.path))
                inside.close()
                if obstacle := leak(inside.interfaces):
                    raise CompositorUnusable(obstacle)
                self._place(path, container)
            except BaseException:
                sandboxed.close()
                raise
        finally:
            connection.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path.path)
        return sandboxed

    def _proxied(self, name: str, container: _Container, wanted: WaylandPlan) -> ProxiedSocket:
        """Make a socket that a proxy serves.

        :raises GuestlinkError: the socket cannot be made.
        """
        argv = [*self._proxy, "--parent", f"--for-container={name}", f"--display={self._display}", *wanted.switches]
        path = self._new_path()
        # The directory's access control list decides who may connect: a mode cannot name users of the container.
        listener = listen(path, mode=0o666)
        try:
            self._place(path, container)
        except BaseException:
            listener.close()
            raise
        return ProxiedSocket(listener, argv, self._environ, name, self._private_directory())

    def _new_path(self) -> UnixAddress:
        return UnixAddress(str(self._private / f"wayland-{next(self._numbers)}"))

    def _private_directory(self) -> Path:
        """A directory for one proxy, whose name is short enough for a socket's path below it."""
        return self._directories / str(next(self._numbers))

    def _place(self, path: UnixAddress, container: _Container) -> None:
        """Move a new socket into the container's directory.

        :raises GuestlinkError: the directory is gone, or something else is in the socket's place.
        """
        try:
            os.replace(path.path, container.directory / COMPOSITOR)
        except OSError as error:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path.path)
            raise GuestlinkError(
                f"the container's Wayland socket cannot be created: {reason(error)}",
                hint=f"remove what is in the place of {container.directory / COMPOSITOR}",
            ) from error

    def _retire(self, container: _Container) -> None:
        """Accept no more clients on a container's socket."""
        behind, container.behind = container.behind, None
        container.plan = container.plan._replace(way=NONE)
        if behind is None:
            return
        behind.close()
        if isinstance(behind, ProxiedSocket):
            self._draining = [one for one in self._draining if one.is_running]
            self._draining.append(behind)

    @staticmethod
    def _remove_file(container: _Container) -> None:
        with contextlib.suppress(OSError):
            os.unlink(container.directory / COMPOSITOR)


def compositor_socket(setting: str, environ: Mapping[str, str] = os.environ) -> tuple[Path | None, str]:
    """The compositor's socket, or ``None`` and why there is none.

    :param setting: ``auto`` for the session's, ``off`` for none, or the path of a socket.
    """
    if setting == "off":
        return None, "the setting compositor is off"
    display = environ.get("WAYLAND_DISPLAY", "") if setting == "auto" else setting
    if not display:
        return None, "this session has no Wayland compositor: WAYLAND_DISPLAY is not set"
    return Path(xdg.runtime_directory(environ) or "/", display), ""

"""The daemon's state of one container: whether it is registered, the link to its garcon, its launchers."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from guestlink import socket_directory
from guestlink.address import (
    VSOCK_ANY_PORT,
    TcpAddress,
    UnixAddress,
    VsockAddress,
    parse_address,
)
from guestlink.command_line import EX_UNAVAILABLE, did_you_mean
from guestlink.errors import GuestlinkError
from guestlink.package_texts import NO_PACKAGEKIT
from guestlink.rpc import CallFailed
from guestlink.tasks import TaskOwner
from guestlink.user_namespace import has_id
from guestlink_host.border.answer_pace import AnswerPace
from guestlink_host.border.container_log import ContainerLog
from guestlink_host.border.pictures.draw_protocol import ReceivedPicture
from guestlink_host.border.pictures.png import BadPicture, Square, encode
from guestlink_host.border.pictures.png import size as png_size
from guestlink_host.border.rate_limit import RateLimit
from guestlink_host.border.url_policy import file_for_container
from guestlink_host.containers.advice import OUTDATED, how_to_register, how_to_upgrade
from guestlink_host.containers.garcon_link import GarconLink, SessionInfo
from guestlink_host.containers.package_operations import REMOVAL, PackageOperations
from guestlink_host.containers.parked_connections import ParkedConnections
from guestlink_host.containers.parking_sockets import sftp_handover
from guestlink_host.containers.registry import Container
from guestlink_host.containers.watched_directories import WatchedDirectories
from guestlink_host.launchers.launcher_publisher import LauncherPublisher

_log = logging.getLogger(__name__)

_FIRST_PAUSES, _LAST_PAUSE = (0.0, 0.2, 1.0, 5.0), 30.0
"""Seconds before each attempt to call a garcon that has registered: first these, then the last one for ever."""
LOSSES, _LOSS_WINDOW, _LOSS_PAUSE = 5, 10.0, 5.0
"""Connections that a garcon may lose in a window, its seconds, and the seconds to wait after each further one: the
host calls garcon and fetches icons on each new connection."""
_AGAIN_PAUSES = (0.0, 0.2)
"""Seconds before each attempt to call a garcon whose connection broke; if all fail, garcon has ended."""


_ICON_LIMIT = 1024
"""Pixels of an icon's side; four times the largest size that themes have."""
_EXECUTION = "Failure in execution of application: "
"""The beginning of garcon's reason if the program itself failed (chromeos-garcon.md §5.4)."""


class Guest:
    """A container that may register.

    :param container: its stored values.
    :param directory: its directory on the host, which is mounted in it.
    :param private: the beginning of paths for sockets that only this user can reach.
    :param publisher: keeps its launchers.
    :param event: is called for each event with a word and a detail.
    :param status: returns a container's status at its manager; ``""`` without a manager.
    :ivar calls: the connections that its garcon parks for our calls.
    :ivar sftp: those for SFTP.
    :ivar ports: those for ports.
    :ivar outdated: how often it has shown that its Guestlink is too old to be called.
    :ivar log: gets every line that the container's calls cause.
    :ivar package_operations: the installations and removals that it was asked for.
    :ivar watched_directories: those whose changes its garcon reports.
    :ivar mime_types: number of file name extensions for which the container has a MIME type.
    """

    def __init__(
        self,
        container: Container,
        directory: Path,
        private: Path,
        publisher: LauncherPublisher,
        event: Callable[[str, str], None],
        status: Callable[[Container], str],
    ) -> None:
        self.container = container
        self.publisher = publisher
        self.registered = False
        self.pending = 0
        self.mime_types = 0
        self.info = SessionInfo()
        self.event = event
        self.private = private
        self.calls = ParkedConnections(f"a connection that {container.name} parks for calls")
        self.sftp = ParkedConnections(f"a connection that {container.name} parks for its files")
        self.ports = ParkedConnections(f"a connection that {container.name} parks for its ports")
        self.outdated = 0
        self._pace = AnswerPace()
        self.log = ContainerLog(_log, container.name)
        self._status = status
        self._directory = directory
        self._trouble = ""
        self._link: GarconLink | None = None
        self._tasks = TaskOwner(f"container {container.name}")
        self._link_task: asyncio.Task[None] | None = None
        self._links = 0
        self._gone: list[Callable[[], None]] = []
        self.package_operations = PackageOperations()
        self.when_gone(self.package_operations.forgotten)
        self.watched_directories = WatchedDirectories(
            container.name, self._add_file_watch, self._remove_file_watch, self._tasks
        )

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Call back whenever the container's garcon has ended, and when this object is closed."""
        self._gone.append(callback)

    def start(self) -> None:
        """Begin to keep launchers up to date."""
        self.publisher.restore()
        self._tasks.start(self.publisher.run(), name="launchers")

    async def close(self) -> None:
        """Stop the publisher and close the link to garcon; the launchers stay."""
        await self.publisher.stop()
        await self._tasks.close()
        self.calls.close()
        self.sftp.close()
        self.ports.close()
        await self.publisher.close()

    @property
    def reachable(self) -> bool:
        """Whether its garcon answers."""
        return self._link is not None

    @property
    def sentence(self) -> str:
        """Whether it is registered, and what is wrong, as a text for people."""
        if self.outdated and not self.reachable:
            return f"{'' if self.registered else 'not '}registered: {OUTDATED}; upgrade it in the container"
        if not self.registered:
            return "not registered"
        return "registered" if self.reachable or not self._trouble else f"registered, but {self._trouble}"

    # -- calls from the container --------------------------------------------------------------------------------

    def ready(self, garcon_port: int, sftp_port: int) -> None:
        """The container has registered, perhaps again and with another port.

        :raises GuestlinkError: garcon cannot serve the port that it announces.
        """
        way = self._way_to_garcon()
        self.registered = True
        self.pending = 0
        self._trouble = ""
        self.info = SessionInfo(sftp_port=sftp_port)
        # Call garcon after this call, not inside: garcon may be waiting for the answer (chromeos-garcon.md §7.11).
        self._replace_link(way)
        self.event("registered", "")

    def gone(self) -> None:
        """The container has shut down, or its garcon ended."""
        self.registered = False
        self.pending = 0
        self._garcon_has_ended()
        self._replace_link(None)
        # Who has parked these may know a token that is worthless soon; a garcon that runs parks new ones.
        self.calls.close()
        self.sftp.close()
        self.ports.close()

    def found_outdated(self) -> None:
        """A garcon has tried to listen in the mounted directory, or has registered and parks no connection."""
        if self.reachable:
            return
        self.outdated += 1
        if self.outdated == 1:
            name = self.container.name
            advice = how_to_upgrade(name, self.container.manager)
            _log.warning("%s cannot be called: %s; %s", name, OUTDATED, advice)
            self.event("outdated", OUTDATED)

    # -- calls to the container ----------------------------------------------------------------------------------

    async def launch(self, desktop_file_id: str, files: Sequence[str]) -> None:
        """Start an application.

        :param files: paths and URLs of the host.
        :raises GuestlinkError: with the container's reason.
        """
        name = self.container.name
        inside = [_sendable(file_for_container(file, self.container.shares)) for file in files]
        link = self._reach()
        try:
            reason = await link.launch(desktop_file_id, inside)
        except CallFailed as error:
            raise self._unanswered(error) from error
        if reason:
            reason = reason.removeprefix(_EXECUTION)
            self.event("failed", f"{desktop_file_id}: {reason}")
            raise GuestlinkError(
                f"{desktop_file_id} cannot be started in {name}: {reason}",
                hint=f"{self._guess(desktop_file_id)}`guestlink-host apps {name}` lists what can; "
                "garcon's log in the container says more",
            )
        self.event("launched", desktop_file_id)

    def shell_endpoint(self) -> dict[str, Any]:
        """The address where vsh listens for this container's vshd, and the proof that the vshd has to give.

        :returns: ``address``, the ``uids`` or the ``cid`` that may connect, and ``token`` for a handshake on the
            connection. A Unix address contains ``{port}``, which stands for the port in LaunchVshd.
        :raises GuestlinkError: the container cannot be called, or has no address that it could connect to.
        """
        link = self._reach()
        peer = link.peer
        if peer.uid is not None:
            return {"address": f"unix:{self._directory}/{socket_directory.VSH}", "uids": self._uids_of(peer.uid)}
        if peer.cid is not None:
            proof = {"token": self.container.token} if self.container.listen else {}
            return {"address": f"vsock:any:{VSOCK_ANY_PORT}", "cid": peer.cid} | proof
        listening = parse_address(self.container.listen) if self.container.listen else None
        if not isinstance(listening, TcpAddress):
            name = self.container.name
            raise GuestlinkError(
                f"the container {name} cannot reach vsh: guestlink-host knows no TCP address of this host for it",
                hint=f"`guestlink-host remove {name}`, then `guestlink-host add {name} --listen tcp:HOST:PORT …`",
            )
        return {"address": str(TcpAddress(listening.host, 0)), "token": self.container.token}

    def _uids_of(self, seen: int) -> list[int]:
        """The ids on this host of a container's user, of whom the daemon in its sandbox may see an overflow uid."""
        users = [*self.container.users] or [0]
        return [seen] if has_id(seen) else users

    def sftp_endpoint(self) -> dict[str, Any]:
        """Where a process of this user gets a connection for SFTP (chromeos-garcon.md §6.12).

        :returns: ``handover``, the path of a socket that hands over a parked connection
            (:func:`~guestlink_host.containers.parking_sockets.sftp_handover`); or ``address``, where garcon serves
            SFTP.
        :raises GuestlinkError: the container cannot be called, or serves no SFTP.
        """
        link = self._reach()
        port = self.info.sftp_port
        if not port:
            raise GuestlinkError(
                f"{self.container.name} serves no files",
                hint="its garcon is too old for that; update Guestlink in the container",
            )
        way = link.way
        if isinstance(way, ParkedConnections):
            return {"handover": sftp_handover(self.private).path}
        if isinstance(way, UnixAddress):
            return {"address": f"unix:{os.path.dirname(way.path)}/{socket_directory.SFTP}"}
        return {"address": str(way._replace(port=port))}

    async def launch_vshd(self, port: int, features: Sequence[int] = ()) -> None:
        """Let garcon start a vshd that connects to a port of ours.

        :raises GuestlinkError: with the container's reason.
        """
        link = self._reach()
        try:
            reason = await link.launch_vshd(port, features)
        except CallFailed as error:
            raise self._unanswered(error) from error
        if reason:
            raise GuestlinkError(
                f"no shell can be started in {self.container.name}: {reason}",
                hint="garcon's log in the container says more: `journalctl --user -u guestlink-garcon`",
            )

    async def icon(self, desktop_file_id: str, size: int, scale: int) -> bytes:
        """Fetch one icon as a square PNG.

        :param size: its side in logical pixels; a picture with fewer pixels keeps them.
        :param scale: pixels per logical pixel.
        :raises GuestlinkError: the application has no icon, or none that can be shown.
        """
        link = self._reach()
        try:
            found = await link.icons([desktop_file_id], size, scale)
        except CallFailed as error:
            raise self._unanswered(error) from error
        if desktop_file_id not in found:
            guess = self._guess(desktop_file_id)
            hint = f"{guess}`guestlink-host apps {self.container.name}` lists the applications"
            raise GuestlinkError(f"{desktop_file_id} has no icon in {self.container.name}", hint=hint)
        picture = ReceivedPicture(*found[desktop_file_id])
        try:
            return encode(await self._drawn(picture, min(size * scale, _ICON_LIMIT)))
        except BadPicture as error:
            raise GuestlinkError(
                f"the icon of {desktop_file_id} is not used: {error}",
                hint="it has to be a PNG or an SVG that librsvg can draw in a few seconds",
            ) from error

    async def package_info(self, file: str, package: str) -> dict[str, Any]:
        """Describe a package of the container.

        :param file: the path of a package file inside, or ``""``.
        :param package: a package's name, if there is no file.
        :returns: LinuxPackageInfoResponse's fields.
        :raises GuestlinkError: with the container's reason.
        """
        try:
            reason, info = await self._reach().package_info(file, package)
        except CallFailed as error:
            raise self._unanswered(error) from error
        if reason:
            raise self._package_error(f"{file or package} cannot be installed", reason)
        return info

    async def install_package(self, file: str, package_id: str) -> str:
        """Begin an installation; returns its id in :attr:`package_operations`.

        :raises GuestlinkError: with the container's reason.
        """
        operation = self.package_operations.new()
        try:
            reason = await self._reach().install_package(file, package_id, operation)
        except CallFailed as error:
            raise self._unanswered(error) from error
        if reason:
            raise self._package_error("the package cannot be installed", reason)
        return operation

    async def uninstall_package(self, desktop_file_id: str) -> str:
        """Begin to remove an application's package; returns the removal's id.

        :raises GuestlinkError: with the container's reason.
        """
        link = self._reach()
        operation = self.package_operations.new(REMOVAL)
        try:
            reason = await link.uninstall_package(desktop_file_id)
        except CallFailed as error:
            self.package_operations.end(operation, error.message)
            if error.code == "INVALID_ARGUMENT":
                hint = f"{self._guess(desktop_file_id)}`guestlink-host apps {self.container.name}` lists them"
                raise GuestlinkError(
                    f"{self.container.name} has no application {desktop_file_id}", hint=hint
                ) from error
            raise self._unanswered(error) from error
        if reason:
            self.package_operations.end(operation, reason)
            raise self._package_error(f"{desktop_file_id} cannot be uninstalled", reason)
        return operation

    def _package_error(self, what: str, reason: str) -> GuestlinkError:
        if reason == NO_PACKAGEKIT:
            shell = f"guestlink-host shell {self.container.name} -- sudo"
            hint = f"`{shell} apt install packagekit` installs it on Debian and Ubuntu"
            return GuestlinkError(f"{what}: {reason}", hint=hint, exit_code=EX_UNAVAILABLE)
        return GuestlinkError(
            f"{what} in {self.container.name}: {reason}", hint="garcon's log in the container may say more"
        )

    async def _add_file_watch(self, path: str) -> None:
        try:
            reason = await self._reach().add_file_watch(path)
        except CallFailed as error:
            raise self._unanswered(error) from error
        if reason:
            raise GuestlinkError(
                f"{path or 'the home directory'} of {self.container.name} cannot be watched: {reason}",
                hint="name a directory below the home directory of the container's user",
            )

    async def _remove_file_watch(self, path: str) -> None:
        try:
            await self._reach().remove_file_watch(path)
        except CallFailed as error:
            raise self._unanswered(error) from error

    def _guess(self, desktop_file_id: str) -> str:
        """``did you mean ID? `` for an id that is not on the container's list, or ""."""
        known = self.publisher.applications
        if desktop_file_id in known:
            return ""
        guess = did_you_mean(desktop_file_id.removesuffix(".desktop"), known)
        return f"{guess} " if guess else ""

    async def _drawn(self, picture: ReceivedPicture, side: int) -> Square:
        if not picture.is_svg:
            side = max(1, min(side, max(png_size(picture.content))))
        (square,) = await self.publisher.renderer.draw(picture, (side,))
        return square

    # -- the link to garcon --------------------------------------------------------------------------------------

    def _way_to_garcon(self) -> UnixAddress | VsockAddress | ParkedConnections:
        if not self.container.garcon:
            return self.calls
        address = parse_address(self.container.garcon)
        # A garcon at the listening address parks its connections there. Older versions stored tcp: addresses.
        if isinstance(address, TcpAddress) or (isinstance(address, VsockAddress) and not address.port):
            return self.calls
        return address

    def _reach(self) -> GarconLink:
        name = self.container.name
        if self.outdated and self._link is None:
            raise self.too_old()
        if not self.registered:
            raise GuestlinkError(
                f"the container {name} is not registered", hint=how_to_register(name, self._status(self.container))
            )
        if self._link is None:
            raise GuestlinkError(
                f"the container {name} cannot be reached: {self._trouble or 'it has only just registered'}",
                hint="`guestlink status` inside it shows its state; then try again",
            )
        return self._link

    def too_old(self) -> GuestlinkError:
        """The error for a container that cannot be called because its Guestlink is too old."""
        name = self.container.name
        return GuestlinkError(
            f"the container {name} cannot be called: {OUTDATED}", hint=how_to_upgrade(name, self.container.manager)
        )

    def _unanswered(self, error: CallFailed) -> GuestlinkError:
        return GuestlinkError(
            f"the container {self.container.name} does not answer: {error.message}",
            hint="`guestlink status` inside it shows its state",
        )

    def _replace_link(self, way: UnixAddress | VsockAddress | ParkedConnections | None) -> None:
        if self._link_task is not None:
            self._link_task.cancel()
            self._link_task = None
        self._disconnected()
        if way is not None:
            self._links += 1
            private = self.private.with_name(f"{self.private.name}-{self._links}")
            self._link_task = self._tasks.start(self._keep_link(way, private), name="garcon")

    def _garcon_has_ended(self) -> None:
        for callback in self._gone:
            callback()

    def _disconnected(self) -> None:
        if self._link is not None:
            self._link = None
            self.publisher.connected(None)
            self.watched_directories.forgotten()

    async def _keep_link(self, way: UnixAddress | VsockAddress | ParkedConnections, private: Path) -> None:
        """Stay connected to one garcon; when garcon ends, the container is no longer registered."""
        name = self.container.name
        try:
            link = GarconLink(name, way, private, self._pace)
        except GuestlinkError as error:
            self._trouble = error.message
            self.log.warning("%s registered, but %s", name, error)
            return
        losses = RateLimit(LOSSES, _LOSS_WINDOW)
        try:
            answers = await self._greet(link, first_pauses())
            while answers:
                self._link = link
                self._trouble = ""
                self.outdated = 0
                self.publisher.connected(link)
                self.watched_directories.can_be_added()
                await link.lost()
                self._disconnected()
                if not losses.allows(time.monotonic()):
                    self._trouble = "its garcon closes the connection again and again"
                    await asyncio.sleep(_LOSS_PAUSE)
                answers = await self._greet(link, _AGAIN_PAUSES)
            self.log.info("garcon of %s has ended", name)
            self._garcon_has_ended()
            self.registered = False
            self.pending = 0
            self.event("lost", "")
        finally:
            await link.close()

    async def _greet(self, link: GarconLink, pauses: Iterable[float]) -> bool:
        """Call GetGarconSessionInfo, one attempt after each pause; returns whether garcon answered."""
        for pause in pauses:
            await asyncio.sleep(pause)
            try:
                self.info = await link.session_info()
            except CallFailed as error:
                if error.code == "UNIMPLEMENTED":
                    return True
                self._trouble = f"its garcon does not answer: {error.message}"
                if link.way is self.calls and not self.calls.ever_parked and pause >= _FIRST_PAUSES[-2]:
                    self.found_outdated()
                if pause == _LAST_PAUSE:
                    self.log.warning("%s registered, but %s", self.container.name, self._trouble)
            else:
                return True
        return False


def first_pauses() -> Iterator[float]:
    """Seconds before each attempt to call a garcon that has registered; endless."""
    yield from _FIRST_PAUSES
    yield from itertools.repeat(_LAST_PAUSE)


def _sendable(file: str) -> str:
    """Return the file's name if the protocol can hold it.

    :raises GuestlinkError: the name is not UTF-8.
    """
    try:
        file.encode()
    except UnicodeEncodeError as error:
        raise GuestlinkError(
            f"the container cannot be given the file {file!a:.200}, because its name is not UTF-8",
            hint="rename the file; `convmv` does so for many",
        ) from error
    return file

"""Container managers: one interface, an adapter for LXD and Incus, which have the same API, and one for plain LXC.

The adapters block. Commands call them directly, with the rights of the user who runs the command; the daemon calls
them in threads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from guestlink.errors import GuestlinkError
from guestlink.program import Completed

KINDS = ("lxd", "incus", "lxc")
RUNNING, STOPPED, FROZEN = "running", "stopped", "frozen"
RUN_TIMEOUT = 60.0
"""Seconds for a command inside a container."""
TITLES = {"lxd": "LXD", "incus": "Incus", "lxc": "LXC"}
"""The managers' names in messages."""


class ManagerError(GuestlinkError):
    """A container manager refused, or does not answer."""


class IdRange(NamedTuple):
    """A range of user ids inside a container, and the range on the host that they are mapped to."""

    inside: int
    outside: int
    size: int


class Instance(NamedTuple):
    """A container as its manager reports it.

    :ivar manager: one of :data:`KINDS`.
    :ivar place: LXD's or Incus's project, or LXC's directory.
    :ivar status: :data:`RUNNING`, :data:`STOPPED`, :data:`FROZEN`, or the manager's own word.
    :ivar ids: its map of user ids; empty if they are the host's own.
    :ivar directory: the socket directory that we mount; ``None`` if the container is not attached.
    :ivar started: a text that differs from one start to the next.
    :ivar read_only: whether that directory is mounted read-only; earlier builds let the container write there.
    :ivar wanted_by: a user id on the host: by profile, that user's guestlink-host attaches it; else ``None``.
    """

    manager: str
    place: str
    name: str
    status: str
    ids: tuple[IdRange, ...] = ()
    directory: Path | None = None
    started: str = ""
    read_only: bool = True
    wanted_by: int | None = None

    def outside(self, uid: int) -> int:
        """The host's id for a user inside.

        :raises ManagerError: the container has no such user id.
        """
        if not self.ids:
            return uid
        for part in self.ids:
            if part.inside <= uid < part.inside + part.size:
                return part.outside + uid - part.inside
        raise ManagerError(
            f"the user id {uid} means nothing in the container {self.name}",
            hint="name one of its users with --uid",
        )


class Mounts(NamedTuple):
    """The host's paths that are mounted in a container.

    :ivar directory: mounted read-only as :data:`~guestlink.socket_directory.MOUNT_POINT`.
    :ivar token: a file, mounted as :data:`~guestlink.token.TOKEN_PATH`.
    :ivar devices: device nodes of the host, each mounted as ``/dev/dri/NAME``.
    """

    directory: Path
    token: Path
    devices: Sequence[Path] = ()


class Ran(NamedTuple):
    """The exit status and the output of a command inside a container."""

    status: int
    stdout: str
    stderr: str


class RunProgram(Protocol):
    """Runs a program on this machine and waits for its exit, as :func:`guestlink.program.run_program`."""

    def __call__(self, argv: Sequence[str], *, timeout: float, stdin: int = ...) -> Completed:
        """Run it.

        :raises CommandFailed: it could not be started or did not exit in time.
        """


class Manager(ABC):
    """A container manager of this machine. Every method may raise :class:`ManagerError`."""

    kind: str

    @abstractmethod
    def instances(self, names: Collection[str] | None = None) -> list[Instance]:
        """The containers that this user may manage.

        :param names: only containers with these names; ``None`` for all.
        """

    @abstractmethod
    def attach(self, instance: Instance, mounts: Mounts) -> bool:
        """Mount the paths in the container, now and at every start. Attaching again changes nothing.

        :returns: whether a running container sees them at once; otherwise it does after its next start.
        """

    @abstractmethod
    def detach(self, instance: Instance) -> None:
        """Undo :meth:`attach`, even if a profile asks for it. A container that is not attached is not changed."""

    @abstractmethod
    def drop(self, instance: Instance) -> None:
        """Remove our mounts only; a profile may have the container attached again."""

    @abstractmethod
    def mount_again(self, instance: Instance, mounts: Mounts) -> bool:
        """Mount a directory that was created again, or that was mounted for writing: a running container still has
        the old mount, or none.

        :returns: as :meth:`attach`.
        """

    @abstractmethod
    def start(self, instance: Instance) -> None:
        """Start or thaw a container; returns when its first process runs."""

    @abstractmethod
    def run(self, instance: Instance, argv: Sequence[str], timeout: float = RUN_TIMEOUT) -> Ran:
        """Run a command as root in a running container, and wait until it exits.

        :param timeout: seconds.
        """

    @abstractmethod
    def put(self, instance: Instance, source: Path, path: str) -> None:
        """Copy a file into a running container, readable for everybody.

        :param path: the file's path inside; its directory exists.
        """

    @abstractmethod
    def shell_prefix(self, instance: Instance) -> str:
        """The command line that runs a command as root inside, up to that command; for messages."""

    @abstractmethod
    def restart_command(self, instance: Instance) -> str:
        """The command line that restarts the container; for messages."""


def managers_here(kinds: Iterable[str] = KINDS) -> list[Manager]:
    """The container managers that this machine has."""
    from guestlink_host.managers.lxc import find_lxc
    from guestlink_host.managers.lxd import find_incus, find_lxd

    finders: dict[str, Callable[[], Manager | None]] = {"lxd": find_lxd, "incus": find_incus, "lxc": find_lxc}
    return [found for kind in kinds if (found := finders[kind]()) is not None]


def find_instance(
    name: str, managers: Sequence[Manager], place: str = "", *, asked: Sequence[str] = KINDS
) -> tuple[Manager, Instance]:
    """Find a container by its name.

    :param place: search in this project or directory only; ``""`` for all.
    :param asked: the kinds that ``managers`` was chosen from, for the message if ``managers`` is empty.
    :raises ManagerError: no container has this name, or more than one has, or no manager answers.
    """
    found: list[tuple[Manager, Instance]] = []
    refusals: list[ManagerError] = []
    silent: set[str] = set()
    known: list[str] = []
    for manager in managers:
        try:
            instances = manager.instances()
        except ManagerError as error:
            refusals.append(error)
            silent.add(manager.kind)
            continue
        found += [(manager, one) for one in instances if one.name == name and place in ("", one.place)]
        known += [one.name for one in instances]
    if len(found) == 1:
        return found[0]
    if found:
        where = ", ".join(f"{one.manager} ({one.place})" for _, one in found)
        hint = "choose with --manager and --place"
        raise ManagerError(f"there are several containers {name}: {where}", hint=hint)
    if refusals and len(refusals) == len(managers):
        raise refusals[0]
    if not managers:
        raise _no_manager(asked)
    answered = [TITLES[manager.kind] for manager in managers if manager.kind not in silent]
    where = f" in {place}" if place else ""
    hint = (
        f"known: {', '.join(sorted(known)[:20])}"
        if known
        else "none is there; look at the name, or create the container"
    )
    verb = "has" if len(answered) == 1 else "have"
    rest = f"; {refusals[0]}" if refusals else ""
    raise ManagerError(
        f"{' and '.join(answered)} {verb} no container {name!r:.80}{where}{rest}",
        hint=refusals[0].hint if refusals and refusals[0].hint else hint,
    )


def _no_manager(asked: Sequence[str]) -> ManagerError:
    """The error for a machine without the managers that were asked for; it names those that the machine has."""
    titles = " or ".join(TITLES[kind] for kind in asked) or "container manager"
    others = [manager.kind for manager in managers_here([kind for kind in KINDS if kind not in asked])]
    if others and len(asked) == 1:
        return ManagerError(
            f"this machine has no {titles}, but {' and '.join(TITLES[kind] for kind in others)}",
            hint=f"use that one: --manager {others[0]}",
        )
    if others:
        excluded = " and ".join(TITLES[kind] for kind in others)
        return ManagerError(
            f"this machine has no {titles}, and the settings exclude {excluded}",
            hint="the setting managers in guestlink-host.conf lists the managers to use",
        )
    return ManagerError(
        f"this machine has no {titles}",
        hint="install it; or mount the container's directory yourself: `guestlink-host add NAME` prints the paths",
    )


def id_ranges(entries: Iterable[Mapping[str, object]]) -> Iterator[IdRange]:
    """The user ids in an id map of LXD or Incus.

    :raises ValueError: the map is invalid.
    """
    for entry in entries:
        if entry.get("Isuid"):
            inside, outside, size = entry.get("Nsid"), entry.get("Hostid"), entry.get("Maprange")
            if not (isinstance(inside, int) and isinstance(outside, int) and isinstance(size, int)):
                raise ValueError("an id map without numbers")
            yield IdRange(inside, outside, size)

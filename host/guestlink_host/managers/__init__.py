"""Container managers: one interface, an adapter for LXD and Incus, which speak the same, and one for plain LXC.

The adapters block. Commands call them directly, with the rights of whoever started the command; the daemon calls
them in threads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from guestlink.errors import GuestlinkError

KINDS = ("lxd", "incus", "lxc")
CARRIED_AS = "/dev/.guestlink"
"""Where a container sees its directory."""
TOKEN_AS = "/dev/.container_token"
"""Where a container sees its token (chromeos-garcon.md §7.7)."""
RUNNING, STOPPED, FROZEN = "running", "stopped", "frozen"
RUN_TIMEOUT = 60.0
"""Seconds for a command inside a container."""
TITLES = {"lxd": "LXD", "incus": "Incus", "lxc": "LXC"}
"""The managers as people write them."""


class ManagerError(GuestlinkError):
    """A container manager refused, or is not there."""


class IdRange(NamedTuple):
    """A range of user ids of a container, and what they are on the host."""

    inside: int
    outside: int
    size: int


class Instance(NamedTuple):
    """A container as its manager knows it.

    :ivar manager: one of :data:`KINDS`.
    :ivar place: where it is among the manager's: LXD's project, LXC's directory.
    :ivar status: :data:`RUNNING`, :data:`STOPPED`, :data:`FROZEN`, or the manager's own word.
    :ivar ids: its map of user ids; empty where they are the host's own.
    :ivar directory: which directory is carried in as :data:`CARRIED_AS`, by us; ``None`` where none is.
    :ivar started: differs from one start to the next.
    :ivar wanted_by: the user id on the host whose guestlink-host shall attach it, by a profile; else ``None``.
    """

    manager: str
    place: str
    name: str
    status: str
    ids: tuple[IdRange, ...] = ()
    directory: Path | None = None
    started: str = ""
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


class Carried(NamedTuple):
    """What a container gets.

    :ivar directory: carried in as :data:`CARRIED_AS`.
    :ivar token: a file, carried in as :data:`TOKEN_AS`.
    :ivar devices: device nodes of the host, each carried in as ``/dev/dri/NAME``.
    """

    directory: Path
    token: Path
    devices: Sequence[Path] = ()


class Ran(NamedTuple):
    """How a command inside a container ended, and what it printed."""

    status: int
    stdout: str
    stderr: str


class Manager(ABC):
    """A container manager of this machine. Everything raises :class:`ManagerError`."""

    kind: str

    @abstractmethod
    def instances(self, names: Collection[str] | None = None) -> list[Instance]:
        """The containers that this user may manage.

        :param names: only these.
        """

    @abstractmethod
    def attach(self, instance: Instance, carried: Carried) -> bool:
        """Carry the directory in, now and at every start; nothing happens where it is carried in already.

        :returns: whether a running container sees it at once; otherwise after its next start.
        """

    @abstractmethod
    def detach(self, instance: Instance) -> None:
        """Undo :meth:`attach`, also where a profile wants it; nothing happens where nothing is carried in."""

    @abstractmethod
    def drop(self, instance: Instance) -> None:
        """Take out what is carried in, and leave it to a profile what comes next."""

    @abstractmethod
    def carry_again(self, instance: Instance, carried: Carried) -> bool:
        """Carry in a directory that was made anew, where a running container still has the old one or none.

        :returns: as :meth:`attach`.
        """

    @abstractmethod
    def start(self, instance: Instance) -> None:
        """Start a container, or thaw it; returns when its first process runs."""

    @abstractmethod
    def run(self, instance: Instance, argv: Sequence[str], timeout: float = RUN_TIMEOUT) -> Ran:
        """Run a command as root in a running container and wait for its end.

        :param timeout: seconds.
        """

    @abstractmethod
    def put(self, instance: Instance, source: Path, path: str) -> None:
        """Copy a file into a running container, readable for everybody.

        :param path: where to; its directory exists.
        """

    @abstractmethod
    def shell_prefix(self, instance: Instance) -> str:
        """What a person types before a command that root shall run inside."""

    @abstractmethod
    def restart_command(self, instance: Instance) -> str:
        """What a person types to restart it."""


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

    :param place: only there, if several have one of that name.
    :param asked: the kinds that ``managers`` was chosen from, for the message where it is empty.
    :raises ManagerError: there is none, or more than one, or no manager can be asked.
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
    hint = f"known: {', '.join(sorted(known)[:20])}" if known else "none is there; create it first"
    verb = "has" if len(answered) == 1 else "have"
    rest = f"; {refusals[0]}" if refusals else ""
    raise ManagerError(
        f"{' and '.join(answered)} {verb} no container {name!r:.80}{where}{rest}",
        hint=refusals[0].hint if refusals and refusals[0].hint else hint,
    )


def _no_manager(asked: Sequence[str]) -> ManagerError:
    """Why there is nothing to ask: what is not here, and what is here instead."""
    titles = " or ".join(TITLES[kind] for kind in asked) or "container manager"
    others = [manager.kind for manager in managers_here([kind for kind in KINDS if kind not in asked])]
    if others and len(asked) == 1:
        return ManagerError(
            f"this machine has no {titles}, but {' and '.join(TITLES[kind] for kind in others)}",
            hint=f"ask that: --manager {others[0]}",
        )
    if others:
        return ManagerError(
            f"this machine has no {titles}; {' and '.join(TITLES[kind] for kind in others)} may not be asked",
            hint="the setting managers in guestlink-host.conf says which may",
        )
    return ManagerError(
        f"this machine has no {titles}",
        hint="install it; or mount the container's directory yourself, as `guestlink-host add NAME` says",
    )


def id_ranges(entries: Iterable[Mapping[str, object]]) -> Iterator[IdRange]:
    """The user part of an id map as LXD and Incus write it.

    :raises ValueError: it is none.
    """
    for entry in entries:
        if entry.get("Isuid"):
            inside, outside, size = entry.get("Nsid"), entry.get("Hostid"), entry.get("Maprange")
            if not (isinstance(inside, int) and isinstance(outside, int) and isinstance(size, int)):
                raise ValueError("an id map without numbers")
            yield IdRange(inside, outside, size)

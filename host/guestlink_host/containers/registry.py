"""The registry of this host's containers: names, tokens, policies. Its file survives restarts and kills."""

from __future__ import annotations

import contextlib
import errno
import hmac
import json
import os
import stat
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from guestlink import socket_directory
from guestlink.errors import GuestlinkError, reason
from guestlink.paths import atomic_write, private_directory
from guestlink.regular_file import read_regular
from guestlink_host.border.policies import is_valid
from guestlink_host.border.ports.forward import Forward, forward_from
from guestlink_host.border.url_policy import Share
from guestlink_host.containers.access_lists import AccessLists, tokens
from guestlink_host.containers.mounted_directories import DiscardedDirectories, MountedDirectories
from guestlink_host.names import check_container_name, is_container_name

CONTAINER_LIMIT = 256
_FILE_LIMIT = 64 * 1024 * 1024
"""Bytes of the registry's file that are read; it cannot have more."""
SHARE_LIMIT = 64
DEFAULT_UID = 1000
"""The id of a container's user (chromeos-garcon.md §7.8)."""


class Container(NamedTuple):
    """The stored values of a container.

    :ivar token: proves that a call comes from this container; a secret.
    :ivar policies: its own policies, by their keys in :mod:`guestlink_host.border.policies`.
    :ivar listen: a further address where the host serves its ContainerListener; ``""`` for none.
    :ivar garcon: garcon's address, where port 0 means the port that garcon announces; ``""`` if it parks
        connections at the sockets in the container's directory.
    :ivar ip: its IP address, for links to servers inside; ``""`` if it shares the host's network.
    :ivar shares: folders of the host that the container sees.
    :ivar manager: its manager, one of :data:`~guestlink_host.managers.KINDS`; ``""`` if it was added by hand.
    :ivar place: its project at LXD or Incus, or its directory at LXC.
    :ivar uid: the id of its user inside.
    :ivar users: the ids of its root and its user on this host, without our own and the host's root.
    :ivar forwards: the forwards of its ports that the user has named.
    :ivar by_profile: whether its profile attached it; if so, the daemon forgets it when its manager deletes it.
    """

    name: str
    token: str
    policies: Mapping[str, str] = MappingProxyType({})
    listen: str = ""
    garcon: str = ""
    ip: str = ""
    shares: tuple[Share, ...] = ()
    manager: str = ""
    place: str = ""
    uid: int = DEFAULT_UID
    users: tuple[int, ...] = ()
    by_profile: bool = False
    forwards: tuple[Forward, ...] = ()

    def knows(self, token: str) -> bool:
        """Whether this is its token, compared in constant time."""
        return hmac.compare_digest(self.token.encode(), token.encode(errors="replace"))


class Containers:
    """The registry, stored in one file, and the directories and tokens that are mounted in containers.

    :param state: directory for the registry and the application lists.
    :param runtime: directory for the containers' directories and tokens.
    :ivar discarded: removes directories of containers that are forgotten.
    :raises GuestlinkError: the registry cannot be read.
    """

    def __init__(self, state: Path, runtime: Path) -> None:
        self._path = state / "containers.json"
        self._lists = state / "applications"
        self.discarded = DiscardedDirectories(runtime / "discarded")
        self._directories = MountedDirectories(runtime, self.discarded)
        self._tokens = tokens(runtime)
        self._access = AccessLists(runtime)
        self._known = self._load()

    def __iter__(self) -> Iterator[Container]:
        return iter(list(self._known.values()))

    def __getitem__(self, name: object) -> Container:
        if isinstance(name, str) and name in self._known:
            return self._known[name]
        known = f"known: {', '.join(sorted(self._known))}" if self._known else "none is known yet"
        which = name if is_container_name(name) else "NAME"
        raise GuestlinkError(
            f"no container {name!r:.80} is known here",
            hint=f"`guestlink-host attach {which}` adds it; {known}",
        )

    @property
    def directories(self) -> Path:
        """The parent of the containers' directories."""
        return self._directories.parent

    def directory(self, name: str) -> Path:
        """The directory that is mounted in a container."""
        return self._directories.parent / name

    def token_file(self, name: str) -> Path:
        """The token file that a manager mounts."""
        return self._tokens / name

    def list_file(self, name: str) -> Path:
        """The file with a container's last application list."""
        return self._lists / f"{name}.json"

    def add(self, name: str, **fields: Any) -> Container:
        """Add a container with a new token.

        :raises GuestlinkError: the name is invalid or taken, or the registry cannot be written.
        """
        check_container_name(name)
        if name in self._known:
            raise GuestlinkError(
                f"a container {name!r} is known already",
                hint=f"`guestlink-host list` shows it; `guestlink-host remove {name}` forgets it",
            )
        if len(self._known) >= CONTAINER_LIMIT:
            raise GuestlinkError(f"there are {CONTAINER_LIMIT} containers already", hint="remove one first")
        container = Container(name, new_token(), **fields)
        self._store({**self._known, name: container})
        return container

    def remove(self, name: str) -> None:
        """Forget a container and remove its directory.

        :raises GuestlinkError: there is no such container, or the registry cannot be written.
        """
        self[name]
        self._store({known: value for known, value in self._known.items() if known != name})
        self.list_file(name).unlink(missing_ok=True)
        self.token_file(name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._directories.remove(name)

    def change(self, name: str, **fields: Any) -> Container:
        """Change fields of a container.

        :raises GuestlinkError: there is no such container, or the registry cannot be written.
        """
        container = self[name]._replace(**fields)
        self._store({**self._known, name: container})
        return container

    def renew_token(self, name: str) -> Container:
        """Give a container that has stopped a new token for its next start (chromeos-garcon.md §2.3)."""
        container = self.change(name, token=new_token())
        self.prepare(container)
        return container

    def prepare(self, container: Container) -> bool:
        """Create the container's directory, and write its token and its name on this host.

        :returns: whether the directory is new: a running container cannot see a new one.
        :raises GuestlinkError: the directory or a file cannot be written.
        """
        is_new = self._directories.prepare(container.name)
        directory = self.directory(container.name)
        token_file = private_directory(self._tokens) / container.name
        for path, text in (
            (token_file, container.token),
            (directory / socket_directory.TOKEN, container.token),
            (directory / socket_directory.NAME, container.name),
        ):
            try:
                _write_in_place(path, text.encode(), 0o600 if path == token_file else 0o644)
            except OSError as error:
                raise GuestlinkError(
                    f"the {path.name} file {path} cannot be written: {reason(error)}",
                    hint="make room on the disk, or remove what is in its place",
                ) from error
        # The directory's access control list guards the files in it; the token file, mounted alone, has its own.
        self._access.grant(container.name, container.users)
        return is_new

    def _load(self) -> dict[str, Container]:
        try:
            content = json.loads(read_regular(str(self._path), _FILE_LIMIT))
            return {name: _container(name, fields) for name, fields in content["containers"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, GuestlinkError) as error:
            raise GuestlinkError(
                f"{self._path} cannot be used: {error}",
                hint="repair the file, or move it away to start afresh; then attach the containers again",
            ) from error

    def _store(self, known: dict[str, Container]) -> None:
        fields = {name: _fields(container) for name, container in known.items()}
        private_directory(self._path.parent)
        try:
            atomic_write(self._path, json.dumps({"version": 1, "containers": fields}, indent=1).encode(), 0o600)
        except OSError as error:
            raise GuestlinkError(
                f"{self._path} cannot be written: {reason(error)}",
                hint=f"make {'room there' if error.errno in _FULL else 'its folder writable'}; nothing was changed",
            ) from error
        self._known = known


_FULL = (errno.ENOSPC, errno.EDQUOT)


def new_token() -> str:
    """A new token for a container."""
    return str(uuid.uuid4())


def _write_in_place(path: Path, content: bytes, mode: int) -> None:
    """Write a small file in place, because it may be bind-mounted, and the container would not see a new one."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with open(os.open(path, flags, mode), "r+b", buffering=0) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        os.fchmod(stream.fileno(), mode)
        if stream.read(len(content) + 1) != content:
            stream.seek(0)
            stream.truncate()
            stream.write(content)


def _fields(container: Container) -> dict[str, Any]:
    fields: dict[str, Any] = container._asdict()
    del fields["name"]
    return fields | {
        "policies": dict(container.policies),
        "shares": [list(share) for share in container.shares],
        "forwards": [forward.pack() for forward in container.forwards],
    }


def _container(name: str, fields: Mapping[str, Any]) -> Container:
    kinds = {key: type(value) for key, value in Container._field_defaults.items()} | {"token": str}
    plain: dict[str, Any] = {
        key: fields[key]
        for key, kind in kinds.items()
        if kind in (str, int, bool) and type(fields.get(key)) is kind
    }
    shares = tuple(Share(str(host), str(inside)) for host, inside in fields.get("shares", ()))
    forwards = tuple(forward_from(forward) for forward in fields.get("forwards", ()))
    users = tuple(int(uid) for uid in fields.get("users", ()))
    policies = {str(key): value for key, value in {**_older_policies(fields), **fields.get("policies", {})}.items()}
    container = Container(check_container_name(name), **plain)
    if not container.token or not is_valid(policies):
        raise ValueError(f"the entry of {name} is invalid")
    return container._replace(shares=shares, users=users, policies=policies, forwards=forwards)


def _older_policies(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The policies of an entry of an earlier build, which has a field for each."""
    found = {key: fields.get(f"{key}_policy", "") for key in ("url", "terminal", "mime")}
    return {key: value for key, value in found.items() if value}

"""The containers that this host knows: names, tokens, policies. Survives restarts and kills."""

from __future__ import annotations

import hmac
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from guestlink.errors import GuestlinkError
from guestlink.paths import atomic_write, private_directory
from guestlink_host.names import check_container_name
from guestlink_host.settings import POLICIES
from guestlink_host.url_policy import Share

CONTAINER_LIMIT = 256
SHARE_LIMIT = 64


class Container(NamedTuple):
    """What is remembered of a container.

    :ivar token: proves that a call comes from this container; a secret.
    :ivar url_policy: ``allow``, ``ask``, ``deny``, or ``""`` for the setting; ``terminal_policy`` likewise.
    :ivar listen: a further address where its ContainerListener is served; ``""`` for none.
    :ivar garcon: where its garcon serves; port 0 stands for the one that it announces; ``""`` for the socket in
        the container's directory.
    :ivar ip: its address, for links to servers inside; ``""`` where it shares the host's network.
    :ivar shares: folders of the host that the container sees.
    """

    name: str
    token: str
    url_policy: str = ""
    terminal_policy: str = ""
    listen: str = ""
    garcon: str = ""
    ip: str = ""
    shares: tuple[Share, ...] = ()

    def knows(self, token: str) -> bool:
        """Whether this is its token; takes the same time for any wrong one."""
        return hmac.compare_digest(self.token.encode(), token.encode(errors="replace"))


class Containers:
    """The registry, kept in one file, and each container's directory that is carried into it.

    :param state: directory for the registry and the application lists.
    :param runtime: directory below which each container's own lies.
    :raises GuestlinkError: the registry cannot be read.
    """

    def __init__(self, state: Path, runtime: Path) -> None:
        self._path = state / "containers.json"
        self._lists = state / "applications"
        self._runtime = runtime
        self._known = self._load()

    def __iter__(self) -> Iterator[Container]:
        return iter(list(self._known.values()))

    def __getitem__(self, name: object) -> Container:
        if isinstance(name, str) and name in self._known:
            return self._known[name]
        known = f"known: {', '.join(sorted(self._known))}" if self._known else "none is known yet"
        hint = f"add it with `guestlink-host add {name:.63}`; {known}" if isinstance(name, str) and name else known
        raise GuestlinkError(f"there is no container {name!r:.80}", hint=hint)

    def directory(self, name: str) -> Path:
        """The directory that is carried into a container."""
        return self._runtime / name

    def list_file(self, name: str) -> Path:
        """Where a container's last application list is kept."""
        return self._lists / f"{name}.json"

    def add(self, name: str, **fields: Any) -> Container:
        """Add a container with a new token.

        :raises GuestlinkError: the name is bad or taken, or the disk refuses.
        """
        check_container_name(name)
        if name in self._known:
            raise GuestlinkError(
                f"there is a container {name!r} already",
                hint=f"`guestlink-host list` shows it; `guestlink-host remove {name}` forgets it",
            )
        if len(self._known) >= CONTAINER_LIMIT:
            raise GuestlinkError(f"there are {CONTAINER_LIMIT} containers already", hint="remove one first")
        container = Container(name, str(uuid.uuid4()), **fields)
        self._store({**self._known, name: container})
        return container

    def remove(self, name: str) -> None:
        """Forget a container and remove its directory.

        :raises GuestlinkError: there is none, or the disk refuses.
        """
        self[name]
        self._store({known: value for known, value in self._known.items() if known != name})
        self.list_file(name).unlink(missing_ok=True)
        shutil.rmtree(self.directory(name), ignore_errors=True)

    def change(self, name: str, **fields: Any) -> Container:
        """Change fields of a container.

        :raises GuestlinkError: there is none, or the disk refuses.
        """
        container = self[name]._replace(**fields)
        self._store({**self._known, name: container})
        return container

    def renew_token(self, name: str) -> Container:
        """Give a container that has stopped a new token for its next start (garcon.md §2.3)."""
        container = self.change(name, token=str(uuid.uuid4()))
        self.prepare(container)
        return container

    def prepare(self, container: Container) -> None:
        """Make the container's directory, and in it the files with its token and with its name on this host.

        :raises GuestlinkError: they cannot be made.
        """
        directory = private_directory(self.directory(container.name))
        for path, text in ((directory / "token", container.token), (directory / "name", container.name)):
            try:
                _write_in_place(path, text.encode())
            except OSError as error:
                raise GuestlinkError(
                    f"the {path.name} file {path} cannot be written: {(error.strerror or str(error)).lower()}",
                    hint="make room, or remove what stands there",
                ) from error

    def _load(self) -> dict[str, Container]:
        try:
            content = json.loads(self._path.read_bytes())
            return {name: _container(name, fields) for name, fields in content["containers"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, GuestlinkError) as error:
            raise GuestlinkError(
                f"{self._path} cannot be used: {error}",
                hint="mend it, or move it away to begin anew; containers must then be added again",
            ) from error

    def _store(self, known: dict[str, Container]) -> None:
        fields = {name: _fields(container) for name, container in known.items()}
        private_directory(self._path.parent)
        try:
            atomic_write(self._path, json.dumps({"version": 1, "containers": fields}, indent=1).encode(), 0o600)
        except OSError as error:
            raise GuestlinkError(
                f"{self._path} cannot be written: {(error.strerror or str(error)).lower()}",
                hint="make room there; nothing was changed",
            ) from error
        self._known = known


def _write_in_place(path: Path, content: bytes) -> None:
    """Write a small file that the container may have tampered with.

    In place, because the file itself may be bind-mounted and a new one would not be seen; but never through a link
    that the container has put there, which would reach any file of the user.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            os.close(descriptor)
            raise OSError
    except OSError:
        clear_path(path)
        descriptor = os.open(path, flags | os.O_EXCL, 0o600)
    with open(descriptor, "r+b", buffering=0) as stream:
        if stream.read(len(content) + 1) != content:
            stream.seek(0)
            stream.truncate()
            stream.write(content)


def clear_path(path: Path) -> None:
    """Remove whatever a container has put at a path, without following it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _fields(container: Container) -> dict[str, Any]:
    fields: dict[str, Any] = container._asdict()
    del fields["name"]
    return fields | {"shares": [list(share) for share in container.shares]}


def _container(name: str, fields: Mapping[str, Any]) -> Container:
    texts: dict[str, Any] = {key: fields[key] for key in Container._fields if isinstance(fields.get(key), str)}
    shares = tuple(Share(str(host), str(inside)) for host, inside in fields.get("shares", ()))
    container = Container(check_container_name(name), **texts)._replace(shares=shares)
    policies = {container.url_policy, container.terminal_policy}
    if not container.token or not policies <= {"", *POLICIES}:
        raise ValueError(f"the entry of {name} makes no sense")
    return container

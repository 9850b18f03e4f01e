"""LXD and Incus by their REST API on a local socket; this module uses only what both have in common."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shlex
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from guestlink.program import OUTPUT_LIMIT
from guestlink.socket_directory import MOUNT_POINT
from guestlink.token import TOKEN_PATH
from guestlink_host.managers import (
    FROZEN,
    RUN_TIMEOUT,
    RUNNING,
    STOPPED,
    TITLES,
    IdRange,
    Instance,
    Manager,
    ManagerError,
    Mounts,
    Ran,
    id_ranges,
)

WANTED_KEY = "user.guestlink"
"""Configuration key of an instance or a profile: the host user id whose guestlink-host attaches the instance."""
_DIRECTORY, _TOKEN, _NODE = "guestlink", "guestlink-token", "guestlink-gpu-"
"""Names of our devices."""
_WRITABLE = ("architecture", "config", "devices", "ephemeral", "profiles", "stateful", "description")
_TIMEOUT = 30.0
_BACKGROUND = 120
"""Seconds for an answer, and for a background operation such as a start."""
_ANSWER_LIMIT = 64 * 1024 * 1024
_STATUS = {"Running": RUNNING, "Ready": RUNNING, "Stopped": STOPPED, "Frozen": FROZEN}


class Lxd(Manager):
    """One LXD or Incus daemon.

    :param kind: ``lxd`` or ``incus``.
    :param path: its socket.
    """

    def __init__(self, kind: str, path: Path) -> None:
        self.kind = kind
        self._title = TITLES[kind]
        self._path = path

    def instances(self, names: Collection[str] | None = None) -> list[Instance]:
        """See :class:`Manager`."""
        try:
            found, _ = self._ask("GET", "/1.0/instances", {"recursion": "1", "all-projects": "true"})
        except ManagerError as error:
            if not isinstance(error.__cause__, _Refused):
                raise
            # A user who is confined to a project may not list all projects.
            found, _ = self._ask("GET", "/1.0/instances", {"recursion": "1"})
        containers = [self._instance(value) for value in found if value.get("type") == "container"]
        return [one for one in containers if names is None or one.name in names]

    def attach(self, instance: Instance, mounts: Mounts) -> bool:
        """See :class:`Manager`. LXD plugs the devices into a running container."""
        devices = _devices(mounts)
        self._change(instance, lambda known: _without_ours(known) | devices, _wanted_again)
        return True

    def detach(self, instance: Instance) -> None:
        """See :class:`Manager`."""
        change_config = _as_it_is if instance.wanted_by is None else _unwanted
        self._change(instance, _without_ours, change_config)

    def drop(self, instance: Instance) -> None:
        """See :class:`Manager`."""
        self._change(instance, _without_ours, _as_it_is)

    def mount_again(self, instance: Instance, mounts: Mounts) -> bool:
        """See :class:`Manager`."""
        self.drop(instance)
        return self.attach(instance, mounts)

    def start(self, instance: Instance) -> None:
        """See :class:`Manager`."""
        action = "unfreeze" if instance.status == FROZEN else "start"
        self._ask("PUT", self._url(instance) + "/state", _project(instance), {"action": action, "timeout": -1})

    def run(self, instance: Instance, argv: Sequence[str], timeout: float = RUN_TIMEOUT) -> Ran:
        """See :class:`Manager`. LXD stores the output in files, which this method deletes."""
        wanted = {"command": list(argv), "record-output": True, "interactive": False, "wait-for-websocket": False}
        answer, _ = self._ask(
            "POST", f"{self._url(instance)}/exec", _project(instance), wanted, patience=int(timeout)
        )
        ended = answer.get("metadata") or {}
        outputs = {}
        for number, url in (ended.get("output") or {}).items():
            path = f"{url}?{urlencode(_project(instance))}"
            outputs[number] = self._transfer("GET", path, limit=OUTPUT_LIMIT).decode(errors="replace")
            self._transfer("DELETE", path)
        return Ran(int(ended.get("return", -1)), outputs.get("1", ""), outputs.get("2", ""))

    def put(self, instance: Instance, source: Path, path: str) -> None:
        """See :class:`Manager`."""
        name = "Incus" if self.kind == "incus" else "LXD"
        kinds = {"type": "file", "uid": "0", "gid": "0", "mode": "0644", "write": "overwrite"}
        headers = {f"X-{name}-{key}": value for key, value in kinds.items()}
        url = f"{self._url(instance)}/files?{urlencode(_project(instance) | {'path': path})}"
        self._transfer("POST", url, source, headers)

    def shell_prefix(self, instance: Instance) -> str:
        """See :class:`Manager`."""
        return f"{self._command(instance)} exec {shlex.quote(instance.name)} --"

    def restart_command(self, instance: Instance) -> str:
        """See :class:`Manager`."""
        return f"{self._command(instance)} restart {shlex.quote(instance.name)}"

    def _command(self, instance: Instance) -> str:
        client = "incus" if self.kind == "incus" else "lxc"
        return client if instance.place == "default" else f"{client} --project {shlex.quote(instance.place)}"

    def _instance(self, value: Mapping[str, Any]) -> Instance:
        config = value.get("expanded_config") or {}
        wanted = str(config.get(WANTED_KEY, ""))
        device = (value.get("devices") or {}).get(_DIRECTORY)
        return Instance(
            self.kind,
            str(value.get("project") or "default"),
            str(value["name"]),
            _STATUS.get(value.get("status", ""), str(value.get("status", "")).lower()),
            _ids(config),
            Path(device.get("source", "")) if device is not None else None,
            str(value.get("last_used_at", "")),
            device is None or str(device.get("readonly")) == "true",
            int(wanted) if wanted.isdecimal() else None,
        )

    def _change(
        self,
        instance: Instance,
        change_devices: Callable[[dict[str, Any]], dict[str, Any]],
        change_config: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> None:
        """Change an instance's own devices and configuration; the ETag prevents overwriting another change."""
        current, tag = self._ask("GET", self._url(instance), _project(instance))
        content = {key: current[key] for key in _WRITABLE if key in current}
        changed = content | {
            "devices": change_devices(content.get("devices") or {}),
            "config": change_config(content.get("config") or {}),
        }
        if changed != content:
            self._ask("PUT", self._url(instance), _project(instance), changed, tag)

    @staticmethod
    def _url(instance: Instance) -> str:
        return f"/1.0/instances/{quote(instance.name, safe='')}"

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        content: object = None,
        tag: str = "",
        *,
        patience: int = _BACKGROUND,
    ) -> tuple[Any, str]:
        """Make one call; wait for its background operation, but at most ``patience`` seconds.

        :returns: the answer's metadata, or the finished operation; and the answer's ETag.
        """
        with self._explained():
            answer, tag = self._call(method, f"{path}?{urlencode(query)}", content, tag)
            if answer.get("type") != "async":
                return answer.get("metadata"), tag
            waiting = {key: query[key] for key in ("project",) if key in query} | {"timeout": str(patience)}
            url = f"{answer['operation']}/wait?{urlencode(waiting)}"
            waited, _ = self._call("GET", url, timeout=patience + _TIMEOUT)
            operation = waited.get("metadata") or {}
            if operation.get("err"):
                raise _Refused(str(operation["err"]))
            if operation.get("status") == "Running":
                raise TimeoutError
            return operation, tag

    def _transfer(
        self,
        method: str,
        url: str,
        source: Path | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = _ANSWER_LIMIT,
    ) -> bytes:
        """Make one call about a file: send ``source``, or return at most ``limit`` bytes of the file's content."""
        with self._explained(), contextlib.ExitStack() as files:
            body = files.enter_context(source.open("rb")) if source is not None else None
            sent = {"Content-Type": "application/octet-stream", **(headers or {})}
            if source is not None:
                sent["Content-Length"] = str(source.stat().st_size)
            status, content, _ = self._exchange(method, url, body, sent, _BACKGROUND, limit)
            if status >= http.client.BAD_REQUEST:
                raise _Refused(str(json.loads(content).get("error")))
            return content

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the errors of a call into :class:`ManagerError` with a sentence."""
        try:
            yield
        except _Refused as error:
            raise ManagerError(
                f"{self._title} refuses: {error}", hint=f"its log may have more: {self._log()}"
            ) from error
        except PermissionError as error:
            raise ManagerError(
                f"this user may not use {self._title}: {self._path}: permission denied",
                hint=f"join its group (`sudo usermod -aG {self._group()} $USER`) and log in again",
            ) from error
        except TimeoutError as error:
            raise ManagerError(
                f"{self._title} did not finish the operation", hint=f"its log may have the reason: {self._log()}"
            ) from error
        except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ManagerError(
                f"{self._title} does not answer on {self._path}: {error or type(error).__name__}",
                hint=f"check whether its daemon runs; its log: {self._log()}",
            ) from error

    def _call(
        self, method: str, url: str, content: object = None, tag: str = "", timeout: float = _TIMEOUT
    ) -> tuple[dict[str, Any], str]:
        headers = {"Content-Type": "application/json"} if content is not None else {}
        if tag:
            headers["If-Match"] = tag
        body = None if content is None else json.dumps(content)
        _, received, new_tag = self._exchange(method, url, body, headers, timeout)
        answer = json.loads(received)
        if answer.get("type") == "error":
            raise _Refused(str(answer.get("error")))
        return answer, new_tag

    def _exchange(
        self,
        method: str,
        url: str,
        body: str | BinaryIO | None,
        headers: Mapping[str, str],
        timeout: float,
        limit: int = _ANSWER_LIMIT,
    ) -> tuple[int, bytes, str]:
        """Send a request; returns the response's status, at most ``limit`` bytes of its content, and its ETag."""
        common = {"Host": "localhost", "User-Agent": "guestlink-host"}
        with contextlib.closing(_Connection(self._path, timeout)) as connection:
            connection.request(method, url, body, {**common, **headers})
            response = connection.getresponse()
            return response.status, response.read(limit), response.headers.get("ETag", "")

    def _group(self) -> str:
        return "incus-admin" if self.kind == "incus" else "lxd"

    def _log(self) -> str:
        return f"`journalctl -u {self.kind}`"


class _Refused(Exception):
    """LXD or Incus answered with an error."""


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


def find_lxd(environ: Mapping[str, str] = os.environ) -> Lxd | None:
    """The LXD daemon of this machine, if there is one."""
    places = (environ.get("LXD_DIR", ""), "/var/snap/lxd/common/lxd", "/var/lib/lxd")
    return _first("lxd", "", (f"{place}/unix.socket" for place in places if place))


def find_incus(environ: Mapping[str, str] = os.environ) -> Lxd | None:
    """The Incus daemon of this machine, if there is one; confined users get its other socket."""
    places = [place for place in (environ.get("INCUS_DIR", ""), "/run/incus", "/var/lib/incus") if place]
    sockets = [f"{place}/{name}" for name in ("unix.socket", "unix.socket.user") for place in places]
    return _first("incus", environ.get("INCUS_SOCKET", ""), sockets)


def _first(kind: str, chosen: str, candidates: Any) -> Lxd | None:
    if chosen:
        return Lxd(kind, Path(chosen))
    there = [path for path in map(Path, candidates) if _exists(path)]
    usable = [path for path in there if os.access(path, os.R_OK | os.W_OK)]
    return Lxd(kind, (usable or there)[0]) if there else None


def _exists(path: Path) -> bool:
    try:
        return path.is_socket()
    except PermissionError:  # Python 3.11 to 3.13 raise if a directory of the path is closed.
        return False


def _project(instance: Instance) -> dict[str, str]:
    return {"project": instance.place}


def _ids(config: Mapping[str, str]) -> tuple[IdRange, ...]:
    """The id map in use, or else the one for the next start."""
    text = config.get("volatile.idmap.current") or config.get("volatile.idmap.next") or "[]"
    if config.get("security.privileged") in ("true", "1", "yes", "on"):
        return ()
    return tuple(id_ranges(json.loads(text)))


def node_devices(nodes: Iterable[Path]) -> dict[str, dict[str, str]]:
    """LXD devices for device nodes of the host, each as ``/dev/dri/NAME`` inside."""
    # Mode 0666, because the id of the node's group has no meaning inside.
    common = {"type": "unix-char", "required": "false", "mode": "0666"}
    return {_NODE + node.name: common | {"source": str(node), "path": f"/dev/dri/{node.name}"} for node in nodes}


def _devices(mounts: Mounts) -> dict[str, dict[str, str]]:
    # "required": "false", so that the container starts while nobody is logged in; mount_again() mounts later.
    disk = {"type": "disk", "required": "false", "readonly": "true"}
    return {
        _DIRECTORY: disk | {"source": str(mounts.directory), "path": MOUNT_POINT},
        _TOKEN: disk | {"source": str(mounts.token), "path": TOKEN_PATH},
    } | node_devices(mounts.devices)


def _as_it_is(config: dict[str, Any]) -> dict[str, Any]:
    return config


def _unwanted(config: dict[str, Any]) -> dict[str, Any]:
    # The container's own value overrides its profiles'.
    return config | {WANTED_KEY: "no"}


def _wanted_again(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if (key, value) != (WANTED_KEY, "no")}


def _without_ours(devices: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in devices.items()
        if name not in (_DIRECTORY, _TOKEN) and not name.startswith(_NODE)
    }

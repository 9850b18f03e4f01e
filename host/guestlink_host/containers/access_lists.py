"""Lets a container's users read what is mounted in their container: its directory, and its token file (acl(5)).

In the sandbox of its unit the daemon has a user namespace of its own, in which the users of an id-mapped container
have no ids, and the kernel refuses access control lists that name them. There the user's systemd starts
``guestlink-host-access@.service`` outside that namespace (:mod:`guestlink_host.containers.access_service`).
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Collection
from pathlib import Path

from guestlink import acl
from guestlink.address import UnixAddress
from guestlink.errors import GuestlinkError, reason
from guestlink.sockets import connect
from guestlink.user_namespace import has_id

SERVICE_SOCKET = "guestlink-host-access.sock"
"""Below ``$XDG_RUNTIME_DIR``; ``guestlink-host-access.socket`` has the same path."""
LINE_LIMIT = 4096
"""Bytes of a request or an answer."""
_ANSWER_TIME = 10.0
"""Seconds for an answer; a process starts in a fraction of one."""


class AccessLists:
    """Sets the access control lists of containers' directories and token files.

    :param runtime: guestlink-host's own runtime directory.
    :param service: the socket of the service that sets lists which this process cannot set.
    """

    def __init__(self, runtime: Path, service: Path | None = None) -> None:
        self._runtime = runtime
        self._service = UnixAddress(str(service or runtime.with_name(SERVICE_SOCKET)))
        self._connection: socket.socket | None = None

    def grant(self, name: str, users: Collection[int]) -> None:
        """Let these users, and no others besides us, read a container's directory and its token file.

        :param users: their ids on this host, without our own.
        :raises GuestlinkError: the file system or the service refuses, or the service does not answer.
        """
        if all(map(has_id, users)):
            grant_directly(self._runtime, name, users)
        else:
            self._ask(name, users)

    def close(self) -> None:
        """Close the connection to the service."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, name: str, users: Collection[int]) -> None:
        line = json.dumps({"name": name, "users": sorted(users)}).encode() + b"\n"
        try:
            answer = self._answer(line) or self._answer(line)  # The service exits when it is not used.
            error = json.loads(answer)["error"] if answer else "it does not answer"
        except (OSError, GuestlinkError) as failure:
            error = reason(failure) if isinstance(failure, OSError) else failure.message
        except (ValueError, TypeError, KeyError):
            error = "its answer is invalid"
        if error:
            self.close()
            raise GuestlinkError(
                f"the users of {name} cannot be admitted to its directory: guestlink-host-access: {error}",
                hint="`systemctl --user start guestlink-host-access.socket` starts the service's socket, and "
                "`journalctl --user -t host-access` may say more",
            )

    def _answer(self, line: bytes) -> bytes:
        """Send a request; the answer is empty if the service has exited."""
        if self._connection is None:
            self._connection = connect(self._service, timeout=_ANSWER_TIME)
            self._connection.settimeout(_ANSWER_TIME)
        answer = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.sendall(line)
            while not answer.endswith(b"\n") and len(answer) < LINE_LIMIT:
                chunk = self._connection.recv(LINE_LIMIT)
                if not chunk:
                    break
                answer += chunk
        if not answer:
            self.close()
        return answer


def grant_directly(runtime: Path, name: str, users: Collection[int]) -> None:
    """Set the lists in this process, whose user namespace has an id for each of the users.

    :raises GuestlinkError: the file system refuses.
    """
    acl.grant(directories(runtime) / name, users, acl.READ | acl.ENTER)
    acl.grant(tokens(runtime) / name, users, acl.READ)


def directories(runtime: Path) -> Path:
    """The parent of the directories that are mounted in containers."""
    return runtime / "containers"


def tokens(runtime: Path) -> Path:
    """The parent of the token files that are mounted in containers."""
    return runtime / "tokens"

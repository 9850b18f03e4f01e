"""Admits containers' users to their directories for a daemon that cannot name them in its own user namespace.

``guestlink-host-access.socket`` starts one process for a connection, which is its standard input. A request is a
line, ``{"name": CONTAINER, "users": [UID, …]}``, and so is the answer, ``{"error": SENTENCE}``, empty if the lists
are set. A request can do no more than let users read a directory and a file that guestlink-host has made.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from guestlink.errors import GuestlinkError, run_command
from guestlink.sockets import peer_of, same_user
from guestlink_host.containers.access_lists import LINE_LIMIT, grant_directly
from guestlink_host.names import check_container_name
from guestlink_host.settings import host_runtime_directory

IDLE_TIME = 5.0
"""Seconds without a request after which the process exits."""
USERS_LIMIT = 64
"""Users of a container: its root and its user, usually."""


def main() -> int:
    """Serve the connection on standard input."""
    return run_command("host-access", lambda _: _serve())


def _serve() -> int:
    with socket.socket(fileno=os.dup(0)) as connection:
        if refusal := same_user().refusal(peer_of(connection)):
            raise GuestlinkError(refusal)
        connection.settimeout(IDLE_TIME)
        serve(connection, host_runtime_directory())
    return 0


def serve(connection: socket.socket, runtime: Path) -> None:
    """Answer requests until the other side closes the connection, or sends none for its timeout.

    :param runtime: guestlink-host's own runtime directory.
    """
    received = b""
    while True:
        line, newline, rest = received.partition(b"\n")
        if newline:
            received = rest
            connection.sendall(json.dumps({"error": answer(line, runtime)}).encode() + b"\n")
        elif len(received) > LINE_LIMIT:
            return
        else:
            try:
                chunk = connection.recv(LINE_LIMIT)
            except (TimeoutError, ConnectionResetError):
                return
            if not chunk:
                return
            received += chunk


def answer(line: bytes, runtime: Path) -> str:
    """Do what a request asks for.

    :returns: why it is refused, or an empty text.
    """
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return "the request is no JSON"
    if not isinstance(request, dict) or request.keys() != {"name", "users"}:
        return "the request has other fields than name and users"
    users = request["users"]
    if not isinstance(users, list) or len(users) > USERS_LIMIT:
        return f"users is no list of at most {USERS_LIMIT} ids"
    if not all(type(uid) is int and 0 < uid < 2**32 - 1 for uid in users):
        return "users has an id that no user can have"
    try:
        grant_directly(runtime, check_container_name(request["name"]), users)
    except GuestlinkError as error:
        return error.message
    return ""

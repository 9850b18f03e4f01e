"""Sessions that garcon requests: a process that already runs forks them (chromeos-vsh.md §2.2).

garcon connects to a private socket and writes one line of JSON, :class:`Request`'s fields; it gets ``{"ok": PID}``
when the session's process is about to connect to the host, or ``{"error": SENTENCE}``.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from guestlink.address import Address, parse_address
from guestlink.authentication import authenticate, set_tcp_options
from guestlink.errors import GuestlinkError, reason
from guestlink.handshake import DialerHandshake, Purpose
from guestlink.sockets import connect
from guestlink.token import read_token
from vshd.session_defaults import SessionDefaults
from vshd.shell_session import ShellSession
from vshd.waiting_child import WaitingChild

_log = logging.getLogger(__name__)

REQUEST_LIMIT = 1 << 20
"""Bytes of a request: an environment and an address."""
_TIMEOUT = 10.0
"""Seconds for the request itself and for connecting to the host."""


class Request(NamedTuple):
    """What garcon asks for.

    :ivar address: where the host's client listens.
    :ivar token_file: the file that holds the container's token.
    :ivar handshake: whether the connection begins with a handshake.
    :ivar environ: the session's variables, complete.
    """

    address: Address
    token_file: str
    handshake: bool
    environ: dict[bytes, bytes]


def serve_request(
    connection: socket.socket,
    default_user: str,
    may_switch: bool,
    child: WaitingChild | None,
    begun: Callable[[], None],
) -> int:
    """Serve one request: answer it, connect to the host, and run the session.

    :param child: see :class:`~vshd.shell_session.ShellSession`.
    :param begun: called once the request is complete.
    :returns: the exit status of the session's process.
    """
    try:
        request = parse_request(_line(connection))
    except (GuestlinkError, OSError, ValueError) as error:
        _answer(connection, {"error": str(error)})
        return 1
    begun()
    # Answer before we connect, so that garcon answers the host at once: the host may accept late
    # (chromeos-vsh.md §2.2).
    _answer(connection, {"ok": os.getpid()})
    connection.close()
    try:
        sock = dial(request.address, request.token_file, handshake=request.handshake)
    except GuestlinkError as error:
        _log.warning("no session: %s", error)
        return 1
    ShellSession(sock, SessionDefaults(request.environ, True, default_user, may_switch), child).run()
    return 0


def dial(address: Address, token_file: str, *, handshake: bool) -> socket.socket:
    """Connect to the host's client.

    :param handshake: whether both sides prove that they know the token.
    :raises GuestlinkError: nobody listens there, there is no token, or the client does not know it.
    """
    token = read_token(token_file) if handshake else ""
    sock = connect(address, _TIMEOUT)
    try:
        if handshake:
            authenticate(sock, DialerHandshake(token, Purpose.VSH))
        set_tcp_options(sock)
    except OSError as error:
        sock.close()
        sentence = f"the client at {address} has closed the connection: {reason(error)}"
        raise GuestlinkError(sentence, hint="start the session again") from error
    except GuestlinkError as error:
        sock.close()
        raise GuestlinkError(f"the client at {address}: {error.message}", hint=error.hint) from error
    return sock


def parse_request(line: bytes) -> Request:
    """Read a request.

    :raises ValueError: the line is not a request.
    :raises GuestlinkError: its address is invalid.
    """
    fields: Any = json.loads(line)
    try:
        environ = {_encoded(name): _encoded(value) for name, value in fields["environ"].items()}
        address, token_file = str(fields["address"]), str(fields["token_file"])
        handshake = bool(fields["handshake"])
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"this is no request for a session: {error}") from error
    return Request(parse_address(address), token_file, handshake, environ)


def _encoded(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError("a variable is not a text")
    return os.fsencode(text)


def _line(connection: socket.socket) -> bytes:
    connection.settimeout(_TIMEOUT)
    received = bytearray()
    while not received.endswith(b"\n"):
        part = connection.recv(65536)
        if not part or len(received) > REQUEST_LIMIT:
            raise ValueError("the request has no end")
        received += part
    return bytes(received)


def _answer(connection: socket.socket, fields: dict[str, object]) -> None:
    try:
        connection.sendall(json.dumps(fields).encode() + b"\n")
    except OSError as error:
        _log.debug("garcon did not wait for the answer: %s", error)

"""The channel for ports between guestlink-host and garcon: messages, and the descriptors that come with them. Pure.

garcon parks a connection at ``ports.sock``. The host asks there for sockets, and garcon passes them as descriptors
(unix(7), SCM_RIGHTS): a connection to a server in the container, or a socket that listens there. So the bytes of a
forwarded connection pass through one process only, and the kernel can move them from socket to socket.

A message is a JSON object in a line of at most :data:`LINE_LIMIT` bytes. The host's have an ``id``, a number, which
the answer repeats:

- ``{"id": 1, "connect": [KIND, HOST, PORT]}``: the answer has a connected socket, or ``error``, a sentence.
- ``{"id": 2, "listen": [KIND, HOST, PORT]}``: the answer has a listening socket (UDP: a bound one), or ``error``.
- ``{"id": 3, "list": true}``: the answer has ``listening``, the container's listening TCP ports.
- ``{"watch": true}``: from now on, until ``false``, garcon sends ``{"listening": …}`` now and after each change.

``listening`` is an array of ``[HOST, PORT, PROGRAM]``; the program's name is empty if it is not known.
"""

from __future__ import annotations

import json
import socket
from typing import Any, NamedTuple

LINE_LIMIT = 128 * 1024
"""Bytes of a message."""
LISTENING_LIMIT = 1024
"""Listening ports in a message; the lowest ones."""
PROGRAM_LIMIT = 64
"""Characters of a program's name."""
TCP, UDP, UNIX = "tcp", "udp", "unix"
KINDS = (TCP, UDP, UNIX)
LOCALHOST = "localhost"
"""The host of an endpoint on the loopback addresses: 127.0.0.1, and ::1 where there is one."""
LAST_PORT = 65535
_PATH_LIMIT = 107
"""Bytes of a Unix socket's path (unix(7))."""
_HOST_LIMIT = 253
"""Characters of a host's name (RFC 1035, section 2.3.4)."""


class PortEndpoint(NamedTuple):
    """Where a socket listens or connects to.

    :ivar kind: one of :data:`KINDS`.
    :ivar host: an address, or :data:`LOCALHOST`; the path of a Unix socket.
    :ivar port: 1 to 65535; 0 for a Unix socket.
    """

    kind: str
    host: str
    port: int

    def __str__(self) -> str:
        if self.kind == UNIX:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local(self) -> PortEndpoint:
        """This endpoint with localhost in the place of a wildcard, as the target of a connection."""
        return self._replace(host=LOCALHOST) if self.host in ("0.0.0.0", "::", "*") else self


def endpoint_from(value: object) -> PortEndpoint:
    """An endpoint from a message's array.

    :raises ValueError: it is none.
    """
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("an endpoint has three fields")
    kind, host, port = value
    if kind not in KINDS or not isinstance(host, str) or not isinstance(port, int) or isinstance(port, bool):
        raise ValueError("an endpoint has a kind, a host and a port")
    if "\0" in host or not host.isprintable():
        raise ValueError("the host has invisible characters")
    if kind == UNIX:
        if not host.startswith("/") or len(host.encode()) > _PATH_LIMIT or port:
            raise ValueError("this is no Unix socket's path")
    elif not 1 <= port <= LAST_PORT or not 1 <= len(host) <= _HOST_LIMIT:
        raise ValueError("this is no port")
    return PortEndpoint(kind, host, port)


def pack(message: dict[str, Any]) -> bytes:
    """A message's line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class ChannelReader:
    """Splits received bytes into messages, and gives each descriptor to its message.

    The kernel ends a read after the first bytes that carry descriptors (unix(7)), so these belong to the last
    message that has begun in a read. A message may have one descriptor.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._descriptor = -1

    def feed(self, data: bytes, descriptors: list[int]) -> tuple[list[tuple[dict[str, Any], int]], list[int]]:
        """Take what one read has returned.

        :param descriptors: received with the data; at most one is used.
        :returns: the complete messages, each with its descriptor or -1; and descriptors to be closed.
        :raises ValueError: these are no messages. The caller closes every descriptor and the channel.
        """
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LINE_LIMIT:
            raise ValueError("a message is too long")
        messages = []
        for line in lines:
            if len(line) > LINE_LIMIT:
                raise ValueError("a message is too long")
            try:
                message = json.loads(line)
            except RecursionError:
                raise ValueError("a message is nested too deeply") from None
            if not isinstance(message, dict):
                raise ValueError("a message is no object")
            messages.append(message)
        owned = [-1] * len(messages)
        if owned:
            owned[0], self._descriptor = self._descriptor, -1
        unused = descriptors[1:]
        if descriptors:
            if self._rest and self._descriptor < 0:
                self._descriptor = descriptors[0]
            elif not self._rest and owned and owned[-1] < 0:
                owned[-1] = descriptors[0]
            else:
                unused = descriptors
        return list(zip(messages, owned, strict=True)), unused

    def close(self) -> list[int]:
        """Forget what has come; returns descriptors to be closed."""
        held, self._descriptor, self._rest = self._descriptor, -1, b""
        return [held] if held >= 0 else []


def listening_from(value: object) -> list[tuple[str, int, str]]:
    """The listening ports of a message, as host, port and program.

    :raises ValueError: they are none.
    """
    if not isinstance(value, list) or len(value) > LISTENING_LIMIT:
        raise ValueError("this is no list of ports")
    found = []
    for entry in value:
        if not isinstance(entry, list) or len(entry) != 3 or not isinstance(entry[2], str):
            raise ValueError("a listening port has a host, a port and a program")
        host, port, program = entry
        endpoint = endpoint_from([TCP, host, port])
        _check_address(endpoint.host)
        if not program.isprintable() or len(program) > PROGRAM_LIMIT:
            raise ValueError("this is no program's name")
        found.append((endpoint.host, endpoint.port, program))
    return found


def _check_address(host: str) -> None:
    """Check that a port's host is an address as inet_ntop(3) writes it.

    :raises ValueError: it is none.
    """
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError):
        raise ValueError("this is no address") from None

"""The TCP ports on which programs of this container listen, from the kernel (sock_diag(7)), without root."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import NamedTuple

from guestlink.errors import GuestlinkError, reason

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3
_LISTEN = 1 << 10
"""TCP_LISTEN as a bit of idiag_states (include/net/tcp_states.h)."""
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBxI48x")  # inet_diag_req_v2: family, protocol, extensions, states, identity
_MESSAGE = struct.Struct("=BBBB 2s2s 16s16s 4x8x IIIII")
"""inet_diag_msg: family, state, timer, retransmissions; ports, addresses, interface and cookie; expiry, queues,
uid, inode (include/uapi/linux/inet_diag.h)."""
_MAPPED = b"\0" * 10 + b"\xff\xff"
_BUFFER = 256 * 1024


class ListeningPort(NamedTuple):
    """A listening socket.

    :ivar host: its address: ``0.0.0.0`` and ``::`` for all addresses.
    :ivar inode: identifies the socket below ``/proc/PID/fd``.
    """

    host: str
    port: int
    inode: int


def listening_ports() -> list[ListeningPort]:
    """Every listening TCP socket, in order of the ports.

    :raises GuestlinkError: the kernel does not tell.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
            kernel.settimeout(5.0)  # The kernel answers at once.
            found: set[ListeningPort] = set()
            for family in (socket.AF_INET, socket.AF_INET6):
                found |= _dump(kernel, family)
    except OSError as error:
        raise GuestlinkError(
            f"the kernel does not tell which ports are open: {reason(error)}",
            hint="it needs the module tcp_diag; the container may not be allowed to use netlink",
        ) from error
    return sorted(found, key=lambda one: (one.port, one.host))


def _dump(kernel: socket.socket, family: int) -> set[ListeningPort]:
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _LISTEN)
    kernel.send(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, family, 0) + body)
    found: set[ListeningPort] = set()
    while True:
        data = kernel.recv(_BUFFER)
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, _flags, _sequence, _port = _HEADER.unpack_from(data, at)
            if kind == _DONE:
                return found
            if kind == _ERROR:
                (number,) = struct.unpack_from("=i", data, at + _HEADER.size)
                raise OSError(-number, os.strerror(-number))
            if kind == _SOCK_DIAG_BY_FAMILY and length >= _HEADER.size + _MESSAGE.size:
                found.add(_listening_port(_MESSAGE.unpack_from(data, at + _HEADER.size)))
            at += max((length + 3) & ~3, _HEADER.size)


def _listening_port(fields: tuple[int | bytes, ...]) -> ListeningPort:
    family, port, address, inode = fields[0], fields[4], fields[6], fields[-1]
    assert isinstance(port, bytes)
    assert isinstance(address, bytes)
    assert isinstance(inode, int)
    if family == socket.AF_INET6 and not address.startswith(_MAPPED):
        host = socket.inet_ntop(socket.AF_INET6, address)
    else:
        host = socket.inet_ntop(socket.AF_INET, address[12:16] if family == socket.AF_INET6 else address[:4])
    return ListeningPort(host, int.from_bytes(port), inode)


def programs_of(inodes: set[int]) -> dict[int, str]:
    """The names of the programs that have sockets open, by the sockets' inodes; of this user's processes only.

    The kernel shows other users' descriptors to root alone. A name is the process's (proc_pid_comm(5)).
    """
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, str] = {}
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    inode = wanted.get(os.readlink(entry.path))
                    if inode is not None and inode not in found:
                        with open(f"/proc/{pid}/comm", errors="replace") as stream:
                            found[inode] = stream.read(64).strip()
    return found

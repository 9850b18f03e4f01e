"""Addresses for programs that must be told a port before they listen on it."""

from __future__ import annotations

import secrets
import socket

from guestlink.address import TcpAddress


def free_address() -> TcpAddress:
    """An address and port of this machine that no other process uses.

    The host number is random, because other programs listen on 127.0.0.1: the kernel could give one of them a port
    that was free a moment ago.
    """
    host = f"127.{secrets.randbelow(254) + 1}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
    with socket.create_server((host, 0)) as probe:
        return TcpAddress(host, probe.getsockname()[1])

"""Addresses in the one syntax of the suite: ``vsock:CID:PORT``, ``unix:/path``, ``tcp:HOST:PORT``."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from guestlink.errors import GuestlinkError

CID_ANY = 0xFFFFFFFF
"""VMADDR_CID_ANY: bind on every context id of this machine (written ``any``)."""
CID_HOST = 2
"""VMADDR_CID_HOST: the host, seen from a virtual machine (chromeos-garcon.md, vocabulary)."""

VSOCK_ANY_PORT = 0xFFFFFFFF
"""VMADDR_PORT_ANY: bind on a port that the kernel chooses."""

_UNIX_PATH_MAX = 107
"""sun_path holds 108 bytes with the closing NUL (unix(7))."""

_SYNTAX = "write it as vsock:CID:PORT, unix:/absolute/path or tcp:HOST:PORT"


class AddressError(GuestlinkError):
    """A text is not an address."""


class VsockAddress(NamedTuple):
    """A vsock endpoint. ``cid`` and ``port`` are unsigned 32-bit numbers."""

    cid: int
    port: int

    def __str__(self) -> str:
        return f"vsock:{'any' if self.cid == CID_ANY else self.cid}:{self.port}"


class UnixAddress(NamedTuple):
    """A Unix socket's absolute path."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


class TcpAddress(NamedTuple):
    """A TCP endpoint; ``host`` is a name or an IP address without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"tcp:[{self.host}]:{self.port}" if ":" in self.host else f"tcp:{self.host}:{self.port}"


Address: TypeAlias = VsockAddress | UnixAddress | TcpAddress


def is_chromeos(host: Address) -> bool:
    """Whether a host's address is ChromeOS's: the host of the virtual machine, by vsock."""
    return isinstance(host, VsockAddress) and host.cid == CID_HOST


def parse_address(text: str) -> Address:
    """Turn a text into an address.

    :raises AddressError: the message names the part that is wrong.
    """
    kind, colon, rest = text.partition(":")
    if not colon:
        raise AddressError(f"{text!r} is not an address", hint=_SYNTAX)
    if kind == "unix":
        return _unix(text, rest)
    if kind == "vsock":
        cid, _, port = rest.partition(":")
        return VsockAddress(
            CID_ANY if cid == "any" else _number(text, "context id", cid, 0, CID_ANY),
            _number(text, "port", port, 0, 0xFFFFFFFF),
        )
    if kind == "tcp":
        host, _, port = rest.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise AddressError(f"the host in {text!r} needs brackets", hint="write tcp:[HOST]:PORT")
        if not host or any(c.isspace() or c in "/\0" for c in host):
            raise AddressError(f"{text!r} names no host", hint=_SYNTAX)
        return TcpAddress(host, _number(text, "port", port, 0, 65535))
    raise AddressError(f"{text!r} starts with an unknown kind of address, {kind!r}", hint=_SYNTAX)


def _unix(text: str, path: str) -> UnixAddress:
    if not path.startswith("/") or "\0" in path:
        raise AddressError(f"the path in {text!r} is not absolute", hint=_SYNTAX)
    if len(path.encode(errors="surrogateescape")) > _UNIX_PATH_MAX:
        raise AddressError(
            f"the path in {text!r} is longer than the {_UNIX_PATH_MAX} bytes that a Unix socket may have",
            hint="choose a shorter directory, for example with XDG_RUNTIME_DIR",
        )
    return UnixAddress(path)


def _number(text: str, what: str, digits: str, low: int, high: int) -> int:
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 10 or not low <= int(digits) <= high:
        raise AddressError(f"the {what} in {text!r} is not a number from {low} to {high}", hint=_SYNTAX)
    return int(digits)

"""Checks the fields of a command's control call before the daemon acts on them."""

from __future__ import annotations

import ipaddress
import os
from typing import Any

from guestlink.address import TcpAddress, UnixAddress, VsockAddress, parse_address
from guestlink.errors import GuestlinkError


def check_addresses(texts: dict[str, str]) -> None:
    """Check the addresses of ``add`` before anything is stored.

    :raises GuestlinkError: an address is wrong.
    """
    listening = parse_address(texts["listen"]) if "listen" in texts else None
    garcon = parse_address(texts["garcon"]) if "garcon" in texts else None
    if isinstance(listening, UnixAddress):
        raise GuestlinkError(
            "a container has a Unix socket already, in its directory", hint="--listen takes tcp: and vsock:"
        )
    if isinstance(listening, TcpAddress) and listening.port == 0:
        raise GuestlinkError("the listening address needs a port", hint="write tcp:HOST:PORT")
    if isinstance(listening, VsockAddress) and not isinstance(garcon, VsockAddress):
        raise GuestlinkError(
            "listening on vsock needs to know whose calls to accept",
            hint="give --garcon vsock:CID:0 with the machine's context id",
        )
    if "ip" in texts:
        try:
            ipaddress.ip_address(texts["ip"])
        except ValueError:
            reason = f"{texts['ip']!r:.80} is not an IP address"
            raise GuestlinkError(reason, hint="for example 10.0.3.15") from None


def folder(path: object) -> str:
    """A folder's absolute path, normalised.

    :raises GuestlinkError: the path is not absolute.
    """
    text = str(path)
    if not os.path.isabs(text) or "\0" in text:
        raise GuestlinkError(f"{text!r:.80} is not an absolute path", hint="write it from / on")
    return os.path.normpath(text)


def application_id(fields: dict[str, Any], key: str) -> str:
    """An application's id.

    :raises GuestlinkError: the value cannot be an id.
    """
    value = fields.get(key)
    if not isinstance(value, str) or not value or "\0" in value or not _is_utf8(value):
        raise GuestlinkError(f"{value!r:.80} is no application's id", hint="`guestlink-host apps` lists them")
    return value


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def files(fields: dict[str, Any]) -> list[str]:
    """The files of a launch.

    :raises GuestlinkError: the value is not a list of texts without NUL.
    """
    files = fields.get("files") or []
    if not isinstance(files, list) or not all(isinstance(file, str) and "\0" not in file for file in files):
        raise GuestlinkError("the files are no list of paths and URLs")
    return files


def features(fields: dict[str, Any]) -> list[int]:
    """The features of a shell.

    :raises GuestlinkError: the value is not a list of at most 64 numbers from 0 to 255.
    """
    numbers = fields.get("features") or []
    if (
        not isinstance(numbers, list)
        or len(numbers) > 64
        or not all(isinstance(feature, int) and 0 <= feature < 256 for feature in numbers)
    ):
        raise GuestlinkError("the features are no list of numbers")
    return numbers


def number(fields: dict[str, Any], key: str, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``.

    :raises GuestlinkError: the value is not a whole number, or out of range.
    """
    value = fields.get(key)
    if not isinstance(value, int) or not low <= value <= high:
        raise GuestlinkError(f"the {key} {value!r:.40} is not a number from {low} to {high}")
    return value

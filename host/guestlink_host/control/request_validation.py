"""Checks the fields of a control call before the daemon acts on them. Pure.

A check gets the field's name and the value from the request, ``None`` if the field is missing, and returns the
value that the daemon uses. Every check raises GuestlinkError for a value that it does not accept.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeGuard

from guestlink.address import TcpAddress, UnixAddress, VsockAddress, parse_address
from guestlink.command_line import in_words
from guestlink.control import ONE_VERSION
from guestlink.errors import GuestlinkError


def text(key: str, value: object) -> str:
    """A text; ``""`` if the field is missing."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise GuestlinkError(f"the field {key} is not a text: {value!r:.40}", hint=ONE_VERSION)
    return value


def flag(key: str, value: object) -> bool:
    """Whether the field is true; false if the field is missing."""
    if value is None:
        return False
    if not isinstance(value, bool):
        raise GuestlinkError(f"the field {key} is not true or false: {value!r:.40}", hint=ONE_VERSION)
    return value


def _is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number; JSON's ``true`` is an ``int`` in Python, and none here."""
    return isinstance(value, int) and not isinstance(value, bool)


def number(low: int, high: int) -> Callable[[str, object], int]:
    """A check for a whole number from ``low`` to ``high``."""

    def check(key: str, value: object) -> int:
        if not _is_whole(value) or not low <= value <= high:
            raise GuestlinkError(
                f"the {key} {value!r:.40} is not a whole number from {low} to {high}",
                hint=f"choose a {key} from {low} to {high}",
            )
        return value

    return check


def numbers(limit: int, low: int, high: int) -> Callable[[str, object], list[int]]:
    """A check for at most ``limit`` whole numbers from ``low`` to ``high``; none if the field is missing."""

    def check(key: str, value: object) -> list[int]:
        values = value or []
        if (
            not isinstance(values, list)
            or len(values) > limit
            or not all(_is_whole(one) and low <= one <= high for one in values)
        ):
            raise GuestlinkError(
                f"the field {key} is not a list of numbers from {low} to {high}",
                hint=f"give at most {limit} numbers from {low} to {high}",
            )
        return values

    return check


def choice(what: str, choices: Sequence[str]) -> Callable[[str, object], str | None]:
    """A check for one of some words; ``None`` if the field is missing.

    :param what: what the words are, for the message.
    """

    def check(key: str, value: object) -> str | None:
        if value is None or (isinstance(value, str) and value in choices):
            return value
        raise GuestlinkError(f"there is no {what} {value!r:.40}", hint=f"use {in_words(choices)}")

    return check


def folder(key: str, value: object) -> str | None:
    """A folder's absolute path, normalised; ``None`` if the field is missing or empty."""
    if value is None or value == "":
        return None
    path = str(value)
    if not os.path.isabs(path) or "\0" in path:
        raise GuestlinkError(f"{path!r:.80} is not an absolute path", hint="write the whole path, from / on")
    return os.path.normpath(path)


def application_id(key: str, value: object) -> str:
    """An application's id."""
    if not isinstance(value, str) or not value or "\0" in value or not _is_utf8(value):
        raise GuestlinkError(f"{value!r:.80} is no application's id", hint="`guestlink-host apps` lists them")
    return value


def _is_utf8(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def files(key: str, value: object) -> list[str]:
    """The files of a launch: texts without NUL; none if the field is missing."""
    paths = value or []
    if not isinstance(paths, list) or not all(isinstance(path, str) and "\0" not in path for path in paths):
        raise GuestlinkError(
            f"the field {key} is not a list of paths and URLs", hint="give paths and URLs without NUL bytes"
        )
    return paths


def check_addresses(texts: dict[str, str], own: Path) -> None:
    """Check the addresses of ``add`` before anything is stored.

    :param texts: any of ``listen``, ``garcon`` and ``ip``.
    :param own: the directory with the containers' directories.
    :raises GuestlinkError: an address is wrong.
    """
    listening = parse_address(texts["listen"]) if "listen" in texts else None
    garcon = parse_address(texts["garcon"]) if "garcon" in texts else None
    if isinstance(listening, UnixAddress):
        raise GuestlinkError(
            "a container has a Unix socket already, in its directory", hint="--listen takes tcp: and vsock:"
        )
    if isinstance(garcon, TcpAddress):
        raise GuestlinkError(
            "a container's garcon does not listen on TCP",
            hint="leave --garcon out: garcon opens the connections to the address of --listen",
        )
    if isinstance(garcon, UnixAddress) and Path(os.path.normpath(garcon.path)).is_relative_to(own):
        raise GuestlinkError(
            f"the sockets below {own} are this host's own",
            hint="leave --garcon out: the container's garcon parks connections in the mounted directory",
        )
    if isinstance(listening, TcpAddress) and listening.port == 0:
        raise GuestlinkError("the listening address needs a port", hint="write tcp:HOST:PORT")
    if isinstance(listening, VsockAddress) and not isinstance(garcon, VsockAddress):
        raise GuestlinkError(
            "--listen vsock:… needs --garcon vsock:CID:0: guestlink-host serves only that context id",
            hint="write the machine's context id instead of CID",
        )
    if "ip" in texts:
        try:
            ipaddress.ip_address(texts["ip"])
        except ValueError:
            reason = f"{texts['ip']!r:.80} is not an IP address"
            raise GuestlinkError(reason, hint="for example 10.0.3.15") from None


def path_below_home(path: str, home: str) -> str:
    """A directory of a container as garcon spells it: relative to the home directory, ``""`` for itself.

    :param path: relative to the home directory, or absolute.
    :param home: the home directory in the container; ``""`` if it is not known.
    :raises GuestlinkError: the directory is not below the home directory.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/"):
        above = [part for part in home.split("/") if part]
        below = bool(above) and parts[: len(above)] == above
        parts = parts[len(above) :]
    else:
        below = True
    if not below or ".." in parts or "\0" in path:
        raise GuestlinkError(
            f"{path!r:.200} is not below the home directory {home or 'of the container'}",
            hint="name a directory relative to it, as in Downloads",
        )
    return "/".join(parts)

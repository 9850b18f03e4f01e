"""vshd's command line: the switches of ChromeOS's vshd (chromeos-vsh.md §2.5), and clearer ones of ours."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from guestlink.address import CID_ANY, CID_HOST, Address, VsockAddress, parse_address
from guestlink.authentication import needs_handshake
from guestlink.errors import GuestlinkError
from guestlink.token import TOKEN_PATH

PORT = 9001
"""vsock port of a virtual machine's shell (chromeos-vsh.md §1.2)."""
UNKNOWN_SWITCH, BAD_VALUE = 64, 65
"""Exit codes of ChromeOS's vshd for an unknown switch and for an invalid value."""

USAGE = """\
usage: vshd [--connect ADDRESS | --listen ADDRESS] [SWITCH...]
       vshd [--forward_to_host_port=PORT]

Serves shells and commands to the host: --connect for one session on a connection to the host, --listen for as many
as the host opens, or on the sockets that systemd hands over. Without either it listens on vsock port 9001, and with
--forward_to_host_port it connects to that port of the host, as ChromeOS's own vshd does.

  --inherit_env             put vshd's own variables under the client's (always so with --connect and --listen)
  --default_user=NAME       user of a virtual machine's shell (default: chronos)
  --allow_to_switch_user=B  true or false: whether a client may request another user (default: true)
  --token-file=PATH         file with the container's token (default: /dev/.container_token)
  --handshake               begin connections with a proof of the token (always so over TCP)
  --log-level=LEVEL         debug, info, warning or error
  --standby=SOCKET --until=PID  serve the sessions that garcon asks for on a socket, while the process runs
  --log_kmsg=B              accepted without effect: the log goes to the journal
"""


class Arguments(NamedTuple):
    """The parsed command line.

    :ivar connect: connect to this address, and serve one session.
    :ivar listen: listen on this address, and serve every connection.
    :ivar handshake: whether connections begin with a proof of the token; those over TCP always do.
    :ivar standby: serve garcon's requests on this socket; :ivar until: while the process with this id runs.
    """

    connect: Address | None = None
    listen: Address | None = None
    standby: str = ""
    until: int = 0
    inherit: bool = False
    default_user: str = "chronos"
    may_switch: bool = True
    token_file: str = TOKEN_PATH
    handshake: bool = False
    log_level: str = "info"
    help: str = ""


def parse_arguments(argv: Sequence[str], *, activated: bool = False) -> Arguments:
    """Read the command line.

    :param activated: systemd has passed sockets, so that no address is needed.
    :raises GuestlinkError: the command line is invalid; switches and values have the exit codes of ChromeOS's vshd.
    """
    values: dict[str, str] = {}
    words = iter(argv)
    for word in words:
        if word in ("--help", "-h", "--version"):
            return Arguments(help=word)
        if not word.startswith("-"):
            raise GuestlinkError(f"unexpected argument {word!r}", hint="`vshd --help` shows the switches")
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("-", "_")
        if name.startswith("no") and name[2:] in _FLAGS and not equals:
            name, value = name[2:], "false"  # the flag library of ChromeOS's vshd accepts --noinherit_env
        elif name in _FLAGS and not equals:
            value = "true"
        elif name not in _FLAGS and name not in _VALUES:
            hint = "`vshd --help` shows the switches"
            raise GuestlinkError(f"there is no switch {word!r}", hint=hint, exit_code=UNKNOWN_SWITCH)
        elif not equals:
            value = next(words, "")
        values[name] = value
    modes = [name for name in _MODES if values.get(name, "0") != "0"]
    if len(modes) > 1:
        raise GuestlinkError(f"--{modes[0]} and --{modes[1]} exclude each other", hint="use one of them")
    ours = bool(values.keys() & {"connect", "listen"}) or activated
    connect, listen = _endpoints(values, activated)
    return Arguments(
        connect=connect,
        listen=listen,
        standby=values.get("standby", ""),
        until=_number(values, "until"),
        inherit=_flag(values, "inherit_env", ours),
        default_user=values.get("default_user", "chronos"),
        may_switch=_flag(values, "allow_to_switch_user", True),
        handshake=_flag(values, "handshake", False) or (connect is not None and needs_handshake(connect)),
        token_file=values.get("token_file") or os.environ.get("GUESTLINK_TOKEN_FILE") or TOKEN_PATH,
        log_level=values.get("log_level") or os.environ.get("GUESTLINK_LOG") or "info",
    )


_FLAGS = {"inherit_env", "allow_to_switch_user", "log_kmsg", "handshake"}
_MODES = ("connect", "listen", "standby", "forward_to_host_port")
_VALUES = {*_MODES, "default_user", "until", "token_file", "log_level"}


def _endpoints(values: dict[str, str], activated: bool) -> tuple[Address | None, Address | None]:
    _flag(values, "log_kmsg", True)
    if "connect" in values:
        return parse_address(values["connect"]), None
    if "listen" in values:
        return None, parse_address(values["listen"])
    port = _number(values, "forward_to_host_port")
    if port > 0xFFFFFFFF:
        raise GuestlinkError(f"the port {port} has more than 32 bits", hint="use a number from 1 to 4294967295")
    if port:
        return VsockAddress(CID_HOST, port), None
    if activated or "standby" in values:
        return None, None
    return None, VsockAddress(CID_ANY, PORT)


def _number(values: dict[str, str], name: str) -> int:
    value = values.get(name, "0")
    if not (value.isascii() and value.isdecimal()) or len(value) > 20:
        raise _bad(name, value, "a number")
    return int(value)


def _flag(values: dict[str, str], name: str, default: bool) -> bool:
    value = values.get(name)
    if value is None:
        return default
    if value.lower() in ("true", "t", "yes", "y", "1"):
        return True
    if value.lower() in ("false", "f", "no", "n", "0"):
        return False
    raise _bad(name, value, "true or false")


def _bad(name: str, value: str, allowed: str) -> GuestlinkError:
    return GuestlinkError(f"--{name} cannot be {value!r}", hint=f"use {allowed}", exit_code=BAD_VALUE)

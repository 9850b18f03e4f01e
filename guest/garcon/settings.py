"""garcon's settings: the ``[garcon]`` section of ``guestlink.conf``, ``GUESTLINK_*`` variables and switches."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from guestlink import socket_directory
from guestlink.address import (
    CID_ANY,
    CID_HOST,
    Address,
    AddressError,
    TcpAddress,
    UnixAddress,
    VsockAddress,
    parse_address,
)
from guestlink.authentication import needs_handshake
from guestlink.config import Config, Setting, boolean, choice, load, standard_files
from guestlink.errors import GuestlinkError
from guestlink.token import TOKEN_PATH

VSOCK_DEVICE = "/dev/vsock"
CONTAINER_LISTENER_PORT = 8889
"""vsock port of ContainerListener on ChromeOS (chromeos-garcon.md §1.2)."""
GARCON_FIRST_PORT, GARCON_LAST_PORT = 10000, 19999
"""vsock ports that garcon tries in turn (chromeos-garcon.md §2.4)."""


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 4096:
        raise ValueError("use a number from 1 to 4096")
    return int(text)


def _garcon_address(text: str) -> Address:
    address = parse_address(text)
    if isinstance(address, TcpAddress):
        raise AddressError(
            "garcon does not listen on TCP",
            hint="leave this setting out: garcon opens the connections to its host at GUESTLINK_HOST_ADDRESS",
        )
    if isinstance(address, UnixAddress) and os.path.dirname(address.path) == socket_directory.MOUNT_POINT:
        raise AddressError(
            f"garcon does not listen in {socket_directory.MOUNT_POINT}, which is the host's",
            hint="leave this setting out: garcon parks connections there",
        )
    return address


TOKEN_FILE = Setting("token_file", "GUESTLINK_TOKEN_FILE", TOKEN_PATH, str, "file that holds the token")
HOST_ADDRESS = Setting[Address | None](
    "host_address", "GUESTLINK_HOST_ADDRESS", None, parse_address, "where the host serves ContainerListener"
)
HOST_KIND = Setting(
    "host_kind",
    "GUESTLINK_HOST_KIND",
    "auto",
    choice("auto", "chromeos", "linux"),
    "what serves a vsock address: chromeos, or linux for guestlink-host, where both sides prove that they know the "
    "token; auto is linux where a Linux host's directory is mounted",
)
GARCON_ADDRESS = Setting[Address | None](
    "garcon_address",
    "GUESTLINK_GARCON_ADDRESS",
    None,
    _garcon_address,
    "unix: or vsock: address where garcon listens for its host; ChromeOS needs none, and for a Linux host garcon "
    "opens the connections itself",
)
VSH_ADDRESS = Setting(
    "vsh_address",
    "GUESTLINK_VSH_ADDRESS",
    "",
    str,
    "address that vshd connects to; {port} is replaced",
)
LOG_LEVEL = Setting("log_level", "GUESTLINK_LOG", "info", str, "debug, info, warning or error")
ICON_THEME = Setting("icon_theme", "", "", str, "icon theme to prefer; empty uses the desktop's setting")
TERMINAL: Setting[Sequence[str]] = Setting(
    "terminal", "", (), shlex.split, "terminal program and its switch before a command, as in `foot -e`"
)
STARTUP_NOTIFY = Setting("startup_notify", "", True, boolean, "set DESKTOP_STARTUP_ID for launched programs")
LOGIN_SHELL = Setting(
    "login_shell", "GUESTLINK_LOGIN_SHELL", True, boolean, "run a login shell to read PATH and XDG_DATA_DIRS"
)
SFTP_SERVER = Setting("sftp_server", "", "", str, "path of sftp-server; empty searches the distributions' paths")
SFTP_LIMIT = Setting("sftp_limit", "", 64, _count, "SFTP connections at a time")

SCHEMA: tuple[Setting[Any], ...] = (
    TOKEN_FILE, HOST_ADDRESS, HOST_KIND, GARCON_ADDRESS, VSH_ADDRESS, LOG_LEVEL, ICON_THEME, TERMINAL,
    STARTUP_NOTIFY, LOGIN_SHELL, SFTP_SERVER, SFTP_LIMIT,
)  # fmt: skip


class NoHost(GuestlinkError):
    """No host is configured or found."""


def load_settings(environ: Mapping[str, str] = os.environ, **switches: str | None) -> Config:
    """Read garcon's settings.

    :raises ConfigError: a value is invalid.
    """
    return load(
        SCHEMA,
        section="garcon",
        files=standard_files("guestlink.conf", environ),
        environ=environ,
        switches=switches,
    )


def host_address(config: Config) -> Address:
    """The host's address: the configured one, else that in a Linux host's directory, else ChromeOS's vsock.

    :raises NoHost: there is none of them.
    """
    if (address := config[HOST_ADDRESS]) is not None:
        return address
    if os.path.isdir(socket_directory.MOUNT_POINT):
        return UnixAddress(f"{socket_directory.MOUNT_POINT}/{socket_directory.LISTENER}")
    if os.path.exists(VSOCK_DEVICE) or os.path.exists(config[TOKEN_FILE]):
        return VsockAddress(CID_HOST, CONTAINER_LISTENER_PORT)
    raise NoHost(
        f"no host: there is neither {socket_directory.MOUNT_POINT} nor {config[TOKEN_FILE]}",
        hint="start the container from its host, run `guestlink-host attach` there, or set GUESTLINK_HOST_ADDRESS",
    )


def has_handshake(config: Config, address: Address) -> bool:
    """Whether a connection to this address of the host begins with a handshake (chromeos-vsh.md §9).

    Over vsock the settings decide, and nothing that the other side says: another user of the host may listen there.
    """
    if not isinstance(address, VsockAddress):
        return needs_handshake(address)
    kind = config[HOST_KIND]
    return kind == "linux" or (kind == "auto" and os.path.isdir(socket_directory.MOUNT_POINT))


def garcon_address(config: Config, host: Address) -> Address | None:
    """The address that garcon serves: the configured one, else ChromeOS's.

    :returns: ``None`` for a Linux host: garcon parks connections there.
    """
    if (address := config[GARCON_ADDRESS]) is not None:
        return address
    is_linux = isinstance(host, UnixAddress) or has_handshake(config, host)
    return None if is_linux else VsockAddress(CID_ANY, GARCON_FIRST_PORT)


def parking_address(host: UnixAddress, name: str) -> UnixAddress:
    """Where garcon parks connections: beside the socket of the host's ContainerListener.

    :param name: :data:`~guestlink.socket_directory.CALLS` or :data:`~guestlink.socket_directory.SFTP`.
    """
    return UnixAddress(os.path.join(os.path.dirname(host.path), name))


def vsh_address(config: Config, host: Address, port: int) -> Address:
    """Turn the port of a LaunchVshd request into the address that vshd connects to (chromeos-garcon.md §6.1).

    :raises GuestlinkError: the configured template gives no address.
    """
    template = config[VSH_ADDRESS]
    if not template:
        if isinstance(host, UnixAddress):
            template = f"unix:{os.path.dirname(host.path)}/{socket_directory.VSH}"
        elif isinstance(host, TcpAddress):
            template = str(host).removesuffix(str(host.port)) + "{port}"
        else:
            template = f"vsock:{host.cid}:{{port}}"
    return parse_address(template.replace("{port}", str(port)))

"""The command line, the ``SOMMELIER_*`` variables and the ``[sommelier]`` section of ``guestlink.conf``.

Command lines of ChromeOS's sommelier work unchanged (chromeos-sommelier.md §2.2): switches take their value after
``=`` only, unknown switches are reported and ignored, and the first word that is no switch starts the command line
of the program to run.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from guestlink import socket_directory, xdg
from guestlink.config import Config, Setting, boolean, choice, load, standard_files
from guestlink.errors import GuestlinkError
from guestlink.regular_file import read_regular
from guestlink.token import TOKEN_PATH, TokenError, read_token

SCALE_LEAST, SCALE_MOST = 0.1, 10.0
DPI_MIN, DPI_MAX = 72, 9600
MOUNTED_SOCKET = f"{socket_directory.MOUNT_POINT}/{socket_directory.COMPOSITOR}"
_CARRIED_NAME = f"{socket_directory.MOUNT_POINT}/{socket_directory.NAME}"
"""Files that a Linux host mounts: the compositor's socket, and the container's name."""
DEFAULT_VM = "termina"


def _scale(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("use a number such as 0.5") from None
    if not SCALE_LEAST <= value <= SCALE_MOST:
        raise ValueError(f"use a number from {SCALE_LEAST:g} to {SCALE_MOST:g}")
    return value


def _densities(text: str) -> tuple[int, ...]:
    try:
        values = tuple(int(word) for word in text.split(",") if word.strip())
    except ValueError:
        raise ValueError("use whole numbers with commas, as in 72,96,160") from None
    if not all(DPI_MIN <= value <= DPI_MAX for value in values):
        raise ValueError(f"use numbers from {DPI_MIN} to {DPI_MAX}")
    return values


def _display_number(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1000:
        raise ValueError("use a number such as 0")
    return int(text)


def _words(text: str) -> tuple[str, ...]:
    return tuple(shlex.split(text))


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(",", " ").split() if word)


def _socket_name(text: str) -> str:
    if os.path.basename(text) in ("", ".", ".."):
        raise ValueError("use a name such as wayland-0, or an absolute path")
    return text


SOCKET = Setting("socket", "", "wayland-0", _socket_name, "name of the socket for clients, in XDG_RUNTIME_DIR")
DISPLAY = Setting("display", "SOMMELIER_DISPLAY", "", str, "the host's compositor: a path, or a name")
SCALE = Setting(
    "scale",
    "SOMMELIER_SCALE",
    1.0,
    _scale,
    "client units per host unit, 0.1 to 10 (0.5 draws everything twice as large)",
)
DPI = Setting[Sequence[int]](
    "dpi",
    "SOMMELIER_DPI",
    (),
    _densities,
    "densities that outputs may report, with commas; each reports the nearest",
)
DIRECT_SCALE = Setting(
    "direct_scale", "", False, boolean, "client units are the pixels of each output, times --scale"
)
STABLE_SCALING = Setting(
    "stable_scaling", "", False, boolean, "round so that sizes survive a round trip between client and host"
)
ACCELERATORS = Setting(
    "accelerators",
    "SOMMELIER_ACCELERATORS",
    "",
    str,
    "key combinations that the host handles, as in Super_L,<Alt>F1",
)
WINDOWED_ACCELERATORS = Setting(
    "windowed_accelerators",
    "SOMMELIER_WINDOWED_ACCELERATORS",
    "",
    str,
    "key combinations that the host handles unless the window is fullscreen",
)
VM_IDENTIFIER = Setting(
    "vm_identifier",
    "SOMMELIER_VM_IDENTIFIER",
    "",
    str,
    "middle part of application ids on ChromeOS (default: the token)",
)
TOKEN_FILE = Setting("token_file", "GUESTLINK_TOKEN_FILE", TOKEN_PATH, str, "file with the container's token")
CONTAINER = Setting(
    "container", "GUESTLINK_CONTAINER", "", str, "the container's name on a Linux host, for application ids"
)
TITLE_PREFIX = Setting("title_prefix", "", "", str, "text to put before every window title")
CLIPBOARD = Setting(
    "clipboard",
    "",
    "both",
    choice("both", "to-host", "to-guest", "off"),
    "direction in which the clipboard and drags work: both, to-host, to-guest or off",
)
ALLOW = Setting[Sequence[str]]("allow", "", (), _patterns, "privileged globals to offer, with commas, as in zwlr_*")
DENY = Setting[Sequence[str]]("deny", "", (), _patterns, "globals to hide, with commas")
SECURITY_CONTEXT = Setting(
    "security_context",
    "",
    True,
    boolean,
    "put clients in a security context of the host, if it has them (default: yes)",
)
WAYLAND_SOCKET = Setting(
    "wayland_socket", "", False, boolean, "give PROGRAM a single connection in WAYLAND_SOCKET instead of a socket"
)
TRACE = Setting("trace", "SOMMELIER_TRACE", "", str, "messages to log; sommelier(1) has the syntax")
PUBLISH = Setting(
    "publish", "", "", str, "variable of the user manager to set to the socket's name, as in WAYLAND_DISPLAY"
)
IMPLEMENTATION = Setting(
    "implementation",
    "",
    "auto",
    choice("auto", "guestlink", "native"),
    "proxy that the user units run: auto, guestlink or native (the host's)",
)
X_DISPLAY = Setting(
    "x_display", "", -1, _display_number, "with -X: number of the X display (default: the first free one)"
)
X_AUTH = Setting("x_auth", "SOMMELIER_XAUTH_PATH", "", str, "with -X: Xwayland's file of cookies (-auth)")
X_FONT_PATH = Setting(
    "x_font_path", "SOMMELIER_XFONT_PATH", "", str, "with -X: Xwayland's directories of fonts (-fp)"
)
XWAYLAND_PATH = Setting("xwayland_path", "SOMMELIER_XWAYLAND_PATH", "Xwayland", str, "with -X: the X server")
XWAYLAND_CMD_PREFIX = Setting[Sequence[str]](
    "xwayland_cmd_prefix", "SOMMELIER_XWAYLAND_CMD_PREFIX", (), _words, "with -X: words before Xwayland's path"
)
XWAYLAND_GL_DRIVER_PATH = Setting(
    "xwayland_gl_driver_path",
    "SOMMELIER_XWAYLAND_GL_DRIVER_PATH",
    "",
    str,
    "with -X: LIBGL_DRIVERS_PATH for Xwayland",
)
GLAMOR = Setting(
    "glamor", "SOMMELIER_GLAMOR", False, boolean, "with -X: let Xwayland draw with the GPU (default: in memory)"
)
APPLICATION_ID = Setting("application_id", "", "", str, "with -X: application id of every window")
APPLICATION_ID_PROPERTY = Setting(
    "application_id_x11_property",
    "",
    "",
    str,
    "with -X on ChromeOS: property of windows whose number makes application ids",
)
SD_NOTIFY = Setting("sd_notify", "", "", str, "message to send to systemd when the proxy is ready")
LOG_LEVEL = Setting("log_level", "GUESTLINK_LOG", "info", str, "debug, info, warning or error")

SCHEMA: tuple[Setting[Any], ...] = (
    SOCKET, DISPLAY, SCALE, DPI, DIRECT_SCALE, STABLE_SCALING, ACCELERATORS, WINDOWED_ACCELERATORS,
    VM_IDENTIFIER, TOKEN_FILE, CONTAINER, TITLE_PREFIX, CLIPBOARD, ALLOW, DENY, SECURITY_CONTEXT, WAYLAND_SOCKET,
    TRACE, PUBLISH, SD_NOTIFY, LOG_LEVEL, IMPLEMENTATION, X_DISPLAY, X_AUTH, X_FONT_PATH, XWAYLAND_PATH,
    XWAYLAND_CMD_PREFIX, XWAYLAND_GL_DRIVER_PATH, GLAMOR, APPLICATION_ID, APPLICATION_ID_PROPERTY,
)  # fmt: skip

_OWN_WORK: tuple[Setting[Any], ...] = (
    SCALE, DPI, DIRECT_SCALE, ACCELERATORS, WINDOWED_ACCELERATORS, CONTAINER, TITLE_PREFIX, CLIPBOARD, ALLOW, DENY,
    SECURITY_CONTEXT, TRACE,
)  # fmt: skip
"""Settings besides the display that only a proxy obeys."""

_FLAGS = ("direct_scale", "stable_scaling", "wayland_socket", "glamor")
_PLAIN = ("parent", "noop_driver", "help", "version", "x", "no_exit_with_child")
_DESCRIPTORS = ("client_fd", "listen_fd", "lifeline_fd")
_OF_OTHERS = frozenset(
    "allow_xwayland_emulate_screen_pos_size dark_frame_color "
    "data_driver drm_device enable_linux_dmabuf enable_x11_move_windows enable_xshape explicit_fence "
    "force_drm_device frame_color fullscreen_mode ignore_stateless_toplevel_configure master "
    "no_clipboard_manager no_support_damage_buffer only_client_can_exit_fullscreen peer_cmd_prefix peer_pid "
    "print_enabled_features quirks_config shm_driver stats_log stats_summary stats_timer timing_filename "
    "trace_filename trace_system viewport_resize virtwl_device".split()
)
"""Switches of ChromeOS's sommelier that have no effect here: they concern X11, GPU memory, one process per client,
or older versions."""
_LEVELS = {"-1": "debug", "0": "info", "1": "warning", "2": "error", "3": "error"}


class Options(NamedTuple):
    """The parsed command line with all settings.

    :ivar parent: whether to serve a socket (``--parent``).
    :ivar x11: whether to serve an X display (``-X``).
    :ivar exits_with_program: whether the X display ends with the program.
    :ivar program: command line of the program to run with the proxy as its display, or ().
    :ivar client_fd: descriptor of a connected client to serve, or -1.
    :ivar listen_fd: descriptor of a listening socket to serve instead of ``--socket``, or -1.
    :ivar lifeline_fd: descriptor of a pipe; when its other end closes, the proxy accepts no more clients, and exits
        after the last one. -1 for none.
    :ivar idle_time: seconds without clients after which the proxy exits; infinite by default.
    :ivar for_container: name of the container that this proxy serves from the host's side, or "".
    """

    config: Config
    parent: bool
    x11: bool
    exits_with_program: bool
    program: tuple[str, ...]
    client_fd: int
    listen_fd: int
    lifeline_fd: int
    idle_time: float
    for_container: str
    help: bool
    version: bool
    warnings: tuple[str, ...]


def parse(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Options:
    """Read the command line, the environment and ``guestlink.conf``.

    :raises GuestlinkError: a value is invalid, or a switch is not supported.
    """
    switches: dict[str, str | None] = {}
    plain: set[str] = set()
    warnings: list[str] = []
    descriptors = dict.fromkeys(_DESCRIPTORS, -1)
    for_container = ""
    idle_time = math.inf
    keys = {setting.key for setting in SCHEMA} - set(_FLAGS)
    rest: list[str] = []
    for index, word in enumerate(argv):
        if not word.startswith("-") or word == "-":
            rest = list(argv[index:])
            break
        if word == "--":
            rest = list(argv[index + 1 :])
            break
        name, equals, value = _normalised(word)
        if name in _FLAGS and not equals:
            switches[name] = "yes"
        elif name in _PLAIN:
            plain.add(name)
        elif name in descriptors:
            descriptors[name] = _descriptor(word, value)
        elif name == "idle_time":
            idle_time = _seconds(value)
        elif name == "for_container" and value:
            for_container = switches["container"] = value
        elif name == "trace" and not equals:
            switches["trace"] = "all"
        elif name in keys or name in _FLAGS:
            if not equals:
                raise GuestlinkError(f"{word} needs a value", hint=f"write {word}=VALUE")
            switches[name] = _LEVELS.get(value, value) if name == "log_level" else value
        elif name == "virtgpu_channel":
            raise GuestlinkError(
                "the virtio-gpu channel is not supported yet", hint="name the host's socket with --display"
            )
        elif name == "master":
            plain.add("parent")
        elif name not in _OF_OTHERS:
            warnings.append(f"there is no switch {word.partition('=')[0]}; it is passed over")
    # On the host the caller's switches are the policy, whole: a home that both sides share may hold a file that the
    # container has written.
    config = load(
        SCHEMA,
        section="sommelier",
        files=() if for_container else standard_files("guestlink.conf", environ),
        environ={} if for_container else environ,
        switches=switches,
    )
    return Options(
        config, "parent" in plain, "x" in plain or config[X_DISPLAY] >= 0, "no_exit_with_child" not in plain,
        tuple(rest), **descriptors, idle_time=idle_time, for_container=for_container, help="help" in plain,
        version="version" in plain, warnings=(*warnings, *config.warnings),
    )  # fmt: skip


def host_path(config: Config, environ: Mapping[str, str], *, nested: bool, is_socket: Callable[[str], bool]) -> str:
    """The path of the host compositor's socket.

    :param nested: whether ``WAYLAND_DISPLAY`` may name the host's socket. True for a program that a user runs, not
        for a service, because in the user manager that variable names the proxy's own socket.
    :raises GuestlinkError: no setting names the socket, and the host has mounted none.
    """
    name = config[DISPLAY]
    if not name and is_socket(MOUNTED_SOCKET):
        name = MOUNTED_SOCKET
    if not name and nested:
        name = environ.get("WAYLAND_DISPLAY", "")
    if not name:
        raise GuestlinkError(
            "nothing tells where the host's compositor is",
            hint=f"name its socket with --display or SOMMELIER_DISPLAY, or mount it as {MOUNTED_SOCKET}",
        )
    return socket_path(name, environ)


def socket_path(name: str, environ: Mapping[str, str]) -> str:
    """The path of a socket in XDG_RUNTIME_DIR.

    :param name: a name in that directory, or an absolute path.
    :raises GuestlinkError: XDG_RUNTIME_DIR is not set, or the path is too long for a socket.
    """
    if not name.startswith("/"):
        directory = xdg.runtime_directory(environ)
        if not directory:
            raise GuestlinkError(
                "XDG_RUNTIME_DIR is not set", hint="log in with a session, or set it to a directory of this user"
            )
        name = f"{directory}/{name}"
    if len(os.fsencode(name)) > 107:
        raise GuestlinkError(f"the path {name} is too long for a socket", hint="use one of up to 107 bytes")
    return name


def why_proxy(config: Config) -> str:
    """The setting for which a container of a Linux host needs a proxy of its own; "" if its programs can use the
    socket that the host has mounted."""
    if config[IMPLEMENTATION] == "guestlink":
        return "implementation = guestlink"
    usual = (DISPLAY.default, MOUNTED_SOCKET)  # the unit names the mounted socket
    if config[DISPLAY] not in usual:
        return "the setting display is set"
    changed = next((one for one in _OWN_WORK if config[one] != one.default), None)
    return f"the setting {changed.key} is set" if changed is not None else ""


def help_text() -> str:
    """The output of ``--help``."""
    lines = [
        "usage: sommelier --parent [SWITCH...] [PROGRAM ARGUMENT...]   serve a socket; PROGRAM runs first",
        "       sommelier [SWITCH...] PROGRAM ARGUMENT...              run a program with its own proxy",
        "",
        "The Wayland proxy between the container's applications and the host's compositor.",
        "",
    ]
    for setting in SCHEMA:
        switch = "--" + setting.key.replace("_", "-") + ("" if setting.key in _FLAGS else "=…")
        variable = f" ({setting.variable})" if setting.variable else ""
        lines.append(f"  {switch:<26} {setting.meaning}{variable}")
    return "\n".join(lines)


def _normalised(word: str) -> tuple[str, str, str]:
    name, equals, value = word.partition("=")
    short = {"-X": "x", "-h": "help", "-?": "help", "-v": "version"}
    return short.get(name, name.lstrip("-").replace("-", "_")), equals, value


def _descriptor(word: str, text: str) -> int:
    if not text.isdecimal():
        switch = word.partition("=")[0]
        raise GuestlinkError(f"{switch} cannot be {text!r}", hint="use the number of an open descriptor")
    return int(text)


def _seconds(text: str) -> float:
    if not text.replace(".", "", 1).isdecimal():
        raise GuestlinkError(f"--idle-time cannot be {text!r}", hint="use a number of seconds")
    return float(text)


def virtual_machine(config: Config) -> str:
    """The middle part of application ids on ChromeOS: from the setting, else the container's token."""
    if config[VM_IDENTIFIER]:
        return config[VM_IDENTIFIER]
    try:
        return read_token(config[TOKEN_FILE]) or DEFAULT_VM
    except TokenError:
        return DEFAULT_VM


def container_name(config: Config) -> str:
    """The container's name on its host: from the setting, else from the file that a Linux host mounts, else ""."""
    if config[CONTAINER]:
        return config[CONTAINER]
    try:
        name = read_regular(_CARRIED_NAME, 64).decode()
    except (OSError, UnicodeDecodeError):
        return ""
    return name if name.replace("-", "").replace("_", "").isalnum() else ""

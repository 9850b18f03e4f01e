"""guestlink-host's settings and places: ``guestlink-host.conf``, ``GUESTLINK_HOST_*`` variables, switches."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guestlink import xdg
from guestlink.config import Config, Setting, boolean, choice, load, standard_files
from guestlink.paths import runtime_dir
from guestlink_host.managers import KINDS

PROGRAM = "guestlink-host"


def _words(text: str) -> list[str]:
    return shlex.split(text)


def _schemes(text: str) -> frozenset[str]:
    words = text.replace(",", " ").lower().split()
    if bad := [word for word in words if not word[0].isalpha() or not word.isascii() or ":" in word]:
        raise ValueError(f"{bad[0]!r} is no URL scheme; write them without the colon")
    return frozenset(words)


def _managers(text: str) -> tuple[str, ...]:
    words = tuple(text.replace(",", " ").split())
    if words == ("none",):
        return ()
    if bad := [word for word in words if word not in KINDS]:
        raise ValueError(f"{bad[0]!r} is not a container manager; use {', '.join(KINDS)}, or none")
    return words


def _interfaces(text: str) -> tuple[str, ...]:
    words = tuple(text.replace(",", " ").split())
    if bad := [word for word in words if re.fullmatch(r"[A-Za-z0-9_*]+", word) is None]:
        raise ValueError(f"{bad[0]!r} is not the name of an interface, as in zwlr_screencopy_*")
    return words


def _visible(text: str) -> str:
    if not text.isprintable():
        raise ValueError("use visible characters")
    return text


OPENER = Setting(
    "opener", "GUESTLINK_HOST_OPENER", ["xdg-open"], _words, "command that opens a URL, which is appended"
)
TERMINAL = Setting[list[str]](
    "terminal", "GUESTLINK_HOST_TERMINAL", [], _words, "terminal with its switch before a command, as in `foot -e`"
)
ASK = Setting[list[str]](
    "ask",
    "GUESTLINK_HOST_ASK",
    [],
    _words,
    "yes/no dialog command; the question is appended, exit status 0 means yes",
)
SHELL = Setting[list[str]](
    "shell", "GUESTLINK_HOST_SHELL", [], _words, "command that opens a shell in a container; the default is `vsh`"
)
URL_POLICY = Setting(
    "url_policy",
    "GUESTLINK_HOST_URL_POLICY",
    "allow",
    choice("allow", "ask", "deny"),
    "policy for URLs of containers without one of their own: allow, ask or deny",
)
TERMINAL_POLICY = Setting(
    "terminal_policy",
    "GUESTLINK_HOST_TERMINAL_POLICY",
    "allow",
    choice("allow", "ask", "deny"),
    "policy for terminals of containers without one of their own: allow, ask or deny",
)
URL_SCHEMES = Setting(
    "url_schemes",
    "GUESTLINK_HOST_URL_SCHEMES",
    frozenset({"http", "https", "ftp", "mailto"}),
    _schemes,
    "URL schemes that a container may open; file: also needs a shared folder",
)
LAUNCHER_NAMES = Setting(
    "launcher_names",
    "GUESTLINK_HOST_LAUNCHER_NAMES",
    "auto",
    choice("auto", "always", "never"),
    "which launchers show their container's name: auto (those that share their own name), always or never",
)
UNINSTALL_ACTION = Setting(
    "uninstall_action",
    "GUESTLINK_HOST_UNINSTALL_ACTION",
    False,
    boolean,
    "whether launchers of applications whose packages can be removed offer Uninstall",
)
COMPOSITOR = Setting(
    "compositor",
    "GUESTLINK_HOST_COMPOSITOR",
    "auto",
    str,
    "Wayland compositor for containers' windows: auto for the session's, off, or its socket's path",
)
TITLE_PREFIX = Setting(
    "title_prefix",
    "GUESTLINK_HOST_TITLE_PREFIX",
    "",
    _visible,
    "text before the titles of containers' windows; {name} is the container's name",
)
WAYLAND_ALLOW = Setting[tuple[str, ...]](
    "wayland_allow",
    "GUESTLINK_HOST_WAYLAND_ALLOW",
    (),
    _interfaces,
    "Wayland interfaces that let a program see or control others, and that containers get, as in zwlr_screencopy_*",
)
WAYLAND_DENY = Setting[tuple[str, ...]](
    "wayland_deny",
    "GUESTLINK_HOST_WAYLAND_DENY",
    (),
    _interfaces,
    "Wayland interfaces that containers do not get",
)
SOUND = Setting(
    "sound",
    "GUESTLINK_HOST_SOUND",
    "auto",
    choice("auto", "pipewire", "off"),
    "sound of containers: auto by PulseAudio's protocol, which PipeWire serves too, or off; pipewire is refused",
)
GPU = Setting(
    "gpu",
    "GUESTLINK_HOST_GPU",
    "auto",
    str,
    "render nodes that attach mounts: auto for all of /dev/dri, off, or their paths",
)
MANAGERS = Setting[tuple[str, ...]](
    "managers",
    "GUESTLINK_HOST_MANAGERS",
    KINDS,
    _managers,
    "container managers to use: lxd, incus, lxc, or none",
)
APT = Setting(
    "apt", "GUESTLINK_HOST_APT", "", str, "apt repository from which containers get Guestlink: ADDRESS SUITE PART"
)
DNF = Setting("dnf", "GUESTLINK_HOST_DNF", "", str, "dnf repository from which containers get Guestlink")
KEY = Setting("key", "GUESTLINK_HOST_KEY", "", str, "file with the public key of these repositories")
PACKAGES = Setting(
    "packages", "GUESTLINK_HOST_PACKAGES", "", str, "directory with Guestlink's packages, instead of a repository"
)
LOG_LEVEL = Setting("log_level", "GUESTLINK_LOG", "info", str, "debug, info, warning or error")

SCHEMA: tuple[Setting[Any], ...] = (
    OPENER, TERMINAL, ASK, SHELL, URL_POLICY, TERMINAL_POLICY, URL_SCHEMES, LAUNCHER_NAMES, UNINSTALL_ACTION,
    COMPOSITOR, TITLE_PREFIX, WAYLAND_ALLOW, WAYLAND_DENY, SOUND, GPU, MANAGERS, APT, DNF, KEY, PACKAGES, LOG_LEVEL,
)  # fmt: skip


def load_settings(environ: Mapping[str, str] = os.environ, **switches: str | None) -> Config:
    """Read the settings.

    :raises ConfigError: a value is wrong.
    """
    files = standard_files(f"{PROGRAM}.conf", environ)
    return load(SCHEMA, section=PROGRAM, files=files, environ=environ, switches=switches)


def host_runtime_directory() -> Path:
    """``$XDG_RUNTIME_DIR/guestlink-host``, created if it is missing."""
    return runtime_dir(PROGRAM)


def control_socket() -> Path:
    """The socket on which the daemon serves the commands."""
    return host_runtime_directory() / "control.sock"


def gpu_nodes(setting: str) -> list[Path]:
    """The device nodes that the setting ``gpu`` selects."""
    if setting == "auto":
        return sorted(Path("/dev/dri").glob("renderD*"))
    return [] if setting == "off" else [Path(word) for word in shlex.split(setting)]


def state_directory() -> Path:
    """The directory of files that survive a restart."""
    return Path(xdg.state_home()) / PROGRAM

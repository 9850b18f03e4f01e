"""The user's directories (XDG Base Directory Specification), as text: pathlib takes 0.8 MB in the Wayland proxy.

The specification requires that relative paths in the variables are ignored.
"""

from __future__ import annotations

import os
from collections.abc import Mapping


def home(environ: Mapping[str, str] = os.environ) -> str:
    """The user's home directory."""
    return environ.get("HOME") or os.path.expanduser("~")


def data_home(environ: Mapping[str, str] = os.environ) -> str:
    """``$XDG_DATA_HOME``."""
    return _base("XDG_DATA_HOME", ".local/share", environ)


def config_home(environ: Mapping[str, str] = os.environ) -> str:
    """``$XDG_CONFIG_HOME``."""
    return _base("XDG_CONFIG_HOME", ".config", environ)


def state_home(environ: Mapping[str, str] = os.environ) -> str:
    """``$XDG_STATE_HOME``."""
    return _base("XDG_STATE_HOME", ".local/state", environ)


def cache_home(environ: Mapping[str, str] = os.environ) -> str:
    """``$XDG_CACHE_HOME``."""
    return _base("XDG_CACHE_HOME", ".cache", environ)


def data_dirs(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The directories of ``$XDG_DATA_DIRS``, the most important first; :func:`data_home` comes before them."""
    return _listed("XDG_DATA_DIRS", "/usr/local/share:/usr/share", environ)


def config_dirs(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The directories of ``$XDG_CONFIG_DIRS``, the most important first; :func:`config_home` comes before them."""
    return _listed("XDG_CONFIG_DIRS", "/etc/xdg", environ)


def runtime_directory(environ: Mapping[str, str] = os.environ) -> str:
    """``$XDG_RUNTIME_DIR``; empty without a login session."""
    value = environ.get("XDG_RUNTIME_DIR", "")
    return value if value.startswith("/") else ""


def existing_runtime_directory(environ: Mapping[str, str] = os.environ) -> str:
    """:func:`runtime_directory`, else ``/run/user/UID`` if it exists, else empty.

    A command without a session's variables (su, cron, docker exec) finds the session's sockets there.
    """
    usual = f"/run/user/{os.getuid()}"
    return runtime_directory(environ) or (usual if os.path.isdir(usual) else "")


def _listed(variable: str, default: str, environ: Mapping[str, str]) -> list[str]:
    entries = (environ.get(variable) or default).split(":")
    return [entry for entry in map(str.strip, entries) if entry.startswith("/")]


def _base(variable: str, default: str, environ: Mapping[str, str]) -> str:
    value = environ.get(variable, "")
    return value if value.startswith("/") else f"{home(environ)}/{default}"

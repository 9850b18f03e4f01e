"""The variables of a login: the runtime directory, the bus, the user manager's variables and the locale."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping

from guestlink.program import CommandFailed, Identity, run_program
from guestlink.regular_file import read_regular
from vshd.account import Account
from vshd.environment import Environ

_LOCALE_FILES = ("/etc/locale.conf", "/etc/default/locale")
_TIMEOUT = 2.0
"""Seconds that a user manager may take to send its variables."""
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[0-7]{3}|.)", re.DOTALL)


def login_environ(account: Account, inherited: Mapping[bytes, bytes]) -> Environ:
    """The variables of the account's user manager; without one only the runtime directory, the bus and the locale.

    :param inherited: variables that the session has already; a locale in them is kept.
    """
    environ: Environ = {}
    runtime = f"/run/user/{account.uid}"
    if not account.switches and b"XDG_RUNTIME_DIR" in inherited:
        runtime = os.fsdecode(inherited[b"XDG_RUNTIME_DIR"])
    if os.path.isdir(runtime):
        environ[b"XDG_RUNTIME_DIR"] = os.fsencode(runtime)
        if os.path.exists(f"{runtime}/bus"):
            environ[b"DBUS_SESSION_BUS_ADDRESS"] = b"unix:path=" + os.fsencode(runtime) + b"/bus"
        if os.path.exists(f"{runtime}/systemd/private"):
            environ |= _manager_block(account, environ)
    if not {b"LANG", b"LC_ALL", b"LC_CTYPE"} & (environ.keys() | inherited.keys()):
        environ |= _locale()
    return environ


def _manager_block(account: Account, environ: Environ) -> Environ:
    variables = {b"PATH": b"/usr/bin:/bin", **environ}
    identity = Identity(account.uid, account.gid) if account.switches else None
    try:
        done = run_program(
            ["systemctl", "--user", "show-environment"], timeout=_TIMEOUT, environ=variables, identity=identity
        )
    except CommandFailed:
        return {}
    return dict(parse_block(done.stdout.decode(errors="surrogateescape"))) if done.status == 0 else {}


def parse_block(text: str) -> Iterator[tuple[bytes, bytes]]:
    """Names and values of ``systemctl show-environment``, which quotes as a shell would: ``A=$'x\\ny'``."""
    for line in text.split("\n"):  # Not splitlines(), which also splits at characters that a value may contain.
        name, equals, value = line.partition("=")
        if not equals or not name:
            continue
        if value.startswith("$'") and value.endswith("'") and len(value) >= 3:
            value = _ESCAPE.sub(_unescape, value[2:-1])
        elif value.startswith('"') and value.endswith('"') and len(value) >= 2:
            value = re.sub(r'\\(["\\$`])', r"\1", value[1:-1])
        yield os.fsencode(name), os.fsencode(value)


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) == 3:
        number = int(code[1:], 16) if code[0] == "x" else int(code, 8) & 0xFF
        return os.fsdecode(bytes([number]))
    return _ESCAPES.get(code, code)


def _locale() -> Environ:
    environ: Environ = {}
    for path in _LOCALE_FILES:
        with contextlib.suppress(OSError):
            for line in read_regular(path, 4096).splitlines():
                name, equals, value = line.strip().partition(b"=")
                if equals and (name in (b"LANG", b"LANGUAGE") or name.startswith(b"LC_")):
                    environ[name] = value.strip(b"\"'")
            break
    return environ

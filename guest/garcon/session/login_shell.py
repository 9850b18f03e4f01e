"""Reads the directories that ``~/.profile`` and ``/etc/profile.d`` add to PATH and XDG_DATA_DIRS.

Desktop sessions start from a login shell, and programs of Nix, pip or Flatpak rely on that. garcon starts from the
user manager, which reads no profile. So garcon runs a login shell once, in parallel with its own start, and reads
the shell's environment. A shell that hangs, fails or prints something else delays garcon for a bounded time and has
no other effect.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import secrets
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from guestlink import xdg

_log = logging.getLogger(__name__)

TIMEOUT = 5.0
"""Seconds from the shell's start until garcon stops waiting for its answer."""
_ANSWER_LIMIT = 1024 * 1024
"""Bytes of the shell's whole output, its environment included."""
_END_TIMEOUT = 1.0
"""Seconds for the shell to exit after its answer."""
VARIABLE = "GUESTLINK_READS_PROFILE"
"""A variable that is set only for this shell, so that a profile can recognise it."""


class LoginShell:
    """One run of the user's login shell; the constructor starts the shell.

    :param environ: the shell's initial environment.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._mark = secrets.token_hex(16)
        self._deadline = time.monotonic() + TIMEOUT
        # Syntax that every shell has. The full path, because there may be an alias for env, or a broken PATH.
        command = f"echo {self._mark}; /usr/bin/env -0; echo {self._mark}"
        home = environ.get("HOME", "/")
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [_shell(environ), "-l", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**environ, VARIABLE: "1"},
                cwd=home if os.path.isdir(home) else "/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            _log.info("the login shell cannot be started: %s", error)

    def variables(self) -> dict[str, str]:
        """Read the answer and end the shell. Blocks at most until :data:`TIMEOUT` after the shell's start, and for
        :data:`_END_TIMEOUT` after its answer.

        :returns: the shell's environment; empty if there was no answer.
        """
        if self._process is None or self._process.stdout is None:
            return {}
        with self._process.stdout as stream:
            answer = self._read(stream.fileno())
        self._end(self._process, 0 if answer is None else _END_TIMEOUT)
        if answer is None:
            _log.warning("the login shell gave no answer; PATH and XDG_DATA_DIRS stay without what profiles add")
            return {}
        entries = (entry.partition("=") for entry in os.fsdecode(answer).split("\0"))
        return {name: value for name, equals, value in entries if equals}

    def _read(self, descriptor: int) -> bytes | None:
        """Read the text between the two marks. Do not wait for EOF: a child process may keep the stream open."""
        mark = self._mark.encode() + b"\n"
        received = b""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while len(received) < _ANSWER_LIMIT and (left := self._deadline - time.monotonic()) > 0:
            if not poll.poll(left * 1000):
                break
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                break
            received += chunk
            parts = received.split(mark)
            if len(parts) > 2:
                return parts[1]
        return None

    @staticmethod
    def _end(process: subprocess.Popen[bytes], timeout: float) -> None:
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def with_login_variables(environ: Mapping[str, str], login: Mapping[str, str]) -> dict[str, str]:
    """Add a login shell's directories to an environment.

    :param environ: the session's environment; its directories keep their order.
    :param login: the login shell's environment.
    """
    home = environ.get("HOME", "")
    path = _merge(_split(environ.get("PATH") or os.defpath), _split(login.get("PATH", "")))
    local = os.path.join(home, ".local/bin")
    if home.startswith("/") and local not in path:
        path.insert(0, local)  # "Distributions should ensure this" (XDG Base Directory Specification)
    merged = {**environ, "PATH": ":".join(path)}
    if added := _split(login.get("XDG_DATA_DIRS", "")):
        known = xdg.data_dirs(environ)
        # The user's own directory stays the first.
        own = xdg.data_home(environ)
        merged["XDG_DATA_DIRS"] = ":".join(
            [own, *_merge(known[1:], [entry for entry in added if entry != own])]
            if known[:1] == [own]
            else _merge(known, added)
        )
    return merged


def _merge(known: Sequence[str], added: Sequence[str]) -> list[str]:
    """Insert new entries: those that precede all known entries in ``added`` go first, the others last."""
    first = next((index for index, entry in enumerate(added) if entry in known), len(added))
    return list(dict.fromkeys([*added[:first], *known, *added[first:]]))


def _split(text: str) -> list[str]:
    return [entry for entry in text.split(":") if entry.startswith("/")]


def _shell(environ: Mapping[str, str]) -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
    except KeyError:
        return environ.get("SHELL") or "/bin/sh"

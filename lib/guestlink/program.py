"""Runs a program of the system and waits for its exit, within a time limit.

This module does not import asyncio, which would slow down short-lived commands; :mod:`guestlink.process` runs
programs from an event loop.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from guestlink.descriptor_limit import restore_limit
from guestlink.errors import GuestlinkError, reason

OUTPUT_LIMIT = 4 * 1024 * 1024
"""Bytes kept of each output stream of a program; the rest is read and dropped. Programs of containers are among
them."""


class CommandFailed(GuestlinkError):
    """A program could not be run, took too long or reported failure."""


class ProgramMissing(CommandFailed):
    """There is no such program."""


class Identity(NamedTuple):
    """The user that a program runs as; only root can choose another than itself."""

    uid: int
    gid: int
    groups: Sequence[int] = ()


class Completed(NamedTuple):
    """How a program ended: its exit status (negative: killed by that signal) and what it printed."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def output(self) -> str:
        """Standard output as text."""
        return self.stdout.decode(errors="replace")

    @property
    def messages(self) -> list[str]:
        """The lines of standard error; those of standard output if there are none."""
        return (self.stderr.strip() or self.stdout).decode(errors="replace").strip().splitlines()

    def check(self) -> Completed:
        """Return this object if the program succeeded.

        :raises CommandFailed: the status is not 0; the message ends with the program's last line of output.
        """
        if self.status != 0:
            killed = f"was killed by {signal_name(-self.status)}"
            how = killed if self.status < 0 else f"failed with {self.status}"
            raise CommandFailed(f"{self.argv[0]} {how}" + "".join(f": {line}" for line in self.messages[-1:]))
        return self


def run_program(
    argv: Sequence[str],
    *,
    timeout: float,
    stdin: int = subprocess.DEVNULL,
    environ: Mapping[str, str] | Mapping[bytes, bytes] | None = None,
    identity: Identity | None = None,
    is_merged: bool = False,
) -> Completed:
    """Run a program and wait for its exit; kill it at the time limit. Of long output the beginning is kept.

    :param timeout: seconds.
    :param stdin: a descriptor to read from; by default the input is empty.
    :param environ: its variables; ``None`` for our own.
    :param identity: the user to run it as; ``None`` for our own.
    :param is_merged: write standard error to standard output, so that the lines keep their order.
    :raises ProgramMissing: there is no such program.
    :raises CommandFailed: the program could not be started or did not exit in time.
    """
    user: dict[str, Any] = {}
    if identity is not None:
        user = {"user": identity.uid, "group": identity.gid, "extra_groups": identity.groups}
    try:
        with subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if is_merged else subprocess.PIPE,
            env=environ,
            **user,
        ) as process:
            restore_limit(process.pid)
            try:
                deadline = time.monotonic() + timeout
                stdout, stderr = _read(process, deadline)
                process.wait(max(deadline - time.monotonic(), 0))
            except BaseException:
                process.kill()
                raise
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{argv[0]} did not end within {timeout:.3g} s") from error
    except FileNotFoundError as error:
        raise ProgramMissing(f"there is no program {argv[0]}") from error
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise CommandFailed(f"cannot run {argv[0]}: {reason(error)}") from error
    return Completed(tuple(argv), process.returncode, stdout, stderr)


def _read(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
    """Read both output streams to their ends; at most :data:`OUTPUT_LIMIT` bytes of each are kept.

    :raises subprocess.TimeoutExpired: the deadline has passed.
    """
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream, kept in ((process.stdout, out), (process.stderr, err)):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, kept)
        while selector.get_map():
            if (left := deadline - time.monotonic()) <= 0:
                raise subprocess.TimeoutExpired(process.args, 0)
            for key, _ in selector.select(left):
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    selector.unregister(key.fileobj)
                key.data.extend(chunk[: OUTPUT_LIMIT - len(key.data)])
    return bytes(out), bytes(err)


def signal_name(number: int) -> str:
    """``SIGTERM`` for 15; ``signal 99`` for a number without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

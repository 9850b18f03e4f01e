"""The body of ``vsh``: parses the command line, connects to the vshd, runs the session."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from types import FrameType

from guestlink import __version__
from guestlink.errors import GuestlinkError
from guestlink.vsh import Setup, SetupTooLarge, encode_setup
from guestlink_host.vsh.client_session import BROKEN, ClientSession
from guestlink_host.vsh.connection import connected
from guestlink_host.vsh.options import ACCOUNT_VARIABLES, HELP, SSH_FAILED, VshOptions, parse
from guestlink_host.vsh.terminal import Terminal, window_size


def main(words: Sequence[str]) -> int:
    """Run ``vsh`` and return its exit status.

    :param words: the command line without the program's name.
    :raises GuestlinkError: no session came about.
    """
    arguments = parse(words)
    if arguments.help:
        print(HELP, end="")
        return 0
    if arguments.version:
        print(f"vsh (Guestlink) {__version__}")
        return 0
    if arguments.prints_config:
        print(f"host {arguments.name}\nhostname {arguments.name}")
        if arguments.user:
            print(f"user {arguments.user}")
        return 0
    return run(arguments)


def run(arguments: VshOptions) -> int:
    """Run a session and return its exit status; raises as :func:`main` does."""
    try:
        return _run(arguments)
    except GuestlinkError as error:
        if arguments.like_ssh:
            error.exit_code = SSH_FAILED
        raise


def _run(arguments: VshOptions) -> int:
    if arguments.no_input:
        _close_input()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)  # Exit through Python, so that our socket is removed.
    on_terminal = os.isatty(0)
    has_terminal = on_terminal and os.isatty(1) if arguments.terminal is None else arguments.terminal
    rows, columns = window_size() if has_terminal else (0, 0)
    setup = Setup(
        target=arguments.target,
        user=os.fsencode(arguments.user),
        env=_variables(arguments),
        argv=tuple(os.fsencode(word) for word in arguments.argv),
        rows=rows,
        cols=columns,
        nopty=not has_terminal,
        cwd=os.fsencode(arguments.cwd),
        cwd_pid=arguments.cwd_pid,
        requires_cwd=bool(arguments.cwd or arguments.cwd_pid),
    )
    first_input = b""
    try:
        encode_setup(setup)  # Check its size before a vshd is started.
    except SetupTooLarge as error:
        setup, first_input = _shortened(setup, error)
    terminal = Terminal(0) if has_terminal and on_terminal else None
    gc.freeze()  # These objects stay: exclude them from collections during the session.
    broken = SSH_FAILED if arguments.like_ssh else BROKEN
    connection = connected(arguments)
    return ClientSession(
        connection,
        setup,
        terminal,
        arguments.escape,
        broken=broken,
        background=arguments.background,
        first_input=first_input,
    ).run()


def _shortened(setup: Setup, error: SetupTooLarge) -> tuple[Setup, bytes]:
    """A setup with a command that reads the real one from standard input, and the bytes for that."""
    from guestlink_host.vsh.long_command import through_input

    argv, first_input = through_input(setup.argv)
    shorter = setup._replace(argv=argv)
    try:
        encode_setup(shorter)
    except SetupTooLarge:
        raise GuestlinkError(str(error), hint="set fewer or shorter variables") from error
    if not setup.nopty:  # A terminal changes its input and shows it.
        raise GuestlinkError(str(error), hint="run it without a terminal: vsh -T") from error
    return shorter, first_input


def _variables(arguments: VshOptions) -> dict[bytes, bytes]:
    """The session's variables: TERM, ours that match ``send_env``, and those that the command line sets."""
    sent = {b"TERM"}
    for pattern in arguments.send_env:
        names = {os.fsencode(name) for name in os.environ if fnmatchcase(name, pattern.removeprefix("-"))}
        sent = sent - names if pattern.startswith("-") else sent | names
    sent -= {name.encode() for name in ACCOUNT_VARIABLES}  # vshd sets them from the account
    ours = {name: os.environb[name] for name in sent if name in os.environb}
    return ours | {os.fsencode(name): os.fsencode(value) for name, value in arguments.env}


def _close_input() -> None:
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.close(nothing)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)

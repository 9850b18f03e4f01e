"""The demo's shell: a command's status, a login shell in a resized window, a file copied in each direction."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable

from support.stage import LIMIT, Stage, StageError
from support.vsh_peers import Terminal

Say = Callable[..., None]


def show_shell(stage: Stage, say: Say) -> None:
    """Show all three.

    :raises StageError: one of them failed.
    """
    _command(stage, say)
    _interactive(stage, say)
    _files(stage, say)


def _command(stage: Stage, say: Say) -> None:
    argv = ["vsh", stage.name, "--", "sh", "-c", 'echo "this is process $$ of the container"; exit 7']
    began = time.monotonic()
    done = subprocess.run(
        argv,
        env=stage.host_environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    took = time.monotonic() - began
    if done.returncode != 7 or not done.stdout.startswith("this is process"):
        raise StageError(f"vsh ended with {done.returncode}: {done.stdout}{done.stderr}\n{stage.logs()}")
    say(
        "vsh runs a command in the container",
        f"$ vsh {stage.name} -- sh -c '…; exit 7'",
        done.stdout.strip(),
        f"exit status {done.returncode}, {took * 1000:.0f} ms from start to end",
    )


def _interactive(stage: Stage, say: Say) -> None:
    shell = Terminal(["vsh", stage.name], stage.host_environ | {"TERM": "xterm-256color"}, rows=24, columns=80)
    try:
        shell.type(b"PS1='>''> '\r")
        shell.wait_for(b">> ")
        sizes = []
        for rows, columns in ((24, 80), (50, 132)):
            shell.resize(rows, columns)
            shell.type(b"stty size\r")
            shell.wait_for(f"{rows} {columns}\r\n".encode())
            shell.wait_for(b">> ")
            sizes.append(f"{rows} {columns}")
        shell.type(b"exit 3\r")
        status = shell.status()
        if status != 3 or shell.is_raw():
            raise StageError(
                f"the shell ended with {status}, the terminal is {'raw' if shell.is_raw() else 'sane'}"
            )
    finally:
        shell.close()
    say(
        "A login shell on a terminal, driven by a script",
        f"$ vsh {stage.name}",
        f"stty size inside says {sizes[0]}, and {sizes[1]} after the window has changed",
        f"exit 3 gives exit status {status}; the terminal is as it was",
    )


def _files(stage: Stage, say: Say) -> None:
    here = stage.root / "files"
    here.mkdir()
    letter = here / "letter"
    letter.write_bytes(os.urandom(1 << 20))
    inside = stage.root / "guest" / "home" / "letter"
    commands = f"put letter {inside}\nget {inside} back\nbye\n"
    done = subprocess.run(
        ["guestlink-host", "files", stage.name, "--prompt"],
        env=stage.host_environ,
        input=commands,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        cwd=here,
        check=False,
    )
    back = here / "back"
    if done.returncode or not back.exists() or not letter.read_bytes() == inside.read_bytes() == back.read_bytes():
        raise StageError(f"sftp ended with {done.returncode}: {done.stdout}{done.stderr}\n{stage.logs()}")
    say(
        "A file is copied into the container and back",
        f"$ guestlink-host files {stage.name} --prompt",
        *(f"sftp> {line}" for line in commands.splitlines()[:2]),
        f"1 MiB each way; {inside} and both files here are the same",
    )

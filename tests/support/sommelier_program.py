"""``sommelier`` as users and systemd start it, with a host that the test plays."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from support.wayland_peers import LIMIT, Client, Host

_T = TypeVar("_T")
CHECKOUT = Path(__file__).resolve().parents[2]


class Program:
    """``sommelier`` with a host that it connects to, in a private runtime directory."""

    def __init__(self, directory: Path) -> None:
        self.runtime = directory
        self.host = Host(directory / "host")
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(directory),
            "PYTHONPATH": f"{CHECKOUT}/lib:{CHECKOUT}/guest",
            "SOMMELIER_DISPLAY": "host",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str, **kw: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "sommelier_shim", *words],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **kw,  # type: ignore[call-overload]
        )
        self.processes.append(process)
        return process

    def run(self, *words: str) -> tuple[int, str]:
        process = self.start(*words)
        output = process.communicate(timeout=LIMIT)[0].decode()
        return process.returncode, output

    def connect(self, name: str = "wayland-0") -> Client:
        return Client(self.reach(name))

    def reach(self, name: str) -> socket.socket:
        """Connect once the socket is served; no connection comes before this one."""
        path = self.runtime / name
        sock = self.wait(f"{name} is served", lambda: _connected(path) or self._has_ended() or None)
        sock.settimeout(LIMIT)
        return sock

    def _has_ended(self) -> bool:
        """Fail with the program's output if it has exited, instead of waiting in vain."""
        process = self.processes[-1]
        assert process.stdout is not None
        assert process.poll() is None, f"it ended: {process.stdout.read().decode()}"
        return False

    @staticmethod
    def wait(what: str, condition: Callable[[], _T | None]) -> _T:
        deadline = time.monotonic() + LIMIT
        while not (value := condition()):
            assert time.monotonic() < deadline, f"it did not happen: {what}"
            time.sleep(0.01)
        return value

    def close(self) -> None:
        """Stop the programs and the host; no program may have logged an exception."""
        left = b""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
                process.wait(LIMIT)
            left += _written(process)
        self.host.close()
        assert b"Traceback" not in left, left.decode(errors="replace")


def _written(process: subprocess.Popen[bytes]) -> bytes:
    """The output that nobody has read; a program that goes on may hold the other end. Closes the pipe."""
    assert process.stdout is not None
    if process.stdout.closed:
        return b""
    os.set_blocking(process.stdout.fileno(), False)
    with process.stdout:
        return process.stdout.read() or b""


def _connected(path: Path) -> socket.socket | None:
    """A connection, if somebody listens there."""
    sock = socket.socket(socket.AF_UNIX)
    if sock.connect_ex(str(path)) == 0:
        return sock
    sock.close()
    return None

"""Both ends of a vsh connection for tests: a server that sends given bytes, and ``vsh`` as users start it."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.stage import CHECKOUT, LIMIT, StageError

VSH = [sys.executable, "-m", "guestlink_host.vsh"]
READY = bytes.fromhex("100000000801120976736820726561647918c805")  # chromeos-vsh.md §11.1


def environ(**more: str) -> dict[str, str]:
    """A small environment in which vsh runs from the checkout."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(CHECKOUT / part) for part in ("lib", "guest", "host")),
        "TERM": "xterm-256color",
    } | more


class FakeServer:
    """A vshd for which the test chooses every byte.

    :ivar address: the value for ``--connect``.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "vshd.sock"
        self.address = f"unix:{path}"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(4)
        self._listener.settimeout(LIMIT)
        self.connection = self._listener  # accept() replaces it

    def accept(self) -> bytes:
        """Accept the client's connection; returns the client's setup frame."""
        self.connection, _ = self._listener.accept()
        self.connection.settimeout(LIMIT)
        return self.frame()

    def frame(self) -> bytes:
        """The next frame with its length; empty at the end of the stream."""
        length = self._exactly(4)
        return length + self._exactly(int.from_bytes(length, "little")) if length else b""

    def _exactly(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            try:
                part = self.connection.recv(count - len(received))
            except ConnectionError:
                return b""
            if not part:
                return b""
            received += part
        return received

    def play(self, *frames: str | bytes) -> None:
        """Send bytes, or bytes in hexadecimal."""
        for frame in frames:
            self.connection.sendall(bytes.fromhex(frame) if isinstance(frame, str) else frame)

    def hang_up(self) -> None:
        """Close the connection."""
        self.connection.close()

    def close(self) -> None:
        """Close the connection and the listening socket."""
        self.connection.close()
        self._listener.close()


@contextmanager
def fake_server() -> Iterator[FakeServer]:
    """A fake server in a private directory."""
    with tempfile.TemporaryDirectory(prefix="vsh-") as directory:
        server = FakeServer(Path(directory))
        try:
            yield server
        finally:
            server.close()


@contextmanager
def vsh(*words: str, env: Mapping[str, str] | None = None, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """``vsh`` with pipes, unless ``options`` override them; killed at the end if it is still running."""
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | options
    process = subprocess.Popen([*VSH, *words], env=dict(env or environ()), **streams)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


class Terminal:
    """A program on its own terminal, as in a terminal window; the test takes the place of the user.

    :param argv: the program.
    :param env: the program's environment.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], rows: int = 24, columns: int = 80) -> None:
        self.seen = b""
        self.master, slave = os.openpty()
        self.resize(rows, columns)
        try:
            # setsid(1) makes the terminal the controlling one; a fork in this process is unsafe, because gRPC has
            # threads.
            command = ["setsid", "--ctty", *argv]
            self.process = subprocess.Popen(command, env=dict(env), stdin=slave, stdout=slave, stderr=slave)
        finally:
            os.close(slave)
        self.pid = self.process.pid

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        """Press keys."""
        while keys:
            keys = keys[os.write(self.master, keys) :]

    def read(self, seconds: float = 0.05) -> bytes:
        """The output that appears within ``seconds``; empty if there is none."""
        if not select.select([self.master], [], [], seconds)[0]:
            return b""
        try:
            data = os.read(self.master, 65536)
        except OSError:
            data = b""
        self.seen += data
        return data

    def wait_for(self, text: bytes | Callable[[bytes], object]) -> bytes:
        """Wait until a text appears after the text of the previous wait; returns the output up to it."""
        deadline = time.monotonic() + LIMIT
        while True:
            if callable(text):
                if text(self.seen):
                    return self.seen
            elif text in self.seen:
                before, _, self.seen = self.seen.partition(text)
                return before + text
            if time.monotonic() > deadline:
                raise StageError(f"{text!r} did not appear; there was {self.seen[-2000:]!r}")
            self.read()

    def is_raw(self) -> bool:
        """Whether the terminal is in raw mode."""
        return not termios.tcgetattr(self.master)[3] & (termios.ICANON | termios.ECHO)

    def wait_raw(self, raw: bool = True) -> None:
        """Wait until the terminal is in raw mode, or is not."""
        self.wait_for(lambda _: self.is_raw() is raw)

    def kill(self, number: int) -> None:
        """Send a signal to the program."""
        os.kill(self.pid, number)

    def status(self) -> int:
        """Wait for the program's exit; returns the exit status, negative for a signal."""
        deadline = time.monotonic() + LIMIT
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise StageError(f"it does not end; there was {self.seen[-2000:]!r}")
            self.read(0.02)
        while self.read(0):
            pass
        return self.process.returncode

    def close(self) -> None:
        """Kill the program and close the terminal."""
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@contextmanager
def terminal(argv: Sequence[str], env: Mapping[str, str] | None = None, **size: int) -> Iterator[Terminal]:
    """A program on a terminal; killed afterwards."""
    made = Terminal(argv, env or environ(), **size)
    try:
        yield made
    finally:
        made.close()

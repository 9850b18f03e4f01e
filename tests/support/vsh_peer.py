"""A vsh client for tests of vshd: it sends the frames that a test passes, and stores received frames."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from guestlink.vsh import (
    ClientProtocol,
    Data,
    Setup,
    SetupAnswer,
    Status,
    StatusChange,
    Stream,
    encode_much_data,
    encode_setup,
)
from support.stage import CHECKOUT, LIMIT

EOF = bytes.fromhex("04 00 00 00 0a 02 08 01")


class VshPeer:
    """One connection to a vshd.

    :param path: the server's Unix socket, or a connection to it.
    :ivar answer: the server's first frame, once received.
    :ivar end: the status that ended the session, once received.
    :ivar closed: whether the server has closed the connection.
    """

    def __init__(self, path: str | socket.socket) -> None:
        if isinstance(path, socket.socket):
            self.sock = path
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(path)  # blocks while the server is busy with other clients
        self.sock.settimeout(LIMIT)
        self.answer: SetupAnswer | None = None
        self.end: StatusChange | None = None
        self.streams = {Stream.STDOUT: bytearray(), Stream.STDERR: bytearray()}
        self.ended_streams: list[int] = []
        self.closed = False
        self._protocol = ClientProtocol()

    def __enter__(self) -> VshPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    @property
    def out(self) -> bytes:
        """The data received for standard output."""
        return bytes(self.streams[Stream.STDOUT])

    @property
    def err(self) -> bytes:
        """The data received for standard error."""
        return bytes(self.streams[Stream.STDERR])

    @property
    def code(self) -> int:
        """The exit code; fails if the client has not received it."""
        assert self.end is not None, f"the session has not ended: {self.answer} {self.out[-500:]!r} {self.err!r}"
        assert self.end.status == Status.EXITED
        return self.end.code

    def say(self, *frames: bytes) -> None:
        """Send frames, or arbitrary bytes."""
        self.sock.sendall(b"".join(frames))

    def type(self, data: bytes) -> None:
        """Send input."""
        self.say(*map(bytes, encode_much_data(Stream.STDIN, data)))

    def begin(self, setup: Setup) -> VshPeer:
        """Send a setup and wait for READY."""
        self.say(encode_setup(setup))
        self.until(lambda: self.answer is not None)
        assert self.answer is not None
        assert self.answer.status == Status.READY, self.answer
        assert self.answer.pid > 0
        return self

    def until(self, condition: Callable[[], bool]) -> None:
        """Receive until a condition holds."""
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert not self.closed, f"closed: {self.answer} {self.end} {self.out[-500:]!r} {self.err!r}"
            assert time.monotonic() < deadline, f"{self.answer} {self.end} {self.out[-500:]!r} {self.err!r}"
            self.listen()

    def finish(self) -> VshPeer:
        """Receive until the server has closed the connection."""
        while not self.closed:
            self.listen()
        return self

    def listen(self) -> None:
        """Receive once and handle each frame."""
        try:
            data = self.sock.recv(262144)
        except ConnectionResetError:
            data = b""
        self.closed = not data
        for event in self._protocol.feed(data):
            if isinstance(event, SetupAnswer):
                self.answer = event
            elif isinstance(event, StatusChange):
                self.end = event
            elif isinstance(event, Data) and event.data:
                self.streams[Stream(event.stream)] += event.data
            elif isinstance(event, Data):
                self.ended_streams.append(event.stream)

    def is_silent(self, seconds: float) -> bool:
        """Whether the client receives nothing for a time."""
        return not select.select([self.sock], [], [], seconds)[0]


class Vshd:
    """A vshd that listens on a private Unix socket.

    :param root: a directory for the socket and the log.
    :param arguments: switches besides ``--listen``.
    :param environ: the whole environment; if ``None``, this process's without the variables of a login session.
    :param inherited: descriptors that it inherits besides the standard ones.
    """

    def __init__(
        self,
        root: Path,
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        *,
        uid: int = 0,
        inherited: Sequence[int] = (),
    ) -> None:
        self.path = str(root / "vshd.sock")
        variables = dict(environ) if environ is not None else {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        variables["PYTHONPATH"] = os.pathsep.join(str(CHECKOUT / part) for part in ("lib", "guest"))
        self.log = root / "vshd.log"
        become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if uid else []
        # Another user may be unable to enter the home directory that contains the interpreter.
        python = "/usr/bin/python3" if uid else sys.executable
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*become, python, "-m", "vshd", f"--listen=unix:{self.path}", *arguments],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=inherited,
            )
        deadline = time.monotonic() + LIMIT
        while not self._listens():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)

    def _listens(self) -> bool:
        try:
            VshPeer(self.path).sock.close()
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def peer(self) -> VshPeer:
        """Open a new connection."""
        return VshPeer(self.path)

    def run(self, *argv: str | bytes, stdin: bytes | None = b"", **fields: object) -> VshPeer:
        """Run a whole session on pipes: send the input and its end, and receive until the session ends.

        :param stdin: ``None`` leaves the input open.
        """
        words = tuple(word.encode() if isinstance(word, str) else word for word in argv)
        values: dict[str, object] = {"target": "test", "argv": words, "nopty": True, **fields}
        with self.peer() as peer:
            peer.begin(Setup(**values))  # type: ignore[arg-type]
            if stdin:
                peer.type(stdin)
            if stdin is not None:
                peer.say(EOF)
            return peer.finish()

    def close(self) -> None:
        """Stop vshd and its sessions."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(LIMIT)


def terminal(*argv: str, rows: int = 24, cols: int = 80, **fields: object) -> Setup:
    """A setup frame for a session on a terminal."""
    values: dict[str, object] = {"target": "test", "argv": tuple(word.encode() for word in argv), **fields}
    return Setup(rows=rows, cols=cols, **values)  # type: ignore[arg-type]


def names_of_children(pid: int) -> list[str]:
    """The names of a process's descendants."""
    names = []
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            names.append(child.name())
    return names

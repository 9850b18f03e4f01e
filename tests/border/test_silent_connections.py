"""Clients that connect to vshd or to garcon's SFTP port and say nothing keep nobody else out."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from guestlink.authentication import authenticate
from guestlink.handshake import CHALLENGE_SIZE, DialerHandshake, Purpose
from guestlink.vsh import Setup
from guestlink.waiting_room import FULL
from support.descriptors import room_for
from support.stage import CHECKOUT, LIMIT
from support.vsh_peer import Vshd, VshPeer

SILENT = 1100
TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module", autouse=True)
def _descriptors() -> Iterator[None]:
    """Room in this process for the attackers' ends; vshd keeps the usual limit."""
    with room_for(2 * SILENT + 256):  # garcon's stream runs in this process
        yield


class TcpVshd:
    """A vshd that listens on a TCP port of the loopback address."""

    def __init__(self, root: Path) -> None:
        token = root / "token"
        token.write_text(TOKEN)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log = root / "vshd.log"
        variables = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        variables["PYTHONPATH"] = os.pathsep.join(str(CHECKOUT / part) for part in ("lib", "guest"))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vshd", f"--listen=tcp:127.0.0.1:{self.port}", f"--token-file={token}"],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + LIMIT
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                self.connect().close()
                return
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)

    def connect(self) -> socket.socket:
        """A connection that has said nothing."""
        return socket.create_connection(("127.0.0.1", self.port), LIMIT)

    def honest(self) -> VshPeer:
        """A connection that has proved that it knows the token."""
        sock = self.connect()
        authenticate(sock, DialerHandshake(TOKEN, Purpose.VSHD), LIMIT)
        return VshPeer(sock)

    def close(self) -> None:
        """Stop vshd and its sessions."""
        self.process.terminate()
        self.process.wait(LIMIT)


@pytest.fixture
def tcp(tmp_path: Path) -> Iterator[TcpVshd]:
    server = TcpVshd(tmp_path)
    yield server
    server.close()


def _is_served(peer: VshPeer) -> None:
    peer.begin(Setup("test", argv=(b"echo", b"hello"), nopty=True))
    assert peer.finish().out == b"hello\n"


def _sessions(server: psutil.Process) -> int:
    """The children that serve a connection, and the spare."""
    return len(server.children())


def test_an_honest_client_gets_its_shell_while_1100_tcp_connections_are_silent(tcp: TcpVshd) -> None:
    with ExitStack() as stack:
        for _ in range(SILENT):
            stack.enter_context(tcp.connect())
        with tcp.honest() as peer:
            _is_served(peer)
        assert tcp.log.read_text().count("say nothing") == 1


def test_an_honest_client_gets_its_shell_while_1100_unix_connections_are_silent(tmp_path: Path) -> None:
    vshd = Vshd(tmp_path)
    try:
        with ExitStack() as stack:
            for _ in range(SILENT):
                stack.enter_context(vshd.peer())
            with vshd.peer() as peer:
                _is_served(peer)
    finally:
        vshd.close()


def test_silent_connections_are_bounded_and_sessions_that_run_stay(tcp: TcpVshd) -> None:
    with ExitStack() as stack:
        running = stack.enter_context(tcp.honest())
        running.begin(Setup("test", argv=(b"cat",), nopty=True))
        server = psutil.Process(tcp.process.pid)
        for _ in range(SILENT):
            stack.enter_context(tcp.connect())
        with tcp.honest() as last:
            _is_served(last)  # vshd has accepted all before.
        deadline = time.monotonic() + LIMIT
        while _sessions(server) > FULL + 3:  # those that were told to end may still do so
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running.type(b"still here\n")
        running.until(lambda: running.out == b"still here\n")


def test_a_silent_connection_is_closed_after_its_time(tcp: TcpVshd) -> None:
    with tcp.connect() as silent:
        assert silent.recv(CHALLENGE_SIZE, socket.MSG_WAITALL) != b""
        assert silent.recv(1) == b""

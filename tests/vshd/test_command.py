"""vshd's command line: the original's switches, the ways to listen and connect, and the peers that it refuses."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestlink.address import CID_ANY, CID_HOST, Address, UnixAddress, VsockAddress
from guestlink.authentication import authenticate
from guestlink.errors import GuestlinkError
from guestlink.handshake import DialerHandshake, HandshakeFailed, ListenerHandshake, Purpose
from guestlink.sockets import connect
from guestlink.vsh import ClientProtocol, Setup, SetupAnswer, encode_setup
from support.loopback import free_address
from support.stage import CHECKOUT, LIMIT
from support.vsh_peer import Vshd
from vshd.arguments import parse_arguments

TOKEN = "0123456789abcdef0123456789abcdef0123"
ENVIRON = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": os.pathsep.join(str(CHECKOUT / part) for part in ("lib", "guest")),
}
ECHO = encode_setup(Setup(argv=(b"echo", b"hi"), nopty=True))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vshd", *words],
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


@contextlib.contextmanager
def running(*words: str, **popen: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "vshd", *words],
        env=ENVIRON,
        stderr=subprocess.PIPE,
        text=True,
        **popen,  # type: ignore[call-overload]
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=LIMIT)


def conversation(sock: socket.socket) -> list[object]:
    """Run a command that prints a greeting; returns all events until the connection closes."""
    sock.sendall(ECHO)
    protocol = ClientProtocol()
    events: list[object] = []
    while data := sock.recv(4096):
        events += [event if not hasattr(event, "data") else bytes(event.data) for event in protocol.feed(data)]
    return events


def connected(address: Address, process: subprocess.Popen[str]) -> socket.socket:
    """Connect to a vshd that has just been started."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return connect(address)
        except GuestlinkError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_the_originals_command_lines() -> None:
    assert parse_arguments([]).listen == VsockAddress(CID_ANY, 9001)
    plain = parse_arguments(["--inherit_env", "--forward_to_host_port=2254857830"])
    assert plain.connect == VsockAddress(CID_HOST, 2254857830)
    assert plain.inherit
    assert parse_arguments(["-forward_to_host_port=5"]).inherit is False
    assert (
        parse_arguments(["--noinherit_env", "--allow_to_switch_user=false", "--log_kmsg=false"]).may_switch is False
    )
    assert parse_arguments(["--default_user=ana"]).default_user == "ana"
    assert parse_arguments(["--connect", "unix:/x"]).inherit


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["extra"], 1),
        (["--forward_to_host_port=4294967296"], 1),
        (["--nosuch"], 64),
        (["--nosuch=1"], 64),
        (["--forward_to_host_port=x"], 65),
        (["--inherit_env=perhaps"], 65),
        (["--log_kmsg=perhaps"], 65),
        (["--connect=unix:/x", "--listen=unix:/y"], 1),
        (["--connect=nonsense"], 1),
    ],
)
def test_wrong_command_lines_end_with_the_originals_codes(words: list[str], code: int) -> None:
    with pytest.raises(GuestlinkError) as caught:
        parse_arguments(words)
    assert caught.value.exit_code == code


def test_what_is_wrong_is_told_in_a_sentence(tmp_path: Path) -> None:
    for words, said in (
        (["--nosuch"], "there is no switch '--nosuch'"),
        (["--connect=unix:/nonexistent/x"], "cannot connect to unix:/nonexistent/x"),
        ([f"--listen=unix:{tmp_path}/no/x"], "cannot listen on"),
        (["--log-level=loud"], "there is no log level"),
    ):
        done = run(*words)
        assert done.returncode != 0
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_help_and_version() -> None:
    assert "--forward_to_host_port" in run("--help").stdout
    assert "vshd (Guestlink)" in run("--version").stdout


def test_it_connects_and_then_waits_to_be_told(tmp_path: Path) -> None:
    """The side that connects is the server, which never sends first (chromeos-vsh.md §2.2)."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "host"))
        listener.listen()
        listener.settimeout(LIMIT)
        with running(f"--connect=unix:{tmp_path}/host") as process:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    connection.recv(1)
                connection.settimeout(LIMIT)
                answer, *rest = conversation(connection)
            assert isinstance(answer, SetupAnswer)
            assert b"hi\n" in rest
            assert process.wait(LIMIT) == 0


def test_tcp_begins_with_a_proof(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT)
        port = listener.getsockname()[1]
        with running(f"--connect=tcp:127.0.0.1:{port}", f"--token-file={tmp_path}/token"):
            connection, _ = listener.accept()
            with connection:
                authenticate(connection, ListenerHandshake(TOKEN, [Purpose.VSH]), LIMIT)
                connection.settimeout(LIMIT)
                assert b"hi\n" in conversation(connection)


def test_other_sockets_begin_with_a_proof_on_request(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    path = str(tmp_path / "client")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(LIMIT)
        with running(f"--connect=unix:{path}", f"--token-file={tmp_path}/token", "--handshake"):
            connection, _ = listener.accept()
            with connection:
                authenticate(connection, ListenerHandshake(TOKEN, [Purpose.VSH]), LIMIT)
                connection.settimeout(LIMIT)
                assert b"hi\n" in conversation(connection)


def test_a_tcp_listener_demands_a_proof(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    address = free_address()
    with running(f"--listen={address}", "--nohandshake", f"--token-file={tmp_path}/token") as process:
        with connected(address, process) as right:
            authenticate(right, DialerHandshake(TOKEN, Purpose.VSHD), LIMIT)
            right.settimeout(LIMIT)
            assert b"hi\n" in conversation(right)
        for wrong in (f"{TOKEN}\n".encode(), b"GUESTLINK\x01" + b"x" * 65):
            with connect(address) as refused:
                refused.settimeout(LIMIT)
                refused.sendall(wrong)
                with contextlib.suppress(ConnectionResetError):
                    assert refused.recv(1000, socket.MSG_WAITALL)[:10] == b"GUESTLINK\x01"
        with connect(address) as other_purpose, pytest.raises(HandshakeFailed, match="did not accept our proof"):
            authenticate(other_purpose, DialerHandshake(TOKEN, Purpose.VSH), LIMIT)


def test_sockets_of_systemd_are_served(tmp_path: Path) -> None:
    path = str(tmp_path / "activated")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        program = (
            "import os, sys\n"
            "os.dup2(int(sys.argv[1]), 3, inheritable=True)\n"
            "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1', 'LISTEN_FDNAMES': 'shell'}\n"
            "os.execv(sys.executable, [sys.executable, '-m', 'vshd'])\n"
        )
        argv = [sys.executable, "-c", program, str(listener.fileno())]
        process = subprocess.Popen(argv, env=ENVIRON, pass_fds=[listener.fileno()])
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LIMIT)
            client.connect(path)
            assert b"hi\n" in conversation(client)
    finally:
        process.terminate()
        process.wait(LIMIT)


def test_a_second_vshd_leaves_the_first_alone(tmp_path: Path) -> None:
    address = UnixAddress(f"{tmp_path}/s")
    with running(f"--listen={address}") as process:
        connected(address, process).close()
        done = run(f"--listen={address}")
        assert done.returncode == 1
        assert "is in use" in done.stderr


def test_vshd_does_not_listen_on_tcp_without_a_token_to_check(tmp_path: Path) -> None:
    done = run("--listen=tcp:127.0.0.1:0", f"--token-file={tmp_path}/token")
    assert done.returncode == 1
    assert done.stderr.startswith(f"vshd: there is no token file {tmp_path}/token yet\n")


@pytest.mark.slow
def test_a_peer_that_says_nothing_is_hung_up_on(tmp_path: Path) -> None:
    """vshd closes after ten seconds (case S40 of chromeos-vsh.md §11.2).

    Four clients wait together: after nothing, half a length, half a setup.
    """
    server = Vshd(tmp_path)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    try:
        for client, start in zip(clients, (b"", ECHO[:2], ECHO[:4], ECHO[:-1]), strict=True):
            client.connect(server.path)
            client.settimeout(LIMIT)
            client.sendall(start)
        for client in clients:
            assert client.recv(1) == b""
    finally:
        for client in clients:
            client.close()
        server.close()

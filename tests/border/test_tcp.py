"""What a container and its host say over TCP helps nobody else: not another user of the machine, and not whoever
records, replays, reflects, or holds the host's port first.

The token is the key; neither side sends a byte of it. What follows the handshake is plain text, and not promised.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from guestlink.address import TcpAddress
from guestlink.authentication import authenticate
from guestlink.handshake import (
    CHALLENGE_SIZE,
    RESPONSE_SIZE,
    DialerHandshake,
    HandshakeFailed,
    ListenerHandshake,
    Purpose,
    call_token,
)
from support.loopback import free_address
from support.recording_relay import RecordingRelay
from support.stage import LIMIT, Stage, stage

NAME = "far"
SFTP_INIT = bytes.fromhex("000000050100000003")
SILENT = 300
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def tcp_stage(rig: Stage, address: TcpAddress, dialed: TcpAddress | None = None) -> None:
    """Let both sides of a stage meet over TCP alone.

    :param address: where the host listens; :param dialed: where garcon connects, by default the same.
    """
    del rig.guest_environ["GUESTLINK_VSH_ADDRESS"]
    rig.guest_environ.pop("GUESTLINK_GARCON_ADDRESS", None)
    rig.guest_environ["GUESTLINK_HOST_ADDRESS"] = str(dialed or address)
    token = rig.root / "guest/token"  # Garcon sees no directory of the host.
    token.write_bytes(Path(rig.guest_environ["GUESTLINK_TOKEN_FILE"]).read_bytes())
    rig.guest_environ["GUESTLINK_TOKEN_FILE"] = str(token)


def add(rig: Stage, address: TcpAddress) -> None:
    rig.host("add", NAME, "--listen", str(address))


def token_of(rig: Stage) -> str:
    return Path(rig.guest_environ["GUESTLINK_TOKEN_FILE"]).read_text()


def wait_reachable(rig: Stage) -> None:
    rig.wait("the container can be called", lambda: rig.host_json("list")[0]["username"])


@pytest.fixture(scope="module")
def address() -> TcpAddress:
    return free_address()


@pytest.fixture(scope="module")
def rig(address: TcpAddress) -> Iterator[Stage]:
    """A host and a container that meet over TCP."""
    with stage(NAME) as made:
        made.start_host()
        add(made, address)
        tcp_stage(made, address)
        made.add_application("org.example.App", Exec="touch launched", Path=str(made.root / "guest"))
        made.start_garcon()
        wait_reachable(made)
        yield made


@pytest.fixture(scope="module")
def silent(rig: Stage, address: TcpAddress) -> Iterator[socket.socket]:
    """A stranger who has connected when the first test began, and has said nothing since."""
    with socket.create_connection(address, LIMIT) as stranger:
        yield stranger


def received(sock: socket.socket) -> bytes:
    """Everything until the other side closes the connection."""
    content = b""
    with contextlib.suppress(ConnectionError):
        while part := sock.recv(65536):
            content += part
    return content


def answer(address: TcpAddress, *said: bytes) -> bytes:
    """What the host sends to a stranger who says this; the host has to close the connection."""
    with socket.create_connection(address, LIMIT) as stranger:
        for part in said:
            with contextlib.suppress(ConnectionError):
                stranger.sendall(part)
        return received(stranger)


def events(rig: Stage) -> list[str]:
    return [event["event"] for event in rig.host_json("events", NAME)]


def holds_token(content: bytes, token: str) -> bool:
    """Whether a piece of the token is in it that is too long for chance."""
    pieces = [token[start : start + 8].encode() for start in range(len(token) - 7)]
    return any(piece in content for piece in [*pieces, token.replace("-", "").encode()])


def sftp(rig: Stage) -> bytes:
    """The first answer of the container's SFTP server, through the host's command."""
    process = subprocess.Popen(
        [sys.executable, "-m", "guestlink_host", "sftp-stream", NAME],
        env=rig.host_environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(SFTP_INIT)
    out = process.stdout.read(9)
    process.stdin.close()
    assert process.wait(LIMIT) == 0
    process.stdout.close()
    return out


# -- another user of the machine -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("silent")
def test_a_container_serves_its_host_over_tcp(rig: Stage) -> None:
    """The honest use, without which the refusals below would prove nothing."""
    rig.host("launch", NAME, "org.example.App")
    rig.wait("the application runs", (rig.root / "guest/launched").exists)
    assert rig.vsh(NAME, "--", "echo", "shell").stdout == "shell\n"
    assert sftp(rig)[4:9] == bytes.fromhex("0200000003")


def test_garcon_listens_on_no_tcp_port(rig: Stage) -> None:
    garcon = psutil.Process(rig.processes["garcon"].pid)
    for process in (garcon, *garcon.children(recursive=True)):
        assert not [one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]


def test_garcon_refuses_to_listen_on_tcp_and_says_what_to_do(rig: Stage) -> None:
    environ = rig.guest_environ | {"GUESTLINK_GARCON_ADDRESS": "tcp:127.0.0.1:0"}
    done = subprocess.run(
        [sys.executable, "-m", "garcon", "--server", "--allow_any_user"],
        env=environ, capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 78
    assert "garcon does not listen on TCP" in done.stderr
    assert "leave" in done.stderr
    refused = rig.host("add", "other", "--garcon", "tcp:127.0.0.1:0", check=False)
    assert refused.returncode == 1
    assert "does not listen on TCP" in refused.stderr


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(PREFACE + b"\0\0\0\4\0\0\0\0\0", id="gRPC"),
        pytest.param(b"%s\n", id="an auth line, even with the right token"),
        pytest.param(b"GUESTLINK\x01\x02" + b"x" * 64, id="a made-up proof"),
        pytest.param(b"GUESTLINK\x02", id="another version"),
        pytest.param(SFTP_INIT, id="SFTP"),
    ],
)
def test_a_stranger_gets_a_challenge_from_the_host_and_nothing_else(
    rig: Stage, address: TcpAddress, said: bytes
) -> None:
    before = events(rig)
    said = said.replace(b"%s", token_of(rig).encode())
    # The host may reset a connection whose bytes it does not read, and then the challenge is lost, too.
    assert len(answer(address, said)) in (0, CHALLENGE_SIZE)
    assert events(rig) == before


def test_the_text_in_a_call_opens_nothing_without_a_handshake(rig: Stage, address: TcpAddress) -> None:
    """The text that stands for the token is on the wire; it is no key for a handshake."""
    text = call_token(token_of(rig))
    for purpose in (Purpose.LISTENER, Purpose.CALLS, Purpose.SFTP):
        with socket.create_connection(address, LIMIT) as stranger, pytest.raises(HandshakeFailed):
            authenticate(stranger, DialerHandshake(text, purpose))


def test_a_stranger_who_reaches_vsh_first_gets_no_session(rig: Stage, tmp_path: Path) -> None:
    port = free_address().port
    host = rig.guest_environ["GUESTLINK_HOST_ADDRESS"].split(":")[1]
    with ExitStack() as stack:
        rig.processes["garcon"].send_signal(19)
        try:
            log = stack.enter_context(open(tmp_path / "out", "w+b"))
            process = subprocess.Popen(
                [sys.executable, "-m", "guestlink_host.vsh", NAME, f"--listen_port={port}", "--", "echo", "honest"],
                env=rig.host_environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
            strangers = []
            for said in (b"", token_of(rig).encode() + b"\n", b"GUESTLINK\x01\x04" + b"x" * 64):
                strangers.append(stack.enter_context(first_connection(host, port)))
                strangers[-1].sendall(said)
        finally:
            rig.processes["garcon"].send_signal(18)
        assert process.wait(LIMIT) == 0
        log.seek(0)
        assert log.read() == b"honest\n"
        assert {len(received(stranger)) for stranger in strangers} <= {0, CHALLENGE_SIZE}


def first_connection(host: str, port: int) -> socket.socket:
    """Connect as soon as somebody listens."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return socket.create_connection((host, port), LIMIT)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("purpose", [Purpose.CALLS, Purpose.SFTP, Purpose.VSH, Purpose.VSHD])
def test_only_a_container_can_park_connections_and_only_for_what_the_host_uses(
    rig: Stage, address: TcpAddress, purpose: Purpose
) -> None:
    with socket.create_connection(address, LIMIT) as stranger, pytest.raises(HandshakeFailed):
        authenticate(stranger, DialerHandshake("a token of another container", purpose))
    if purpose in (Purpose.VSH, Purpose.VSHD):
        with socket.create_connection(address, LIMIT) as confused, pytest.raises(HandshakeFailed):
            authenticate(confused, DialerHandshake(token_of(rig), purpose))


# -- who records, replays and reflects -----------------------------------------------------------------------------


def test_no_byte_of_the_token_is_on_the_wire_and_a_recording_opens_nothing() -> None:
    """Registration, launching, a shell and SFTP cross a relay that records them; then it plays them again."""
    address = free_address()
    dialed = TcpAddress(free_address().host, address.port)
    shell_port = free_address().port
    with stage(NAME) as rig, ExitStack() as stack:
        relay = stack.enter_context(RecordingRelay(dialed, address))
        shell_at = (TcpAddress(one.host, shell_port) for one in (dialed, address))
        shells = stack.enter_context(RecordingRelay(*shell_at))
        rig.start_host()
        add(rig, address)
        tcp_stage(rig, address, dialed)
        rig.add_application("org.example.App", Exec="touch launched", Path=str(rig.root / "guest"))
        rig.start_garcon()
        wait_reachable(rig)
        rig.host("launch", NAME, "org.example.App")
        rig.wait("the application runs", (rig.root / "guest/launched").exists)
        assert rig.vsh(NAME, f"--listen_port={shell_port}", "--", "echo", "shell").stdout == "shell\n"
        assert sftp(rig)[4:9] == bytes.fromhex("0200000003")
        token = token_of(rig)
        recorded = relay.everything + shells.everything
        assert b"org.example.App" in recorded  # what follows the handshake is plain text, so the recording is whole
        assert call_token(token).encode() in recorded
        assert len(shells.connections) == 1
        assert not holds_token(recorded, token)
        rig.stop("garcon")
        rig.wait("the host has noticed", lambda: not rig.host_json("list")[0]["registered"])
        before = events(rig)
        for one in relay.connections:
            assert len(one.from_dialer) >= RESPONSE_SIZE or not one.from_dialer
            assert len(answer(address, bytes(one.from_dialer) or b"x")) in (0, CHALLENGE_SIZE)
        assert events(rig) == before
        assert not rig.host_json("list")[0]["registered"]


def test_what_is_reflected_opens_nothing(rig: Stage, address: TcpAddress) -> None:
    """The host's challenge comes back to it, on the same connection and crosswise on two."""
    with socket.create_connection(address, LIMIT) as first, socket.create_connection(address, LIMIT) as second:
        one, other = (sock.recv(CHALLENGE_SIZE, socket.MSG_WAITALL) for sock in (first, second))
        nonces = one[10:], other[10:]
        first.sendall(one + nonces[0] + b"\1")
        second.sendall(one[:10] + b"\1" + nonces[0] + nonces[0])
        assert received(first) == received(second) == b""


def test_a_proof_that_is_cut_at_any_byte_opens_nothing(rig: Stage, address: TcpAddress) -> None:
    token, before = token_of(rig), events(rig)
    for size in range(RESPONSE_SIZE):
        with socket.create_connection(address, LIMIT) as cut:
            dialer = DialerHandshake(token, Purpose.CALLS)
            response = dialer.receive(cut.recv(CHALLENGE_SIZE, socket.MSG_WAITALL))
            cut.sendall(response[:size])
            cut.shutdown(socket.SHUT_WR)
            assert received(cut) == b""
    assert events(rig) == before
    assert rig.vsh(NAME, "--", "echo", "still served").stdout == "still served\n"


# -- who holds the host's port first -------------------------------------------------------------------------------


def challenge() -> bytes:
    """A challenge of somebody who does not know the token."""
    return ListenerHandshake("a guess", [Purpose.LISTENER]).begin()


def grpc_server_says() -> bytes:
    """What a gRPC server sends at once: SETTINGS."""
    return bytes.fromhex("000000040000000000")


@pytest.mark.parametrize("says", ["nothing", "gRPC", "a challenge", "a challenge and a proof", "its own vsh"])
def test_who_holds_the_hosts_port_first_learns_nothing_that_is_useful(says: str) -> None:
    said = {
        "nothing": b"",
        "gRPC": grpc_server_says(),
        "a challenge": challenge(),
        "a challenge and a proof": challenge() + b"p" * 32 + grpc_server_says(),
        "its own vsh": bytes.fromhex("1000000008011209767368207265616479"),
    }[says]
    address, real = free_address(), free_address()
    with stage(NAME) as rig:
        rig.start_host()
        add(rig, real)
        tcp_stage(rig, real, address)
        with RecordingRelay(address, None, said) as stand_in:
            rig.start_garcon()
            # Where garcon waits for an answer, it tries again only after ten seconds.
            tries = 1 if says in ("nothing", "a challenge") else 2
            rig.wait("garcon has tried", lambda: len(stand_in.connections) >= tries)
            if says.startswith("a challenge"):
                rig.wait("a proof", lambda: len(stand_in.connections[0].from_dialer) >= RESPONSE_SIZE)
        learned = [bytes(one.from_dialer) for one in stand_in.connections]
        token = token_of(rig)
        assert not holds_token(b"\n".join(learned), token)
        assert call_token(token).encode() not in b"\n".join(learned)
        assert {len(one) for one in learned} <= {0, RESPONSE_SIZE}
        # The attacker uses what it has learned at the real host, which wakes nothing up there.
        for one in {*learned, b"x"}:
            if one:
                assert len(answer(real, one)) in (0, CHALLENGE_SIZE)
        assert events(rig) == []
        # Once the port is free and the host has it, garcon finds the host by itself.
        with RecordingRelay(address, real):
            wait_reachable(rig)
            rig.stop("garcon")


def test_garcon_says_that_another_program_holds_the_hosts_port() -> None:
    address, real = free_address(), free_address()
    with stage(NAME) as rig:
        rig.start_host()
        add(rig, real)
        tcp_stage(rig, real, address)
        says = challenge() + b"p" * 32
        with RecordingRelay(address, None, says):
            rig.start_garcon()
            rig.wait(
                "garcon's sentence",
                lambda: "does not know the container's token" in rig.guestlink("status", check=False).stdout,
                0.2,
            )


def test_who_leads_vshd_astray_gets_no_shell_and_no_token(tmp_path: Path) -> None:
    """A listener of the attacker's: vshd connects, proves the token over the attacker's challenge, and hangs up."""
    (tmp_path / "token").write_text("8a3f2b1c-0d4e-4f5a-9b6c-7d8e9f0a1b2c")
    with stage(NAME) as rig, socket.create_server(("127.0.0.1", 0)) as attacker:
        port = attacker.getsockname()[1]
        words = [f"--connect=tcp:127.0.0.1:{port}", f"--token-file={tmp_path}/token"]
        vshd = subprocess.Popen(
            [sys.executable, "-m", "vshd", *words], env=rig.guest_environ, stderr=subprocess.PIPE, text=True
        )
        attacker.settimeout(LIMIT)
        connection, _ = attacker.accept()
        with connection:
            connection.settimeout(LIMIT)
            connection.sendall(ListenerHandshake("a guess", [Purpose.VSH]).begin())
            response = connection.recv(RESPONSE_SIZE, socket.MSG_WAITALL)
            setup = bytes.fromhex("0c0000002a0269644001")  # `id`, if vshd took it
            connection.sendall(response[-32:] + setup)  # the proof reflected
            assert received(connection) == b""
        _, err = vshd.communicate(timeout=LIMIT)
        assert vshd.returncode == 1
        assert "does not know the container's token" in err
        assert not holds_token(response, (tmp_path / "token").read_text())


# -- silent connections --------------------------------------------------------------------------------------------


def test_while_strangers_are_silent_the_container_registers_and_serves() -> None:
    address = free_address()
    with stage(NAME) as rig, ExitStack() as stack:
        rig.start_host()
        add(rig, address)
        tcp_stage(rig, address)
        for _ in range(SILENT):
            stack.enter_context(socket.create_connection(address, LIMIT))
        rig.start_garcon()
        wait_reachable(rig)
        assert rig.vsh(NAME, "--", "echo", "shell").stdout == "shell\n"
        assert sftp(rig)[4:9] == bytes.fromhex("0200000003")
        host = psutil.Process(rig.processes["host"].pid)
        assert host.num_fds() < SILENT


def test_a_silent_stranger_is_disconnected(silent: socket.socket) -> None:
    assert len(received(silent)) == CHALLENGE_SIZE

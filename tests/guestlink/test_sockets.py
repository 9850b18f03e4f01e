"""Sockets: private, never taken from a live server, and with known peers."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestlink import sockets
from guestlink.address import TcpAddress, UnixAddress, parse_address
from guestlink.errors import GuestlinkError
from guestlink.sockets import (
    AddressInUse,
    ConnectFailed,
    Peer,
    PeerPolicy,
    activated_sockets,
    connect,
    connect_soon,
    listen,
    network_reason,
    peer_of,
    same_user,
    terminate_peer,
)
from support.needs import need


def test_a_unix_socket_is_private_and_tells_its_peer(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "s"))
    with listen(address) as server:
        assert stat.S_IMODE(os.stat(address.path).st_mode) == 0o600
        with connect(address) as client:
            server.setblocking(True)
            connection, _ = server.accept()
            with connection:
                assert peer_of(connection) == Peer(uid=os.getuid(), pid=os.getpid())
                assert same_user().refusal(peer_of(connection)) is None
                assert client.gettimeout() is None


def test_a_dead_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "s"))
    listen(address).close()
    with listen(address), pytest.raises(AddressInUse, match="in use"):
        listen(address)


def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(GuestlinkError, match="is a file and no socket"):
        listen(UnixAddress(str(path)))
    assert path.read_text() == "mine"


def test_a_port_in_use_is_named() -> None:
    with listen(TcpAddress("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(AddressInUse, match=str(port)):
            listen(TcpAddress("127.0.0.1", port))


def test_tcp_peers_are_known_by_host() -> None:
    with listen(TcpAddress("127.0.0.1", 0)) as server:
        client = connect(TcpAddress("127.0.0.1", server.getsockname()[1]))
        server.setblocking(True)
        connection, _ = server.accept()
        with client, connection:
            assert peer_of(connection) == Peer(host="127.0.0.1")


@pytest.mark.parametrize("text", ["unix:/nonexistent/s", "tcp:127.0.0.1:1"])
def test_nobody_there_is_one_sentence(text: str) -> None:
    with pytest.raises(ConnectFailed, match="cannot connect to " + text.replace(".", r"\.")):
        connect(parse_address(text), timeout=5)


@pytest.mark.parametrize(
    ("peer", "refused"),
    [
        (Peer(cid=2), False),
        (Peer(cid=1), True),
        (Peer(uid=1000), False),
        (Peer(uid=1001), True),
        (Peer(host="h"), False),
    ],
)
def test_a_policy_names_whom_it_refuses(peer: Peer, refused: bool) -> None:
    refusal = PeerPolicy(uids={1000}, cids={2}).refusal(peer)
    assert (refusal is not None) == refused
    assert refusal is None or str(peer) in refusal


def test_activated_sockets_are_taken_once_and_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    parent, child = socket.socketpair()
    pid = os.fork()
    if pid == 0:  # The descriptors must be 3 to 5, which needs a separate process.
        try:
            os.dup2(child.fileno(), 3)
            os.dup2(child.fileno(), 4)
            os.dup2(child.fileno(), 5)
            names = "wayland::wayland"
            environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "3", "LISTEN_FDNAMES": names, "A": "b"}
            found = activated_sockets(environ)
            good = (
                list(found) == ["wayland", "unnamed-1", "wayland-2"]
                and environ == {"A": "b"}
                and not any(sock.get_inheritable() for sock in found.values())
                and not activated_sockets(environ)
            )
            os.write(3, b"good" if good else b"bad!")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert parent.recv(4) == b"good"
    parent.close()
    child.close()


def test_sockets_for_another_process_are_left_alone() -> None:
    assert activated_sockets({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == {}


def test_a_failed_connection_has_the_systems_words_and_the_address_once() -> None:
    # asyncio raises this for a vsock address; the text contains the address as a tuple.
    assert (
        network_reason(ConnectionResetError(errno.ECONNRESET, "Connect call failed (2, 8889)"))
        == "connection reset by peer"
    )
    assert (
        network_reason(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        == "name or service not known"
    )
    assert network_reason(TimeoutError()) == "no answer in time"


@pytest.fixture
def no_peer_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux before 6.5."""
    monkeypatch.setattr(sockets, "_SO_PEERPIDFD", 0x7FFF)


@pytest.fixture
def waiting_program() -> Iterator[subprocess.Popen[bytes]]:
    program = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield program
    program.kill()
    program.communicate()


_CONNECTING = """
import os, socket, sys, threading
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
open("/proc/self/comm", "w").write("a) S 1 (b")
threading.Event().wait()
"""
"""A program that connects; its name looks like fields of /proc/PID/stat."""


@pytest.mark.usefixtures("no_peer_pidfds")
def test_the_connected_program_gets_the_signal(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "s"))
    with listen(address) as server:
        program = subprocess.Popen([sys.executable, "-c", _CONNECTING, address.path])
        server.settimeout(60)
        try:
            connection, _ = server.accept()
            with connection:
                terminate_peer(connection, program.pid, time.clock_gettime(time.CLOCK_BOOTTIME))
                assert program.wait(30) == -signal.SIGTERM
        finally:
            program.kill()
            program.wait()


def test_a_program_that_started_after_the_connection_gets_no_signal(
    waiting_program: subprocess.Popen[bytes],
) -> None:
    """It has reused the pid of the program that connected."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        terminate_peer(ours, waiting_program.pid, _start_in_seconds(waiting_program.pid) - 0.02)
    waiting_program.communicate(b"\n", 60)
    assert waiting_program.returncode == 0


def _start_in_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


_REUSED_PID = """
import os, signal, socket, time
from guestlink import sockets
sockets._SO_PEERPIDFD = 0x7FFF
server = sockets.listen(sockets.UnixAddress("s"))
server.setblocking(True)
client = os.fork()
if client == 0:
    sock = sockets.connect(sockets.UnixAddress("s"))
    if os.fork():
        os._exit(0)
    time.sleep(600)  # the connection stays open
connection, _ = server.accept()
seen_at = time.clock_gettime(time.CLOCK_BOOTTIME)
os.waitpid(client, 0)
tick = os.sysconf("SC_CLK_TCK")  # start times are in this unit
while int(time.clock_gettime(time.CLOCK_BOOTTIME) * tick) <= int(seen_at * tick):
    time.sleep(0.001)
with open("/proc/sys/kernel/ns_last_pid", "w") as last:
    last.write(str(client - 1))
other = os.fork()
if other == 0:
    time.sleep(600)
assert other == client == sockets.peer_of(connection).pid
sockets.terminate_peer(connection, client, seen_at)
print(os.waitid(os.P_PID, other, os.WEXITED | os.WNOHANG))
os.kill(other, signal.SIGKILL)
print(os.waitpid(other, 0)[1])
"""


@pytest.mark.slow  # The matrix may run where there can be no other pid namespace.
@pytest.mark.skipif(os.getuid() != 0, reason="only root may choose the pid of a process")
def test_a_reused_pid_gets_no_signal(tmp_path: Path) -> None:
    """In a pid namespace of its own, in which nobody else takes the pid."""
    need("unshare", packages="util-linux")
    words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-c", _REUSED_PID]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (f"None\n{int(signal.SIGKILL)}\n", "")


def test_the_first_process_and_ourselves_get_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, number: int) -> None:
        raise AssertionError("a signal is sent")

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for pid in (0, 1, os.getpid()):
            terminate_peer(ours, pid, time.clock_gettime(time.CLOCK_BOOTTIME))


async def test_a_full_queue_is_no_connection(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "full"))
    with listen(address, backlog=1):
        made = [socket.socket(socket.AF_UNIX) for _ in range(10)]
        for sock in made:
            sock.setblocking(False)
        # backlog + 1 connections wait in the queue (unix(7)).
        assert sorted(sock.connect_ex(address.path) for sock in made) == [0] * 2 + [errno.EAGAIN] * 8
        with pytest.raises(ConnectFailed, match="temporarily unavailable"):
            await connect_soon(address)
        for sock in made:
            sock.close()

"""Sockets: private, never taken from a live server, and with known peers."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from guestlink.address import TcpAddress, UnixAddress, parse_address
from guestlink.errors import GuestlinkError
from guestlink.sockets import (
    AddressInUse,
    ConnectFailed,
    Peer,
    PeerPolicy,
    _reason,
    activated_sockets,
    connect,
    listen,
    peer_of,
    same_user,
)


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
    with pytest.raises(GuestlinkError):
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
        _reason(ConnectionResetError(errno.ECONNRESET, "Connect call failed (2, 8889)"))
        == "connection reset by peer"
    )
    assert _reason(socket.gaierror(socket.EAI_NONAME, "Name or service not known")) == "name or service not known"
    assert _reason(TimeoutError()) == "no answer in time"

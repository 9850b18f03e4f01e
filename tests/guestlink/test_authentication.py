"""The handshake on real sockets."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from guestlink.address import TcpAddress, UnixAddress, VsockAddress
from guestlink.authentication import authenticate, authenticate_soon, needs_handshake, set_tcp_options
from guestlink.handshake import CHALLENGE_SIZE, DialerHandshake, HandshakeFailed, ListenerHandshake, Purpose

TOKEN = "8a3f2b1c-0d4e-4f5a-9b6c-7d8e9f0a1b2c"
LIMIT = 60.0


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    first, second = socket.socketpair()
    with first, second:
        yield first, second


def in_thread(sock: socket.socket, token: str = TOKEN) -> threading.Thread:
    """Dial in a thread, and send a text that follows the handshake."""

    def dial() -> None:
        try:
            authenticate(sock, DialerHandshake(token, Purpose.VSH))
            sock.sendall(b"follows")
        except HandshakeFailed:
            pass

    thread = threading.Thread(target=dial)
    thread.start()
    return thread


def test_blocking_sockets_agree_and_no_byte_after_the_handshake_is_read(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    dialing = in_thread(ends[0])
    authenticate(ends[1], ListenerHandshake(TOKEN, [Purpose.VSH]))
    assert ends[1].gettimeout() is None
    assert ends[1].recv(7, socket.MSG_WAITALL) == b"follows"
    dialing.join()


async def test_an_event_loops_sockets_agree_and_no_byte_after_the_handshake_is_read(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    for end in ends:
        end.setblocking(False)
    loop = asyncio.get_running_loop()

    async def dial() -> None:
        await authenticate_soon(ends[0], DialerHandshake(TOKEN, Purpose.SFTP))
        await loop.sock_sendall(ends[0], b"follows")

    listener = ListenerHandshake(TOKEN, [Purpose.SFTP])
    await asyncio.gather(dial(), authenticate_soon(ends[1], listener))
    assert listener.purpose is Purpose.SFTP
    assert await loop.sock_recv(ends[1], 100) == b"follows"


def test_a_wrong_token_is_a_failure_on_both_sides(ends: tuple[socket.socket, socket.socket]) -> None:
    dialing = in_thread(ends[0], "another token")
    with pytest.raises(HandshakeFailed, match="does not know"):
        authenticate(ends[1], ListenerHandshake(TOKEN, [Purpose.VSH]))
    ends[1].close()
    dialing.join()


def test_a_silent_peer_is_given_up_in_time(ends: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(HandshakeFailed, match="sent no challenge"):
        authenticate(ends[0], DialerHandshake(TOKEN, Purpose.VSH), 0.05)
    with pytest.raises(HandshakeFailed, match="said nothing"):
        authenticate(ends[0], ListenerHandshake(TOKEN, [Purpose.VSH]), 0.05)


async def test_an_event_loop_gives_a_silent_peer_up_in_time(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].setblocking(False)
    with pytest.raises(HandshakeFailed, match="said nothing"):
        await authenticate_soon(ends[0], ListenerHandshake(TOKEN, [Purpose.VSH]), 0.05)


def test_a_slow_peer_gets_no_more_time_with_each_byte(ends: tuple[socket.socket, socket.socket]) -> None:
    stop = threading.Event()

    def drip() -> None:
        for byte in ListenerHandshake(TOKEN, [Purpose.VSH]).begin()[: CHALLENGE_SIZE - 1]:
            if stop.wait(0.02):
                return
            ends[1].sendall(bytes([byte]))

    dripping = threading.Thread(target=drip)
    dripping.start()
    with pytest.raises(HandshakeFailed, match="sent no challenge"):
        authenticate(ends[0], DialerHandshake(TOKEN, Purpose.VSH), 0.1)
    stop.set()
    dripping.join()


@pytest.mark.parametrize("begins", [b"", b"GUESTLINK"])
def test_a_peer_that_disconnects_is_a_failure(ends: tuple[socket.socket, socket.socket], begins: bytes) -> None:
    ends[1].sendall(begins)
    ends[1].close()
    with pytest.raises(HandshakeFailed, match="sent no challenge"):
        authenticate(ends[0], DialerHandshake(TOKEN, Purpose.VSH), LIMIT)


def test_tcp_alone_always_needs_a_handshake() -> None:
    assert needs_handshake(TcpAddress("127.0.0.1", 1))
    assert not needs_handshake(UnixAddress("/socket"))
    assert not needs_handshake(VsockAddress(2, 1))


def test_tcp_options_are_for_tcp(ends: tuple[socket.socket, socket.socket]) -> None:
    set_tcp_options(ends[0])
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as tcp:
        set_tcp_options(tcp)
        assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_openssl_is_loaded_only_for_a_handshake() -> None:
    program = (
        "import sys, guestlink.authentication, guestlink.handshake as h; assert '_hashlib' not in sys.modules;"
        "guestlink.authentication.preload(); assert 'hmac' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=LIMIT)

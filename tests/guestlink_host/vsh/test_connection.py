"""How vsh and a container's vshd connect: with a real daemon, and a garcon that the test controls."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from guestlink.address import TcpAddress, UnixAddress
from guestlink.authentication import authenticate
from guestlink.errors import GuestlinkError
from guestlink.handshake import DialerHandshake, HandshakeFailed, ListenerHandshake, Purpose
from guestlink.sockets import connect, listen
from guestlink_host.vsh import connection
from guestlink_host.vsh.options import VshOptions
from support.fake_garcon import FakeGarcon
from support.host import Host, host_in_test
from support.stage import LIMIT
from support.vsh_peers import VSH, environ

TOKEN = "8a3f2b1c-0d4e-4f5a-9b6c-7d8e9f0a1b2c"


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    async with host_in_test(monkeypatch) as running:
        yield running


def meet(port: int = 0) -> asyncio.Future[socket.socket]:
    """Start to connect as vsh does."""
    arguments = VshOptions(name="demo", listen_port=port)
    return asyncio.get_running_loop().run_in_executor(None, connection.connected, arguments)


def sockets(guest: FakeGarcon) -> list[Path]:
    return [path for path in guest.directory.iterdir() if path.name.startswith("vsh-")]


async def asked(host: Host, guest: FakeGarcon) -> int:
    """Wait until garcon receives LaunchVshd; returns the port."""
    await host.until(lambda: guest.calls[-1][0] == "launch_vshd")
    return int(guest.calls[-1][1].port)


async def test_the_container_finds_a_private_socket_under_the_number_that_it_was_told(host: Host) -> None:
    guest = await host.registered()
    meeting = meet()
    port = await asked(host, guest)
    path = guest.directory / f"vsh-{port}.sock"
    assert sockets(guest) == [path]
    # The container's user may be any uid, so the socket allows all; only the directory restricts access.
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    assert stat.S_IMODE(guest.directory.stat().st_mode) == 0o700
    with connect(UnixAddress(str(path))) as vshd, await meeting as client:
        vshd.sendall(b"from vshd")
        assert client.recv(9) == b"from vshd"
    assert not sockets(guest)
    assert not list((host.root / "run/guestlink-host/private").glob("vsh-*"))


async def test_numbers_are_not_guessable(host: Host) -> None:
    guest = await host.registered()
    ports = set()
    for _ in range(5):
        meeting = meet()
        await host.until(lambda: len(sockets(guest)) == 1)
        port = await asked(host, guest)
        ports.add(port)
        connect(UnixAddress(str(guest.directory / f"vsh-{port}.sock"))).close()
        (await meeting).close()
        guest.calls.append(("", None))
    assert len(ports) == 5
    assert max(ports) > 65535


async def test_a_port_that_was_asked_for_is_used(host: Host) -> None:
    guest = await host.registered()
    meeting = meet(port=4711)
    assert await asked(host, guest) == 4711
    connect(UnixAddress(str(guest.directory / "vsh-4711.sock"))).close()
    (await meeting).close()


async def test_a_container_that_does_not_connect_is_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ACCEPT_TIMEOUT", 0.1)
    guest = await host.registered()
    with pytest.raises(GuestlinkError, match=r"demo did not connect within 0\.1 s"):
        await meet()
    assert not sockets(guest)


async def test_the_containers_reason_is_told(host: Host) -> None:
    guest = await host.registered()
    guest.failure = "no vshd here"
    with pytest.raises(GuestlinkError, match="no vshd here"):
        await meet()
    assert not sockets(guest)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_client_that_is_ended_while_it_waits_leaves_no_socket(host: Host, number: int) -> None:
    guest = await host.registered()
    process = await asyncio.create_subprocess_exec(
        *VSH, "demo", "--", "x", env=environ(**os.environ), stdin=asyncio.subprocess.DEVNULL
    )
    await asked(host, guest)
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), LIMIT) == 128 + number
    assert not sockets(guest)


async def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "silent"))
    program = (
        "import sys; from guestlink_host.vsh import client_session, __main__; client_session.READY_TIMEOUT = 0.1;"
        f"sys.argv[1:] = ['--connect={address}', '--', 'x']; sys.exit(__main__.main())"
    )
    with listen(address):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, env=environ(), stderr=asyncio.subprocess.PIPE
        )
        _, err = await asyncio.wait_for(process.communicate(), LIMIT)
    assert process.returncode == 1
    first, second = err.decode().splitlines()
    assert first == "vsh: the shell server did not answer within 0.1 s"
    assert "restart garcon" in second


async def test_nobody_at_an_address_is_one_sentence_and_advice(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    for address in ("unix:/does/not/exist", "tcp:127.0.0.1:1"):
        process = await asyncio.create_subprocess_exec(
            *VSH,
            f"--connect={address}",
            *([f"--token-file={tmp_path}/token"] if address.startswith("tcp:") else []),
            env=environ(),
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await asyncio.wait_for(process.communicate(), LIMIT)
        assert process.returncode == 1
        assert err.startswith(f"vsh: cannot connect to {address}: ".encode())
        assert b"\n  check whether a vshd listens there" in err
        assert err.count(b"\n") == 2


def test_a_vshd_that_listens_on_tcp_gets_a_proof_and_never_the_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with listen(TcpAddress("127.0.0.1", 0)) as listener:
        listener.setblocking(True)
        address = TcpAddress("127.0.0.1", listener.getsockname()[1])
        with pytest.raises(GuestlinkError, match="requires the container's token"):
            connection.connected(VshOptions(connect=str(address)))
        with ThreadPoolExecutor() as pool:
            options = VshOptions(connect=str(address), token_file=str(tmp_path / "token"))
            connecting = pool.submit(connection.connected, options)
            vshd, _ = listener.accept()
            with vshd:
                authenticate(vshd, ListenerHandshake(TOKEN, [Purpose.VSHD]))
                with connecting.result():
                    pass


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ACCEPT_TIMEOUT", 0.2)


def accepted(listener: socket.socket, place: dict[str, Any]) -> bool:
    """Whether vsh accepts one of the waiting connections."""
    try:
        connection._accept(listener, "demo", place).close()
    except GuestlinkError:
        return False
    return True


@pytest.mark.usefixtures("brief")
def test_a_peer_with_another_uid_is_not_taken(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "socket"))
    with listen(address) as listener:
        own = os.getuid()
        for uids, taken in (([own + 1], False), ([own + 1, own], True), ([], False), (None, True)):
            with connect(address):
                assert accepted(listener, {"uids": uids}) is taken


@pytest.fixture
def place() -> Iterator[tuple[socket.socket, TcpAddress]]:
    """A TCP listener, and its address."""
    with listen(TcpAddress("127.0.0.1", 0)) as listener:
        yield listener, TcpAddress("127.0.0.1", listener.getsockname()[1])


def test_over_tcp_a_proof_comes_first_and_nothing_behind_it_is_eaten(
    place: tuple[socket.socket, TcpAddress],
) -> None:
    listener, address = place
    with ThreadPoolExecutor() as pool, connect(address) as peer:
        accepting = pool.submit(connection._accept, listener, "demo", {"token": TOKEN})
        authenticate(peer, DialerHandshake(TOKEN, Purpose.VSH))
        peer.sendall(b"behind")
        with accepting.result() as found:
            found.setblocking(True)
            assert found.recv(6, socket.MSG_WAITALL) == b"behind"


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (f"{TOKEN}\n".encode(), "sent a token, as older versions"),
        (b"GUESTLINK\x02", "speaks version 2"),
        (b"GUESTLINK\x01" + b"x" * 65, "does not know the container's token"),
        (b"GUESTLINK", ""),
        (b"", ""),
    ],
)
def test_over_tcp_a_peer_without_a_proof_is_refused_in_a_sentence(
    said: bytes, sentence: str, place: tuple[socket.socket, TcpAddress]
) -> None:
    listener, address = place
    with connect(address) as peer:
        peer.sendall(said)
        with pytest.raises(GuestlinkError, match="demo did not connect") as caught:
            connection._accept(listener, "demo", {"token": TOKEN})
    assert sentence in caught.value.message
    assert ("refused" in caught.value.message) is bool(sentence)


@pytest.mark.parametrize(("token", "purpose"), [("another token", Purpose.VSH), (TOKEN, Purpose.SFTP)])
@pytest.mark.usefixtures("brief")
def test_over_tcp_a_proof_of_another_token_or_purpose_is_refused(
    token: str, purpose: Purpose, place: tuple[socket.socket, TcpAddress]
) -> None:
    listener, address = place
    with ThreadPoolExecutor() as pool, connect(address) as peer:
        accepting = pool.submit(accepted, listener, {"token": TOKEN})
        with pytest.raises(HandshakeFailed):
            authenticate(peer, DialerHandshake(token, purpose))
        assert not accepting.result()


def test_over_tcp_silent_connections_make_room_for_the_containers(
    place: tuple[socket.socket, TcpAddress],
) -> None:
    listener, address = place
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        accepting = pool.submit(connection._accept, listener, "demo", {"token": TOKEN})
        for _ in range(100):  # more than the listener's backlog holds at a time
            stack.enter_context(connect(address))
        peer = stack.enter_context(connect(address))
        authenticate(peer, DialerHandshake(TOKEN, Purpose.VSH))
        accepting.result().close()


def test_a_vshd_with_another_token_is_named_in_one_sentence(
    place: tuple[socket.socket, TcpAddress], tmp_path: Path
) -> None:
    listener, address = place
    listener.setblocking(True)
    (tmp_path / "token").write_text(TOKEN)
    with ThreadPoolExecutor() as pool:
        options = VshOptions(connect=str(address), token_file=str(tmp_path / "token"))
        connecting = pool.submit(connection.connected, options)
        with listener.accept()[0] as vshd, pytest.raises(HandshakeFailed):
            authenticate(vshd, ListenerHandshake("another token", [Purpose.VSHD]))
        with pytest.raises(GuestlinkError, match=f"the vshd at {address}: the other side did not accept our proof"):
            connecting.result()

"""A container's connections over TCP or vsock, and what stands for the token in its calls."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from guestlink.authentication import authenticate_soon
from guestlink.errors import GuestlinkError
from guestlink.handshake import DialerHandshake, Purpose, call_token
from guestlink.pb import container_host_pb2
from guestlink_host.containers.guest import Guest
from guestlink_host.containers.parked_connections import ParkedConnections
from guestlink_host.containers.registry import Container
from guestlink_host.containers.remote_calls import RemoteCalls

TOKEN = "8a3f2b1c-0d4e-4f5a-9b6c-7d8e9f0a1b2c"


@pytest.fixture
async def guest() -> AsyncIterator[Guest]:
    parked = {name: ParkedConnections(name) for name in ("calls", "sftp", "ports")}
    made = SimpleNamespace(
        container=Container("demo", TOKEN),
        registered=True,
        pending=0,
        _replace_link=lambda way: None,
        _garcon_has_ended=lambda: None,
        **parked,
    )
    yield cast(Guest, made)
    for connections in parked.values():
        connections.close()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The host's end of a connection, and the container's."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    with ours, theirs:
        yield ours, theirs


Ends = tuple[socket.socket, socket.socket]


async def admitted(guest: Guest, ends: Ends, purpose: Purpose, token: str = TOKEN) -> bool:
    dialing = authenticate_soon(ends[1], DialerHandshake(token, purpose))
    gets_grpc, _ = await asyncio.gather(RemoteCalls(guest).admit(ends[0]), dialing)
    return gets_grpc


def prepared(guest: Guest, token: str) -> Any:
    request = container_host_pb2.OpenUrlRequest(token=token, url="https://example.org/")
    RemoteCalls(guest).prepare(request)
    return request


def test_the_text_that_is_derived_from_the_token_stands_for_it(guest: Guest) -> None:
    request = prepared(guest, call_token(TOKEN))
    assert request.token == TOKEN
    assert request.url == "https://example.org/"


@pytest.mark.parametrize("token", ["", TOKEN, call_token("another"), call_token(TOKEN).upper(), "é"])
def test_every_other_text_is_none_not_even_the_token_itself(guest: Guest, token: str) -> None:
    assert prepared(guest, token).token == ""


def test_a_new_token_makes_the_old_text_worthless(guest: Guest) -> None:
    guest.container = guest.container._replace(token="another")
    assert prepared(guest, call_token(TOKEN)).token == ""


def test_a_message_without_a_token_stays_as_it_is(guest: Guest) -> None:
    request = container_host_pb2.Application(desktop_file_id="x")
    RemoteCalls(guest).prepare(request)
    assert request.desktop_file_id == "x"


@pytest.mark.parametrize(
    ("garcon", "is_parked"),
    [("", True), ("tcp:127.0.0.1:7", True), ("vsock:7:0", True), ("vsock:7:10000", False), ("unix:/x", False)],
)
def test_a_garcon_parks_connections_unless_it_has_an_address_where_it_listens(garcon: str, is_parked: bool) -> None:
    """Older versions stored tcp: addresses."""
    guest = SimpleNamespace(container=Container("demo", TOKEN, garcon=garcon), calls=object())
    assert (Guest._way_to_garcon(cast(Guest, guest)) is guest.calls) is is_parked


async def test_a_connection_for_calls_of_the_container_goes_on_to_grpc(guest: Guest, ends: Ends) -> None:
    assert await admitted(guest, ends, Purpose.LISTENER)
    assert not len(guest.calls) + len(guest.sftp)


@pytest.mark.parametrize("purpose", [Purpose.CALLS, Purpose.SFTP])
async def test_a_connection_for_the_hosts_use_is_parked_and_outlives_its_gate(
    guest: Guest, ends: Ends, purpose: Purpose
) -> None:
    assert not await admitted(guest, ends, purpose)
    ends[0].close()
    parked = guest.calls if purpose is Purpose.CALLS else guest.sftp
    loop = asyncio.get_running_loop()
    with await parked.connect() as connection:
        await loop.sock_sendall(connection, b"the host speaks first")
        assert await loop.sock_recv(ends[1], 100) == b"the host speaks first"


async def test_a_token_that_is_replaced_during_a_handshake_opens_nothing(guest: Guest, ends: Ends) -> None:
    admitting = asyncio.ensure_future(RemoteCalls(guest).admit(ends[0]))
    await asyncio.sleep(0)  # The handshake begins with the token of now.
    guest.container = guest.container._replace(token="another")
    await authenticate_soon(ends[1], DialerHandshake(TOKEN, Purpose.CALLS))
    with pytest.raises(GuestlinkError, match="its token has just been replaced"):
        await admitting
    assert not len(guest.calls)


async def test_what_a_container_has_parked_ends_with_its_token(guest: Guest, ends: Ends) -> None:
    await admitted(guest, ends, Purpose.CALLS)
    ends[0].close()
    Guest.gone(guest)
    assert not len(guest.calls)
    assert await asyncio.get_running_loop().sock_recv(ends[1], 1) == b""


async def test_a_stranger_is_refused_in_a_sentence_that_names_the_container(guest: Guest, ends: Ends) -> None:
    await asyncio.get_running_loop().sock_sendall(ends[1], f"{TOKEN}\n".encode())
    sentence = (
        "refused a connection for demo: the other side sent a token, as older versions of Guestlink do; update"
    )
    with pytest.raises(GuestlinkError, match=sentence):
        await RemoteCalls(guest).admit(ends[0])

"""What stands for the token in a container's calls over TCP or vsock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from guestlink.handshake import call_token
from guestlink.pb import container_host_pb2
from guestlink_host.containers.guest import Guest
from guestlink_host.containers.registry import Container
from guestlink_host.containers.remote_calls import RemoteCalls

TOKEN = "8a3f2b1c-0d4e-4f5a-9b6c-7d8e9f0a1b2c"


@pytest.fixture
def guest() -> Guest:
    return cast(Guest, SimpleNamespace(container=Container("demo", TOKEN)))


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

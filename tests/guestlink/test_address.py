"""Addresses: every form is parsed and written again, and every mistake gets an error message."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestlink.address import (
    CID_ANY,
    CID_HOST,
    VSOCK_ANY_PORT,
    AddressError,
    TcpAddress,
    UnixAddress,
    VsockAddress,
    parse_address,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("vsock:2:8889", VsockAddress(2, 8889)),
        ("vsock:any:10000", VsockAddress(CID_ANY, 10000)),
        ("vsock:4294967295:1", VsockAddress(CID_ANY, 1)),
        ("unix:/run/x.sock", UnixAddress("/run/x.sock")),
        ("unix:/with:colon", UnixAddress("/with:colon")),
        ("tcp:localhost:80", TcpAddress("localhost", 80)),
        ("tcp:10.0.0.1:0", TcpAddress("10.0.0.1", 0)),
        ("tcp:[::1]:9", TcpAddress("::1", 9)),
    ],
)
def test_each_form_is_read_and_written_back(text: str, address: object) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "not an address"),
        ("nonsense", "not an address"),
        ("http://x", "unknown kind"),
        ("vsock:2", "port"),
        ("vsock:x:1", "context id"),
        ("vsock:-1:1", "context id"),
        ("vsock:2:4294967296", "port"),
        ("vsock:2:²", "port"),
        ("unix:relative", "not absolute"),
        ("unix:/a\0b", "not absolute"),
        ("unix:/" + "x" * 107, "107 bytes"),
        ("tcp:localhost", "no host"),
        ("tcp:localhost:65536", "port"),
        ("tcp::1", "no host"),
        ("tcp:::1:5", "brackets"),
        ("tcp:a b:5", "no host"),
    ],
)
def test_a_mistake_is_named_with_a_remedy(text: str, named: str) -> None:
    with pytest.raises(AddressError, match=named) as caught:
        parse_address(text)
    assert caught.value.hint


@given(st.text())
def test_any_text_is_an_address_or_one_error(text: str) -> None:
    try:
        address = parse_address(text)
    except AddressError:
        return
    assert parse_address(str(address)) == address


def test_the_numbers_are_the_kernels() -> None:
    assert socket.VMADDR_CID_ANY & 0xFFFFFFFF == CID_ANY
    assert socket.VMADDR_PORT_ANY & 0xFFFFFFFF == VSOCK_ANY_PORT
    assert socket.VMADDR_CID_HOST == CID_HOST

"""garcon's settings: paths and addresses that depend on the location of the host."""

from __future__ import annotations

import pytest

from garcon.settings import load_settings, vsh_address
from guestlink.address import Address, TcpAddress, UnixAddress, VsockAddress
from guestlink.errors import GuestlinkError


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [
        (UnixAddress("/dev/.guestlink/listener.sock"), 7, UnixAddress("/dev/.guestlink/vsh-7.sock")),
        (VsockAddress(2, 8889), 2**32 - 1, VsockAddress(2, 2**32 - 1)),
        (TcpAddress("10.0.3.1", 8889), 8888, TcpAddress("10.0.3.1", 8888)),
        (TcpAddress("fd00::8889", 8889), 1, TcpAddress("fd00::8889", 1)),
    ],
)
def test_a_shell_connects_to_where_the_host_is(host: Address, port: int, address: Address) -> None:
    assert vsh_address(load_settings({}), host, port) == address


def test_a_template_takes_the_port() -> None:
    config = load_settings({"GUESTLINK_VSH_ADDRESS": "unix:/run/x/{port}"})
    assert vsh_address(config, VsockAddress(2, 8889), 12) == UnixAddress("/run/x/12")


def test_a_number_that_is_no_port_is_refused() -> None:
    with pytest.raises(GuestlinkError, match="port"):
        vsh_address(load_settings({}), TcpAddress("10.0.3.1", 8889), 65536)

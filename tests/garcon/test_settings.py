"""garcon's settings: paths and addresses that depend on the location of the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from garcon.settings import garcon_address, has_handshake, load_settings, vsh_address
from guestlink import socket_directory
from guestlink.address import CID_ANY, Address, TcpAddress, UnixAddress, VsockAddress
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


@pytest.mark.parametrize(
    ("host", "kind", "mounted", "handshake"),
    [
        (TcpAddress("10.0.3.1", 8889), "auto", False, True),
        (TcpAddress("10.0.3.1", 8889), "chromeos", False, True),
        (UnixAddress("/dev/.guestlink/listener.sock"), "linux", True, False),
        (VsockAddress(2, 8889), "auto", False, False),
        (VsockAddress(2, 8889), "auto", True, True),
        (VsockAddress(2, 8889), "linux", False, True),
        (VsockAddress(2, 8889), "chromeos", True, False),
    ],
)
def test_the_settings_and_never_the_host_decide_about_the_handshake(
    host: Address, kind: str, mounted: bool, handshake: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_directory, "MOUNT_POINT", str(tmp_path if mounted else tmp_path / "missing"))
    config = load_settings({"GUESTLINK_HOST_KIND": kind})
    assert has_handshake(config, host) is handshake
    parks = handshake or isinstance(host, UnixAddress)
    assert garcon_address(config, host) == (None if parks else VsockAddress(CID_ANY, 10000))


def test_garcon_listens_where_the_setting_says_but_not_on_tcp() -> None:
    config = load_settings({"GUESTLINK_GARCON_ADDRESS": "unix:/run/garcon"})
    assert garcon_address(config, TcpAddress("10.0.3.1", 8889)) == UnixAddress("/run/garcon")
    with pytest.raises(GuestlinkError, match="garcon does not listen on TCP") as caught:
        load_settings({"GUESTLINK_GARCON_ADDRESS": "tcp:127.0.0.1:0"})
    assert caught.value.exit_code == 78
    assert "leave this setting out" in caught.value.hint
    with pytest.raises(GuestlinkError, match=r"does not listen in /dev/\.guestlink"):
        load_settings({"GUESTLINK_GARCON_ADDRESS": "unix:/dev/.guestlink/garcon.sock"})

"""The listening ports that the kernel tells, and their programs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from garcon.services.listening_ports import listening_ports, programs_of
from garcon.services.port_channel_server import PortScan


def _listen(host: str, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    return socket.create_server((host, 0), family=family)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "127.1.2.3", "::1", "::"])
def test_a_listening_port_is_found_with_its_address_and_its_program(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = _listen(host, family)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listener:
        port = listener.getsockname()[1]
        (found,) = [one for one in listening_ports() if one.port == port and one.host == host]
        name = Path("/proc/self/comm").read_text().strip()
        assert programs_of({found.inode}) == {found.inode: name}
        assert (host, port, name) in PortScan()()
    assert found not in listening_ports()


def test_connections_are_no_listening_ports() -> None:
    with _listen("127.0.0.1") as listener, socket.create_connection(listener.getsockname()) as client:
        port = client.getsockname()[1]
        assert not [one for one in listening_ports() if one.port == port]


def test_hundreds_of_listening_ports_are_found_and_leave_nothing() -> None:
    before = len(os.listdir("/proc/self/fd"))
    listeners = [_listen("127.0.0.1") for _ in range(400)]
    try:
        ports = {one.port for one in listening_ports()}
        assert {listener.getsockname()[1] for listener in listeners} <= ports
    finally:
        for listener in listeners:
            listener.close()
    assert len(os.listdir("/proc/self/fd")) == before

"""Forwards as they stand on a command line."""

from __future__ import annotations

import pytest

from guestlink.errors import GuestlinkError
from guestlink.port_channel import PortEndpoint
from guestlink_host.border.ports.forward import Forward, forward_from, parse_forward


@pytest.mark.parametrize(
    ("text", "listen", "target"),
    [
        ("8080", ("tcp", "localhost", 8080), ("tcp", "localhost", 8080)),
        ("8080:80", ("tcp", "localhost", 8080), ("tcp", "localhost", 80)),
        ("0.0.0.0:8080:80", ("tcp", "0.0.0.0", 8080), ("tcp", "localhost", 80)),
        ("localhost:8080", ("tcp", "localhost", 8080), ("tcp", "localhost", 8080)),
        ("*:1", ("tcp", "*", 1), ("tcp", "localhost", 1)),
        ("[::1]:8080:80", ("tcp", "::1", 8080), ("tcp", "localhost", 80)),
        ("[fe80::1]:65535", ("tcp", "fe80::1", 65535), ("tcp", "localhost", 65535)),
        ("5432:/run/db.sock", ("tcp", "localhost", 5432), ("unix", "/run/db.sock", 0)),
        ("/run/a:/run/b c", ("unix", "/run/a", 0), ("unix", "/run/b c", 0)),
        ("/run/a:80", ("unix", "/run/a", 0), ("tcp", "localhost", 80)),
    ],
)
def test_a_forward_has_an_address_a_port_and_a_second_port(
    text: str, listen: tuple[str, str, int], target: tuple[str, str, int]
) -> None:
    forward = parse_forward(text)
    assert forward == Forward(False, PortEndpoint(*listen), PortEndpoint(*target))
    assert forward_from(forward.pack()) == forward


@pytest.mark.parametrize(
    "text",
    ["", ":", "0", "65536", "x", "80x", "-1", "1:2:3", "8080:0", "/run/a", "a.example:80", "[::1", "[::1]80",
     "1:2:3:4", "127.0.0.1:/run/a", "/" + "x" * 200 + ":80", "/a\0b:80", "٣", "1" * 100, "[]:80", "127.0.0.1:"],
)  # fmt: skip
def test_what_is_no_forward_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(GuestlinkError) as caught:
        parse_forward(text)
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_udp_has_no_unix_sockets() -> None:
    assert parse_forward("53:5353", udp=True).target == PortEndpoint("udp", "localhost", 5353)
    with pytest.raises(GuestlinkError, match="Unix socket"):
        parse_forward("53:/run/a", udp=True)


@pytest.mark.parametrize(
    "value",
    [None, [], [True], [1, ["tcp", "a", 1], ["tcp", "a", 1]], [True, ["tcp", "a", 0], ["tcp", "a", 1]],
     [True, ["udp", "a", 1], ["tcp", "a", 1]], [True, ["tcp", "a", True], ["tcp", "a", 1]],
     [True, ["tcp", "", 1], ["tcp", "a", 1]], [True, ["unix", "a", 0], ["tcp", "a", 1]]],
)  # fmt: skip
def test_a_stored_forward_is_checked(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        forward_from(value)

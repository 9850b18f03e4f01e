"""Where the session's sound server is."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from guestlink.errors import GuestlinkError
from guestlink_host.border.sound.session_server import SessionServer


@pytest.mark.parametrize(
    ("variables", "path"),
    [
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, "/run/user/7/pulse/native"),
        ({"XDG_RUNTIME_DIR": "/run/user/7", "PULSE_RUNTIME_PATH": "/x"}, "/x/native"),
        ({"PULSE_SERVER": "unix:/a/b"}, "/a/b"),
        ({"PULSE_SERVER": "/a/b"}, "/a/b"),
        ({"PULSE_SERVER": "{0123}unix:/a/b tcp:host:4713"}, "/a/b"),
        ({"PULSE_SERVER": "tcp:host:4713 unix:/a/b"}, "/a/b"),
        ({"PULSE_SERVER": "tcp:host:4713", "XDG_RUNTIME_DIR": "/run/user/7"}, "/run/user/7/pulse/native"),
    ],
)
def test_the_socket_is_where_programs_of_the_session_look(variables: dict[str, str], path: str) -> None:
    assert SessionServer(variables).path() == path


def test_the_cookie_is_the_sessions_and_a_missing_or_short_one_is_filled_with_zeros(tmp_path: Path) -> None:
    server = SessionServer({"XDG_CONFIG_HOME": str(tmp_path)})
    assert server.cookie() == bytes(256)
    (tmp_path / "pulse").mkdir()
    (tmp_path / "pulse/cookie").write_bytes(b"c" * 300)
    assert server.cookie() == b"c" * 256
    (tmp_path / "other").write_bytes(b"o" * 9)
    assert SessionServer({"PULSE_COOKIE": str(tmp_path / "other")}).cookie() == b"o" * 9 + bytes(247)


def test_a_server_that_does_not_run_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    server = SessionServer({"PULSE_SERVER": str(tmp_path / "native")})
    with pytest.raises(GuestlinkError, match="cannot be reached") as caught:
        server.connect()
    assert caught.value.hint is not None
    assert "start PulseAudio" in caught.value.hint
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "native"))
        listening.listen()
        server.connect().close()

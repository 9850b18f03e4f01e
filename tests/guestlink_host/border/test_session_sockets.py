"""The session's sockets in a container's directory."""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestlink.socket_directory import PULSE as NAME
from guestlink_host.border.session_sockets import SessionSocket, SoundCookie, session_sockets


def _serve(path: Path) -> socket.socket:
    path.parent.mkdir(exist_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def _reaches(path: Path, server: socket.socket) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        accepted, _ = server.accept()
        accepted.close()
    return True


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "directory"
    directory.mkdir()
    yield directory
    assert [path.name for path in directory.iterdir() if path.name.startswith(".")] == []


def _sockets(tmp_path: Path, sound: str = "auto", **environ: str) -> list[SessionSocket | SoundCookie]:
    cookie = environ.pop("PULSE_COOKIE", str(tmp_path / "none"))
    return session_sockets(sound, {"XDG_RUNTIME_DIR": str(tmp_path), "PULSE_COOKIE": cookie} | environ)


class _Links:
    """Links the session's sockets into one directory, for this user only."""

    def __init__(self, sockets: list[SessionSocket | SoundCookie]) -> None:
        self._sockets = sockets

    def update(self, directory: Path) -> None:
        for each in self._sockets:
            each.update({directory: ()})


def _sound(tmp_path: Path) -> _Links:
    return _Links(_sockets(tmp_path))


def test_it_reaches_the_sound_server_under_another_name(tmp_path: Path, directory: Path) -> None:
    with _serve(tmp_path / "pulse/native") as server:
        sound = _sound(tmp_path)
        sound.update(directory)
        sound.update(directory)
        assert _reaches(directory / NAME, server)


def test_a_sound_server_that_is_started_again_is_followed(tmp_path: Path, directory: Path) -> None:
    sound = _sound(tmp_path)
    sound.update(directory)
    assert not (directory / NAME).exists()
    for _ in range(2):
        (tmp_path / "pulse/native").unlink(missing_ok=True)
        with _serve(tmp_path / "pulse/native") as server:
            sound.update(directory)
            assert _reaches(directory / NAME, server)
    (tmp_path / "pulse/native").unlink()
    sound.update(directory)


def test_another_file_system_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is only one file system")
    caplog.set_level(logging.WARNING)
    with _serve(tmp_path / "pulse/native"):
        sound = _sound(tmp_path)
        sound.update(shared)
        sound.update(shared)
    assert caplog.text.count("cannot be linked") == 1
    assert not (shared / NAME).exists()


def test_sound_goes_with_its_cookie_and_pipewire_only_when_asked_for(tmp_path: Path, directory: Path) -> None:
    (tmp_path / "cookie").write_bytes(b"c" * 300)
    environ = {"PULSE_COOKIE": str(tmp_path / "cookie")}
    with _serve(tmp_path / "pulse/native") as pulse, _serve(tmp_path / "pipewire-0") as pipewire:
        _Links(_sockets(tmp_path, "auto", **environ)).update(directory)
        assert _reaches(directory / "pulse", pulse)
        assert (directory / "pulse-cookie").read_bytes() == b"c" * 256
        assert not (directory / "pipewire-0").exists()
        _Links(_sockets(tmp_path, "pipewire", **environ)).update(directory)
        assert _reaches(directory / "pipewire-0", pipewire)


def test_users_of_id_mapped_containers_may_use_the_socket_and_others_may_not(tmp_path: Path) -> None:
    others = [tmp_path / name for name in ("one", "two")]
    for directory in others:
        directory.mkdir()
    with _serve(tmp_path / "pulse/native"):
        for socket_ in _sockets(tmp_path):
            socket_.update({others[0]: (100000, 101000), others[1]: (201000,)})
        listed = os.getxattr(tmp_path / "pulse/native", "system.posix_acl_access")
        entries = list(struct.iter_unpack("<HHI", listed[4:]))
        assert [(uid, bits) for tag, bits, uid in entries if tag == 2] == [(100000, 6), (101000, 6), (201000, 6)]
        assert os.stat(tmp_path / "pulse/native").st_mode & 0o002 == 0

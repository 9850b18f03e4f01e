"""The compositor's socket in a container's directory."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestlink_host.compositor_socket import NAME, CompositorSocket


def _serve(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def _reaches(path: Path, server: socket.socket) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path))
        accepted, _ = server.accept()
        accepted.close()
    return True


@pytest.fixture
def carried(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "carried"
    directory.mkdir()
    yield directory
    assert [path.name for path in directory.iterdir() if path.name.startswith(".")] == []


def _compositor(tmp_path: Path, setting: str = "auto") -> CompositorSocket:
    return CompositorSocket(setting, {"XDG_RUNTIME_DIR": str(tmp_path), "WAYLAND_DISPLAY": "wayland-7"})


def test_it_reaches_the_compositor_under_another_name(tmp_path: Path, carried: Path) -> None:
    with _serve(tmp_path / "wayland-7") as server:
        compositor = _compositor(tmp_path)
        compositor.carry(carried)
        compositor.carry(carried)
        assert _reaches(carried / NAME, server)


def test_a_compositor_that_is_started_again_is_followed(tmp_path: Path, carried: Path) -> None:
    compositor = _compositor(tmp_path)
    compositor.carry(carried)
    assert not (carried / NAME).exists()
    for _ in range(2):
        (tmp_path / "wayland-7").unlink(missing_ok=True)
        with _serve(tmp_path / "wayland-7") as server:
            compositor.carry(carried)
            assert _reaches(carried / NAME, server)
    (tmp_path / "wayland-7").unlink()
    compositor.carry(carried)


def test_a_path_may_be_set_and_off_means_off(tmp_path: Path, carried: Path) -> None:
    with _serve(tmp_path / "other") as server:
        off = _compositor(tmp_path, "off")
        off.carry(carried)
        assert not off.wanted
        assert not (carried / NAME).exists()
        _compositor(tmp_path, str(tmp_path / "other")).carry(carried)
        assert _reaches(carried / NAME, server)


def test_another_file_system_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is only one file system")
    caplog.set_level(logging.WARNING)
    with _serve(tmp_path / "wayland-7"):
        compositor = _compositor(tmp_path)
        compositor.carry(shared)
        compositor.carry(shared)
    assert caplog.text.count("cannot be carried") == 1
    assert not (shared / NAME).exists()

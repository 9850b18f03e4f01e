"""The command line, the environment variables and the search for the host's socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestlink.config import Config
from guestlink.errors import GuestlinkError
from sommelier_shim import options


def _parse(*words: str, **environ: str) -> options.Options:
    return options.parse(words, {"XDG_CONFIG_HOME": "/nonexistent", "HOME": "/nonexistent", **environ})


def test_the_originals_command_line_is_understood() -> None:
    asked = _parse(
        "--parent", "--sd-notify=READY=1", "--socket=wayland-1", "--virtwl-device=/dev/wl0", "--no-exit-with-child",
        "--log-level=2", "/bin/sh", "-c", "systemctl --user set-environment X=$WAYLAND_DISPLAY", "--scale=3",
    )  # fmt: skip
    assert asked.parent
    assert asked.config[options.SOCKET] == "wayland-1"
    assert asked.config[options.SD_NOTIFY] == "READY=1"
    assert asked.config[options.SCALE] == 1.0
    assert asked.config[options.LOG_LEVEL] == "error"
    assert asked.program[:2] == ("/bin/sh", "-c")
    assert asked.warnings == ()


def test_direct_scaling_is_a_flag_as_with_the_originals() -> None:
    asked = _parse("--direct-scale", "true")
    assert asked.config[options.DIRECT_SCALE]
    assert asked.warnings == ()


def test_variables_of_the_units_are_understood() -> None:
    asked = _parse("--master", SOMMELIER_SCALE="0.5", SOMMELIER_DPI="72,96,160", SOMMELIER_DISPLAY="wayland-9")
    assert asked.parent
    assert asked.config[options.SCALE] == 0.5
    assert asked.config[options.DPI] == (72, 96, 160)
    assert asked.config[options.DISPLAY] == "wayland-9"


def test_unknown_switches_are_reported_and_passed_over() -> None:
    asked = _parse("--frobnicate=1", "--", "--scale=2")
    assert asked.warnings == ("there is no switch --frobnicate; it is passed over",)
    assert asked.program == ("--scale=2",)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--socket="], "socket cannot be ''"),
        (["--socket=a/"], "socket cannot be 'a/'"),
        (["--socket=/tmp/.."], "socket cannot be '/tmp/..'"),
        (["--scale=big"], "scale cannot be 'big'"),
        (["--scale=11"], "scale cannot be '11'"),
        (["--scale=0.05"], "scale cannot be '0.05'"),
        (["--dpi=96,1"], "dpi cannot be '96,1'"),
        (["--scale"], "--scale needs a value"),
        (["--clipboard=maybe"], "clipboard cannot be 'maybe'"),
        (["--x-display=first"], "x_display cannot be 'first'"),
        (["--virtgpu-channel"], "virtio-gpu channel is not supported"),
        (["--client-fd=x"], "--client-fd cannot be 'x'"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[str], said: str) -> None:
    with pytest.raises(GuestlinkError, match=said):
        _parse(*words)


def test_where_the_host_is() -> None:
    mounted = options.MOUNTED_SOCKET
    environ = {"XDG_RUNTIME_DIR": "/run/user/1", "WAYLAND_DISPLAY": "wayland-3"}

    def find(nested: bool, exists: bool, **settings: str) -> str:
        return options.host_path(Config(settings), environ, nested=nested, is_socket=lambda path: exists)

    assert find(False, True) == mounted
    assert find(True, False) == "/run/user/1/wayland-3"
    assert find(False, True, display="/tmp/x") == "/tmp/x"
    with pytest.raises(GuestlinkError, match="nothing tells where"):
        find(False, False)
    with pytest.raises(GuestlinkError, match="too long"):
        find(False, False, display="/" + "x" * 107)


def test_on_the_host_no_file_and_no_variable_changes_the_policy(tmp_path: Path) -> None:
    """A home that both sides share may hold a file of the container's."""
    (tmp_path / "guestlink").mkdir()
    (tmp_path / "guestlink/guestlink.conf").write_text("[sommelier]\nallow = zwlr_*\nclipboard = both\n")
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "SOMMELIER_SCALE": "2", "SOMMELIER_DISPLAY": "/elsewhere"}
    asked = options.parse(["--parent", "--for-container=work", "--display=/host", "--clipboard=off"], environ)
    config = asked.config
    assert asked.for_container == options.container_name(config) == "work"
    assert (config[options.ALLOW], config[options.CLIPBOARD]) == ((), "off")
    assert (config[options.SCALE], config[options.DISPLAY]) == (1.0, "/host")
    assert options.parse(["--parent"], environ).config[options.ALLOW] == ("zwlr_*",)


def test_a_descriptor_is_a_number() -> None:
    asked = _parse("--parent", "--listen-fd=7", "--lifeline-fd=8")
    assert (asked.listen_fd, asked.lifeline_fd, asked.client_fd) == (7, 8, -1)
    with pytest.raises(GuestlinkError, match="--listen-fd cannot be 'x'"):
        _parse("--listen-fd=x")

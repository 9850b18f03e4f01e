"""The user's directories by the XDG Base Directory Specification."""

from __future__ import annotations

import os

from guestlink import xdg


def test_relative_and_missing_variables_give_the_defaults() -> None:
    environ = {"HOME": "/home/u", "XDG_DATA_HOME": "relative", "XDG_STATE_HOME": "/s"}
    assert xdg.data_home(environ) == "/home/u/.local/share"
    assert xdg.config_home(environ) == "/home/u/.config"
    assert xdg.state_home(environ) == "/s"
    assert xdg.cache_home(environ) == "/home/u/.cache"
    assert xdg.home({}) == os.path.expanduser("~")


def test_relative_data_directories_are_dropped() -> None:
    assert xdg.data_dirs({"XDG_DATA_DIRS": "/a:b::/c/ : /d"}) == ["/a", "/c/", "/d"]
    assert xdg.data_dirs({"XDG_DATA_DIRS": ""}) == xdg.data_dirs({}) == ["/usr/local/share", "/usr/share"]


def test_without_a_session_there_is_no_runtime_directory() -> None:
    assert xdg.runtime_directory({"XDG_RUNTIME_DIR": "/run/x"}) == "/run/x"
    assert xdg.existing_runtime_directory({"XDG_RUNTIME_DIR": "/run/x"}) == "/run/x"
    assert xdg.runtime_directory({"XDG_RUNTIME_DIR": "run"}) == xdg.runtime_directory({}) == ""
    usual = f"/run/user/{os.getuid()}"
    assert xdg.existing_runtime_directory({}) == (usual if os.path.isdir(usual) else "")

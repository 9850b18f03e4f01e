"""The variables that a login shell adds, with real shells and profiles."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from garcon.session import login_shell
from garcon.session.login_shell import LoginShell, with_login_variables
from support.needs import need

Run = Callable[[str], dict[str, str]]


@pytest.fixture(params=["sh", "bash", "zsh"])
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs a shell with a profile and returns the shell's variables."""
    need(request.param, packages=request.param)
    shell = shutil.which(request.param)
    monkeypatch.setattr(login_shell, "_shell", lambda _environ: shell)

    def variables(profile: str) -> dict[str, str]:
        (tmp_path / (".zprofile" if request.param == "zsh" else ".profile")).write_text(profile)
        return LoginShell(
            {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "XDG_DATA_DIRS": "/usr/share"}
        ).variables()

    return variables


def test_a_profile_adds_programs_and_data(run: Run, tmp_path: Path) -> None:
    found = run(
        f"PATH={tmp_path}/first:$PATH:/opt/last; export XDG_DATA_DIRS=$XDG_DATA_DIRS:{tmp_path}/.nix/share\n"
        "export PATH GREETING='two\nlines'; echo some words; printf half-a-line; set -o noclobber\n"
    )
    assert found["GREETING"] == "two\nlines"
    environ = {
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "XDG_DATA_DIRS": f"{tmp_path}/.local/share:/usr/share",
    }
    merged = with_login_variables(environ, found)
    path = merged["PATH"].split(":")
    assert path.index(f"{tmp_path}/first") < path.index("/usr/bin") < path.index("/opt/last")
    assert f"{tmp_path}/.local/bin" in path
    assert merged["XDG_DATA_DIRS"] == f"{tmp_path}/.local/share:/usr/share:{tmp_path}/.nix/share"


@pytest.mark.parametrize(
    "profile", ["exit 3", "exec true", "exec > /dev/null", "kill -9 $$", "while :; do echo some words; done"]
)
def test_a_shell_without_an_answer_adds_nothing(run: Run, profile: str) -> None:
    assert run(profile + "\n") == {}


def test_a_shell_that_hangs_is_ended(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    for limit in (0.5, 5.0, 60.0):  # a busy machine may need longer to start the shell
        monkeypatch.setattr(login_shell, "TIMEOUT", limit)
        assert run(f"echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 1000\n") == {}
        if pid.exists():
            break
    assert not psutil.pid_exists(int(pid.read_text()))


def test_a_child_that_stays_holds_nothing_up(run: Run, tmp_path: Path) -> None:
    found = run(f"sleep 1000 & echo $! > {tmp_path}/pid; export ADDED=yes\n")
    psutil.Process(int((tmp_path / "pid").read_text())).kill()
    assert found["ADDED"] == "yes"


def test_without_an_answer_the_session_keeps_its_own() -> None:
    environ = {"HOME": "/h", "PATH": "/usr/bin", "XDG_DATA_DIRS": "/usr/share"}
    assert with_login_variables(environ, {}) == environ | {"PATH": "/h/.local/bin:/usr/bin"}


def test_a_shell_that_cannot_be_started_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_shell, "_shell", lambda _environ: "/nonexistent")
    assert LoginShell({"HOME": "/", "PATH": os.defpath}).variables() == {}

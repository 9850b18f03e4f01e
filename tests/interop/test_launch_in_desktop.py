"""Applications of Debian on a headless desktop, started through the host's launchers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from support.compositor import Compositor
from support.needs import need
from support.stage import Stage

pytestmark = pytest.mark.interop


@pytest.fixture
def desktop() -> Iterator[tuple[Stage, Compositor]]:
    need("sway", "grim", "foot", "mousepad", packages="sway grim foot mousepad")
    stage = Stage("desk", system_applications=True)
    try:
        with Compositor(stage.root / "compositor") as compositor:
            stage.host_environ |= compositor.environ
            stage.guest_environ |= {"GDK_BACKEND": "wayland", "NO_AT_BRIDGE": "1"}
            yield stage, compositor
            for role in {"garcon", "sommelier"} & stage.processes.keys():
                assert stage.stop(role) == 0
    finally:
        stage.close()


def _start(stage: Stage) -> None:
    stage.start_host()
    stage.host("add", stage.name)
    stage.start_sommelier()
    stage.start_garcon()
    stage.wait_registered()


def _windows(compositor: Compositor) -> list[str]:
    return [str(window["app_id"]) for window in compositor.windows()]


def test_a_toolkit_application_shows_its_window(desktop: tuple[Stage, Compositor]) -> None:
    stage, compositor = desktop
    _start(stage)
    stage.wait("it is published", lambda: any("mousepad" in path.name for path in stage.launchers()))
    stage.host("launch", stage.name, "org.xfce.mousepad")
    stage.wait("its window is shown", lambda: "mousepad" in _windows(compositor))
    shown = stage.guestlink("status").stdout
    assert "wayland-0: shows 1 program on the host's compositor" in shown
    assert "mousepad (pid " in shown


def test_a_terminal_application_runs_in_a_terminal(desktop: tuple[Stage, Compositor]) -> None:
    stage, compositor = desktop
    mark = stage.root / "mark"
    script = stage.root / "in-terminal"
    script.write_text(f"#!/bin/sh\ntty > {mark}.new; mv {mark}.new {mark}; exec sleep 1000\n")
    script.chmod(0o755)
    config = stage.root / "guest/home/.config/guestlink"
    config.mkdir(parents=True)
    (config / "guestlink.conf").write_text("[garcon]\nterminal = foot -e\n")
    stage.add_application("org.example.Text", Exec=str(script), Terminal="true")
    _start(stage)
    stage.wait("it is published", lambda: any("Text" in path.name for path in stage.launchers()))
    stage.host("launch", stage.name, "org.example.Text")
    stage.wait("it has a terminal", mark.exists)
    assert mark.read_text().startswith("/dev/pts/")
    # The app id is the name of guestlink-host's launcher, so the host's dock puts the window under that launcher.
    stage.wait("the terminal's window is shown", lambda: "guestlink-desk-foot" in _windows(compositor))


def test_every_launcher_of_the_distribution_is_valid(desktop: tuple[Stage, Compositor]) -> None:
    stage, _ = desktop
    _start(stage)
    count = len(stage.wait("applications", lambda: stage.host_json("apps", stage.name)))
    launchers = stage.wait("launchers", lambda: found if len(found := stage.launchers()) == count else None)
    done = subprocess.run(
        ["desktop-file-validate", *map(str, launchers)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    # Debian's applications decide which MIME types they list.
    assert [line for line in done.stdout.splitlines() if "MIME type" not in line] == []

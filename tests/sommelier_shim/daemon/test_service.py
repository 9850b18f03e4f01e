"""The proxy's messages to systemd and the session bus, with a real bus."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sommelier_shim.daemon.loop import Loop
from sommelier_shim.daemon.service import ServiceManager
from support.needs import need

LIMIT = 60.0
_SERVICE = """\
[D-BUS Service]
Name=org.example.Shown
Exec=/bin/sh -c "echo $WAYLAND_DISPLAY > {0}.new; mv {0}.new {0}; exit 1"
"""
_SYSTEMCTL = '#!/bin/sh\necho "$@" >> "$XDG_RUNTIME_DIR/systemctl"\n'


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A session bus that started without a display, and a ``systemctl`` that logs its arguments."""
    need("dbus-daemon", "dbus-update-activation-environment", "dbus-send", packages="dbus")
    for name in ("systemd", "data/dbus-1/services", "bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "systemd/private").touch()
    (tmp_path / "data/dbus-1/services/shown.service").write_text(_SERVICE.format(tmp_path / "shown"))
    (tmp_path / "bin/systemctl").write_text(_SYSTEMCTL)
    (tmp_path / "bin/systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/bus")
    for name in ("WAYLAND_DISPLAY", "NOTIFY_SOCKET", "WATCHDOG_USEC"):
        monkeypatch.delenv(name, raising=False)
    daemon = subprocess.Popen(
        ["dbus-daemon", "--session", f"--address=unix:path={tmp_path}/bus", "--nofork", "--print-address"],
        stdout=subprocess.PIPE,
    )
    assert daemon.stdout is not None
    with daemon.stdout:
        assert daemon.stdout.readline()
        yield tmp_path
        daemon.terminate()
        daemon.wait(LIMIT)


def _display_of_services(session: Path) -> str:
    """The WAYLAND_DISPLAY of programs that the bus starts."""
    # The service writes its display and fails, so that the bus starts it again each time.
    subprocess.run(
        ["dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/",
         "org.freedesktop.DBus.StartServiceByName", "string:org.example.Shown", "uint32:0"],
        check=False, capture_output=True, timeout=LIMIT,
    )  # fmt: skip
    return (session / "shown").read_text()


def test_the_user_manager_and_the_session_bus_learn_the_displays_name(session: Path) -> None:
    assert _display_of_services(session) == "\n"
    loop = Loop()
    manager = ServiceManager(loop, "")
    published: list[str] = []
    deadline = time.monotonic() + LIMIT

    def look() -> None:
        if time.monotonic() > deadline or (published and _display_of_services(session) != "\n"):
            loop.stop()
        else:
            loop.call_later(0.05, look)

    manager.publish({"WAYLAND_DISPLAY": "wayland-7"}, lambda: published.append((session / "systemctl").read_text()))
    look()
    loop.run()
    manager.close()
    loop.close()
    assert published == ["--user set-environment WAYLAND_DISPLAY=wayland-7\n"]
    assert _display_of_services(session) == "wayland-7\n"

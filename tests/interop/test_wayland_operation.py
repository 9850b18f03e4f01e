"""What users and systemd do with the proxy while programs of the distribution run behind it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.compositor import Compositor
from support.needs import need
from support.proxied import Proxied

if TYPE_CHECKING:
    from conftest import Desktop

pytestmark = pytest.mark.interop


def _status(proxied: Proxied) -> str:
    program = "import sys; from garcon.client.cli import main; sys.exit(main())"
    return proxied.run(sys.executable, "-c", program, "status", check=False).decode()


def test_status_lists_the_programs(desktop: Desktop) -> None:
    need("foot", "gtk4-demo", packages="foot gtk-4-examples")
    proxied = desktop.proxied
    foot, demo = proxied.program("foot"), proxied.program("gtk4-demo")
    desktop.compositor.wait("two windows", lambda: len(desktop.compositor.windows()) == 2)
    shown = _status(proxied)
    assert "wayland-0: shows 2 programs on the host's compositor" in shown
    assert f"foot (pid {foot.pid})" in shown
    assert f"gtk4-demo (pid {demo.pid})" in shown
    proxied.end(demo)
    proxied.wait("it is gone from the list", lambda: "shows 1 program on" in _status(proxied))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["ended", "killed"])
def test_the_hosts_compositor_starts_again(short: Path, number: int) -> None:
    need("sway", "foot", "gtk4-demo", packages="sway foot gtk-4-examples")
    with Compositor(short / "compositor") as compositor, Proxied(compositor, short / "container") as proxied:
        path = compositor.socket
        programs = [proxied.program("foot"), proxied.program("gtk4-demo")]
        compositor.wait("two windows", lambda: len(compositor.windows()) == 2)
        compositor.stop(number)
        proxied.wait("the programs are disconnected", lambda: all(p.poll() is not None for p in programs))
        assert all(p.returncode > 0 for p in programs), "a program crashed"
        assert b"wl_compositor" not in proxied.run("wayland-info", check=False)

        for left in compositor.runtime.glob("*"):
            left.unlink()
        compositor.start()
        assert compositor.socket == path
        proxied.wait(
            "programs are served again", lambda: b"wl_compositor" in proxied.run("wayland-info", check=False)
        )
        proxied.program("foot")
        compositor.wait("a window", compositor.windows)
        assert "shows 1 program on the host's compositor" in _status(proxied)


def test_the_proxy_may_start_before_the_host(short: Path) -> None:
    need("sway", "foot", packages="sway foot")
    with Compositor(short / "compositor") as compositor, Proxied(compositor, short / "container") as proxied:
        proxied.stop()
        compositor.stop()
        for left in compositor.runtime.glob("*"):
            left.unlink()
        proxied.start(f"--display={compositor.runtime}/wayland-1")
        assert b"wl_compositor" not in proxied.run("wayland-info", check=False)
        compositor.start()
        proxied.wait("programs are served", lambda: b"wl_compositor" in proxied.run("wayland-info", check=False))


def test_a_trace_shows_the_conversation_without_what_is_typed(make_desktop: Callable[..., Desktop]) -> None:
    need("foot", packages="foot")
    desktop = make_desktop("--trace=xdg_*,wl_keyboard,wl_seat")
    proxied = desktop.proxied
    typed = proxied.home / "typed"
    proxied.program("foot", "sh", "-c", f"read -r line; echo read > {typed}; exec sleep 1000")
    desktop.compositor.wait("a window", desktop.compositor.windows)
    desktop.compositor.wait_for_window(proxied.directory / "window.png")
    desktop.given.type("secret\n")
    proxied.wait("a line was read", typed.exists)
    said = proxied.log()
    for expected in ("xdg_wm_base#", ".get_xdg_surface(", ".set_app_id(", "xdg_toplevel#", ".configure("):
        assert expected in said, expected
    assert "wl_surface#" not in said
    assert ".key(hidden)" in said
    assert not any(f"key({code}" in line for line in said.splitlines() for code in ("31", "18", "46"))


def test_a_program_that_breaks_the_protocol_gets_the_hosts_words_and_leaves_a_trace(
    make_desktop: Callable[..., Desktop],
) -> None:
    desktop = make_desktop("--trace=ring")
    proxied = desktop.proxied
    code = (
        "import socket, struct, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "def say(o, op, b): s.sendall(struct.pack('=II', o, 8 + len(b) << 16 | op) + b)\n"
        "say(1, 1, struct.pack('=I', 2))\n"
        "name = b'wl_compositor\\0\\0\\0'\n"
        "say(2, 0, struct.pack('=II', 99999, 14) + name + struct.pack('=II', 1, 3))\n"
        "data = b''\n"
        "while part := s.recv(65536): data += part\n"
        "sys.stdout.buffer.write(data)\n"
    )
    answered = proxied.run(sys.executable, "-c", code, str(proxied.runtime / "wayland-0"))
    assert b"invalid global wl_compositor (99999)" in answered
    assert "wl_registry#2.bind(" in proxied.log()


def test_a_program_has_a_proxy_of_its_own(desktop: Desktop) -> None:
    need("foot", packages="foot")
    argv = [sys.executable, "-m", "sommelier_shim", f"--display={desktop.compositor.socket}", "foot", "sh", "-c"]
    done = subprocess.run(
        [*argv, "exit 7"], env=desktop.proxied.environ, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 7, done.stderr

"""Leaks of ``sommelier -X``: a thousand windows, and fifty times an Xwayland that is killed.

``./dev bench x11_soak [WINDOWS [KILLS]]``. An X11 program opens and closes windows and menus, many at once and one
by one. Then Xwayland is killed while programs have windows, and the next program starts it again. All the while a
Wayland program runs on a proxy of its own. Prints the X11 proxy's descriptors and memory before and after; the
status is 1 if anything has leaked. Needs sway, Xwayland, xterm and foot.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil
from wayland import CHECKOUT, LIMIT, pss_of

sys.path.insert(0, str(CHECKOUT / "tests"))
sys.path.insert(0, str(CHECKOUT / "guest"))  # Before tests, which have a directory of this name, too.

from sommelier_shim.xwayland.x11.messages import CreateWindow, DestroyWindow, MapWindow, WindowClass
from support.compositor import Compositor
from support.proxied import Proxied
from support.x11_proxied import X11Proxied
from support.x_server import XClient

TOGETHER = 200
"""Windows that are open at the same time."""
MEMORY_LEFT = 2048
"""KB by which the proxy may grow, because of the allocator."""


class State(NamedTuple):
    """The proxy's figures while no program runs.

    :ivar memory: its proportional set size in KB, without Xwayland's.
    """

    descriptors: int
    memory: float


def main() -> int:
    """Soak and print; 1 if something has leaked."""
    windows = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        directory.chmod(0o755)
        with (
            Compositor(directory / "compositor") as compositor,
            Proxied(compositor, directory / "wayland") as other,
            X11Proxied(compositor, directory / "x11") as proxied,
        ):
            witness = other.program("foot")
            _wait("the Wayland program's window", _shown(compositor, 1))
            results = [
                _soak(f"{windows} windows", lambda: _open(compositor, proxied, windows), proxied),
                _soak(f"{kills} times a killed Xwayland", lambda: _kill(compositor, proxied, kills), proxied),
            ]
            is_undisturbed = witness.poll() is None and len(compositor.windows()) == 1
            print(f"the Wayland program: {'undisturbed' if is_undisturbed else 'GONE'}")
            return 0 if all(results) and is_undisturbed else 1


def _soak(name: str, use: Callable[[], None], proxied: X11Proxied) -> bool:
    use()  # A warm-up: one-time allocations.
    before = _state(proxied)
    start = time.monotonic()
    use()
    took = time.monotonic() - start
    time.sleep(1)  # The proxy may still have to close what the last program has left.
    after = _state(proxied)
    print(
        f"{name}, {took:.0f} s: descriptors {before.descriptors} and {after.descriptors}, "
        f"PSS {before.memory:.0f} and {after.memory:.0f} KB"
    )
    return after.descriptors <= before.descriptors and after.memory - before.memory <= MEMORY_LEFT


def _open(compositor: Compositor, proxied: X11Proxied, count: int) -> None:
    keeper = proxied.program("xterm", "-title", "keeper")  # Xwayland stays; its descriptors do not change.
    _wait("the keeper's window", _shown(compositor, 2))
    program = XClient(proxied.display, Path(proxied.authority).read_bytes()[-16:])
    left = count
    while left:
        opened = [_window(program, at % 5 == 4) for at in range(min(left, TOGETHER))]
        left -= len(opened)
        assert program.sync() == []
        shown = sum(1 for at in range(len(opened)) if at % 5 != 4)
        _wait(f"{shown} windows", _shown(compositor, 2 + shown))
        for window in opened:
            program.wire.request(DestroyWindow(window))
        assert program.sync() == []
        _wait("they are closed", _shown(compositor, 2))
    for at in range(count // 10):
        window = _window(program, is_menu=at % 5 == 4)
        assert program.sync() == []
        program.wire.request(DestroyWindow(window))  # Some of them are gone before they have been shown.
        assert program.sync() == []
    program.close()
    proxied.end(keeper)
    _wait("no X11 window", _shown(compositor, 1))


def _window(program: XClient, is_menu: bool) -> int:
    window = program.wire.new_id()
    values = {"background_pixel": 0x00FF00, "override_redirect": int(is_menu)}
    create = CreateWindow(0, window, program.root, 10, 10, 60, 40, 0, WindowClass.INPUT_OUTPUT, 0, values)
    program.wire.request(create)
    program.wire.request(MapWindow(window))
    return window


def _kill(compositor: Compositor, proxied: X11Proxied, count: int) -> None:
    for _ in range(count):
        programs = [proxied.program("xterm", "-title", f"{number}") for number in range(2)]
        _wait("two windows", _shown(compositor, 3))
        proxied.kill_xwayland()
        _wait("they are gone", _shown(compositor, 1))
        for program in programs:
            proxied.end(program)
        _wait("Xwayland's end", lambda: not _children(proxied, "Xwayland"))


def _children(proxied: X11Proxied, name: str) -> list[psutil.Process]:
    assert proxied._proxy is not None
    return [child for child in psutil.Process(proxied._proxy.pid).children() if child.name() == name]


def _state(proxied: X11Proxied) -> State:
    assert proxied._proxy is not None
    pid = proxied._proxy.pid
    return State(len(list(Path(f"/proc/{pid}/fd").iterdir())), pss_of(pid))


def _wait(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"it did not happen: {what}")
        time.sleep(0.02)


def _shown(compositor: Compositor, count: int) -> Callable[[], bool]:
    return lambda: len(compositor.windows()) == count


if __name__ == "__main__":
    sys.exit(main())

"""``sommelier -X`` beside the X11 support of sway, weston and mutter: how soon windows, menus and sizes are shown.

``./dev bench x11 [ROUNDS]``: medians of interleaved rounds (three of 15 windows). ``sommelier`` shows its windows
on the same sway that is measured with its own Xwayland. What sway shows is read from its output with screencopy, at
500 frames a second; weston and mutter have no screencopy, so their columns have only what an X11 program sees. The
proxy runs in the checkout's interpreter. Needs sway, weston, mutter, Xwayland, xclip, wl-clipboard, a C compiler
and libxcb1-dev.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
from wayland import CACHE, CHECKOUT, HERE, pss_of

sys.path.insert(0, str(CHECKOUT / "tests"))
sys.path.insert(0, str(CHECKOUT / "guest"))  # Before tests, which have a directory of this name, too.

from support.compositor import LIMIT, Compositor, Headless
from support.other_compositors import Mutter, Weston
from support.virtual_input import RIGHT, WlrootsInput
from support.wayland_peers import Client
from support.x11_proxied import X11Proxied

WINDOWS = 15
"""Windows and menus that are opened in a round."""
RESIZING = 2.0
"""Seconds for which a window is resized with the pointer."""
PASTED = 64 * 1024 * 1024
ATTEMPTS, PASTE_LIMIT = 5, 6.0
"""How often a paste is tried, and for how many seconds."""
_SWAY = """\
output HEADLESS-1 mode --custom 1024x768@500Hz
output HEADLESS-1 background #404040 solid_color
default_border none
floating_modifier Mod4
for_window [app_id=".*"] floating enable
for_window [class=".*"] floating enable
xwayland {own}
"""
AIMS = {
    "map to first frame, ms": ("sway", 1.1, True),
    "resized frames each second": ("sway", 0.9, False),
    "first window with its Xwayland, ms": ("Xwayland's start", 1.2, True),
}
"""By row: what it is compared with, the wanted ratio, and whether less is better."""
PSS_AIM = 20.0


class Sway(Compositor):
    """Sway, with its own X11 support if it is a peer."""

    def __init__(self, directory: Path, *, has_own: bool) -> None:
        super().__init__(directory)
        self._has_own = has_own

    def command(self) -> list[str]:
        """Sway with a fast output; a program of its own prints where X11 programs connect."""
        text = _SWAY.format(own="enable" if self._has_own else "disable")
        (self.directory / "config").write_text(text + _printed(self))
        return ["sway", "-c", str(self.directory / "config")]


class WestonWithX11(Weston):
    """Weston with its module for X11."""

    def command(self) -> list[str]:
        """Weston with the module; it starts Xwayland with the first X11 program."""
        return [*super().command(), "--xwayland"]


class MutterWithX11(Mutter):
    """Mutter as its session starts it."""

    def command(self) -> list[str]:
        """Mutter, which runs a program that prints where X11 programs connect."""
        words = [word for word in super().command() if word != "--no-x11"]
        return [*words, "--", "sh", "-c", _printed(self).removeprefix("exec ") + "; exec sleep infinity"]


def _printed(compositor: Headless) -> str:
    """A command that writes DISPLAY and XAUTHORITY of its own environment into a file."""
    file = compositor.runtime / "display"
    return f"exec echo $DISPLAY $XAUTHORITY > {file}.new && mv {file}.new {file}"


def main() -> int:
    """Measure and print; 1 when an aim is missed."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)  # Other work would distort the figures.
    figures: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds):
        for name in ("sommelier", "sway", "weston", "mutter"):
            with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
                Path(scratch).chmod(0o755)
                # A way that loses no paste has a zero in its column.
                for row, value in [("pastes that came to nothing", 0.0), *_measure(name, Path(scratch), stack)]:
                    figures.setdefault(name, {}).setdefault(row, []).append(value)
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return _report(figures, rounds)


# -- measuring ------------------------------------------------------------------------------


def _measure(name: str, scratch: Path, stack: ExitStack) -> Iterator[tuple[str, float]]:
    kind: Callable[[Path], Headless] = {
        "sommelier": lambda path: Sway(path, has_own=False),
        "sway": lambda path: Sway(path, has_own=True),
        "weston": WestonWithX11,
        "mutter": MutterWithX11,
    }[name]
    compositor = stack.enter_context(kind(scratch / "compositor"))
    if name == "sommelier":
        yield "Xwayland's start, ms", _xwayland_start(compositor)
        proxied = stack.enter_context(X11Proxied(compositor, scratch / "container"))
        variables, prefix = proxied.variables(), []
    else:
        variables, prefix = _own_variables(compositor), compositor.as_its_user()
    screen = stack.enter_context(Screen(compositor)) if isinstance(compositor, Sway) else None
    began = time.monotonic()
    program = stack.enter_context(Program(prefix, variables))
    program.do("map", 0xFF0000)
    if screen is not None:
        yield "first window with its Xwayland, ms", (screen.until(0xFF0000) - began) * 1e3
    else:
        program.heard("expose")
    program.do("close")
    yield from _windows(program, screen)
    if isinstance(compositor, Sway):
        with WlrootsInput(compositor.socket, compositor.size) as devices:
            assert screen is not None
            yield from _with_devices(program, screen, devices, compositor)
            yield from _pastes(compositor, variables, prefix)
    if name == "sommelier":
        yield "PSS beside Xwayland, MB", _own_pss(proxied)


def _windows(program: Program, screen: Screen | None) -> Iterator[tuple[str, float]]:
    for index in range(WINDOWS):
        color = 0x00FF00 + index
        start = program.do("map", color)
        exposed = program.heard("expose")
        yield "map to expose, ms", (exposed - start) * 1e3
        if screen is not None:
            yield "map to first frame, ms", (screen.until(color) - start) * 1e3
        else:
            time.sleep(0.1)
        start = program.do("popup", 0xFF00FF - (index << 8))
        if screen is not None:
            yield "menu to first frame, ms", (screen.until(0xFF00FF - (index << 8)) - start) * 1e3
        yield "menu to expose, ms", (program.heard("menu") - start) * 1e3
        program.do("hide")
        if screen is not None:
            screen.until_not(0xFF00FF - (index << 8))
        program.do("close")
        if screen is not None:
            screen.until_not(color)
        else:
            time.sleep(0.1)


def _with_devices(
    program: Program, screen: Screen, devices: WlrootsInput, compositor: Sway
) -> Iterator[tuple[str, float]]:
    program.do("map", 0x0000A0)
    screen.until(0x0000A0)
    (window,) = compositor.windows()
    place = window["rect"]
    x, y = place["x"] + place["width"] // 2, place["y"] + place["height"] // 2
    for step in range(WINDOWS):
        program.forget()
        start = time.monotonic()
        devices.move(x + step % 2, y)
        yield "pointer to program, ms", (program.heard("motion") - start) * 1e3
    for step in range(WINDOWS):
        color = 0x0000A0 + 2 * step
        start = program.do("color", color)
        yield "drawing to frame, ms", (screen.until(color) - start) * 1e3
        start = time.monotonic()
        devices.key("a")
        yield "key to frame, ms", (screen.until(color + 1) - start) * 1e3
    # The user drags a corner: sway waits for the program's new contents before it shows the next size.
    devices.code(125, True)
    devices.move(place["x"] + place["width"] - 5, place["y"] + place["height"] - 5)
    devices.button(RIGHT, True)
    program.count()
    end, step = time.monotonic() + RESIZING, 0
    while time.monotonic() < end:
        step += 1
        away = abs(step % 200 - 100)
        devices.move(place["x"] + place["width"] - 5 + away, place["y"] + place["height"] - 5 + away)
    yield "resized frames each second", program.count() / RESIZING
    devices.button(RIGHT, False)
    devices.code(125, False)
    program.do("close")


def _pastes(compositor: Sway, variables: dict[str, str], prefix: Sequence[str]) -> Iterator[tuple[str, float]]:
    host = compositor.environ_of_its_user() | compositor.environ
    kind = "text/plain;charset=utf-8"
    clip = [*prefix, "xclip", "-selection", "clipboard", "-t", kind]
    content = os.urandom(PASTED // 2).hex().encode()
    with Program(prefix, variables) as program:
        program.do("map", 0x808000)
        program.heard("focus")
        with WlrootsInput(compositor.socket, compositor.size) as devices:
            for row, copy, copying, paste, pasting in (
                ("64 MiB from X11 to the host, s", [*clip, "-i"], variables, ["wl-paste", "-n", "-t", kind], host),
                ("64 MiB from the host to X11, s", ["wl-copy", "-t", kind], host, [*clip, "-o"], variables),
            ):
                for _ in range(ATTEMPTS):
                    for _ in range(ATTEMPTS):
                        devices.key("a")  # Only a program that has heard the user may set the clipboard.
                        if program.hears("key"):
                            break
                    content = content[::-1]
                    subprocess.run(copy, input=content, env=copying, timeout=LIMIT, check=True)
                    if (took := _pasted(paste, pasting, content)) is not None:
                        yield row, took
                        break
                    yield "pastes that came to nothing", 1
        program.do("close")


def _pasted(argv: Sequence[str], environ: dict[str, str], content: bytes) -> float | None:
    """Seconds until the pasted data is there, ``None`` if it does not come."""
    deadline = time.monotonic() + PASTE_LIMIT
    while (start := time.monotonic()) < deadline:
        try:
            done = subprocess.run(argv, env=environ, capture_output=True, timeout=PASTE_LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return None
        if done.stdout == content:
            return time.monotonic() - start
    return None


def _xwayland_start(compositor: Headless) -> float:
    """Milliseconds from the start of a plain Xwayland until it takes clients."""
    reading, writing = os.pipe()
    start = time.monotonic()
    argv = [*compositor.as_its_user(), "Xwayland", "-rootless", "-displayfd", str(writing)]
    environ = compositor.environ_of_its_user() | compositor.environ
    with open(os.devnull, "wb") as nothing:
        server = subprocess.Popen(argv, env=environ, pass_fds=[writing], stderr=nothing)
    os.close(writing)
    with open(reading, "rb") as stream:
        assert stream.readline(), "Xwayland did not start"
    took = time.monotonic() - start
    server.terminate()
    server.wait(LIMIT)
    return took * 1e3


def _own_pss(proxied: X11Proxied) -> float:
    assert proxied._proxy is not None
    process = psutil.Process(proxied._proxy.pid)
    own = [process, *(child for child in process.children(recursive=True) if child.name() != "Xwayland")]
    return sum(pss_of(one.pid) for one in own) / 1024


def _own_variables(compositor: Headless) -> dict[str, str]:
    """The environment of an X11 program of a compositor that has X11 support."""
    variables = compositor.environ_of_its_user()
    if isinstance(compositor, Weston):
        log = compositor.directory / "log"

        def found() -> str:
            match = re.search(r"xserver listening on display (:\d+)", log.read_text(errors="replace"))
            return match[1] if match else ""

        return variables | {"DISPLAY": compositor.wait("weston's X display", found)}
    file = compositor.runtime / "display"
    compositor.wait("the X display", file.exists)
    display, *authority = file.read_text().split()
    return variables | {"DISPLAY": display} | ({"XAUTHORITY": authority[0]} if authority else {})


# -- what happens ------------------------------------------------------------------------------


class Program:
    """The X11 program that is measured.

    :param prefix: the words that make it the compositor's user.
    """

    def __init__(self, prefix: Sequence[str], variables: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [*prefix, str(_built())], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._events: list[tuple[str, float]] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait(LIMIT)

    def do(self, word: str, color: int = 0) -> float:
        """Do something; returns when, on the clock of ``time.monotonic``."""
        assert self._process.stdin is not None
        self.forget()
        print(f"{word} {color:x}", file=self._process.stdin, flush=True)
        return self.heard(word) if word in ("map", "popup", "color") else time.monotonic()

    def count(self) -> float:
        """The number of sizes that it has drawn since the last call."""
        assert self._process.stdin is not None
        print("counts", file=self._process.stdin, flush=True)
        return self.heard("counts") * 1e6

    def heard(self, event: str) -> float:
        """Wait for an event; returns its time."""
        with self._changed:
            found = self._changed.wait_for(lambda: [at for word, at in self._events if word == event], LIMIT)
            assert found, f"the program hears no {event}"
            self._events = [(word, at) for word, at in self._events if word != event]
            return found[0]

    def hears(self, event: str) -> bool:
        """Whether an event comes within a second."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: any(word == event for word, _ in self._events), 1))

    def forget(self) -> None:
        """Forget earlier events."""
        with self._changed:
            self._events.clear()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, number = line.split()
            with self._changed:
                self._events.append((word, int(number) / 1e6))
                self._changed.notify_all()


class Screen:
    """What sway shows on its output."""

    def __init__(self, compositor: Sway) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(compositor.socket))
        self._client = Client(sock)
        self._client.start()
        self._manager = self._client.bind("zwlr_screencopy_manager_v1", 3)
        self._output = self._client.bind("wl_output", 1)
        self._shm = self._client.bind("wl_shm", 1)
        self._buffer = 0
        self._descriptor = -1
        self._size = self._columns = 0

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def until(self, color: int) -> float:
        """Wait until some pixels of a color are shown; returns when."""
        return self._when(color, is_shown=True)

    def until_not(self, color: int) -> float:
        """Wait until none is shown."""
        return self._when(color, is_shown=False)

    def _when(self, color: int, *, is_shown: bool) -> float:
        deadline = time.monotonic() + LIMIT
        request = "copy"  # The color may be there already; then only what changes counts.
        while time.monotonic() < deadline:
            at = self._copy(request)
            request = "copy_with_damage"
            if (color in self._sample()) == is_shown:
                return at
        raise SystemExit(f"the color {color:06x} is {'not shown' if is_shown else 'still shown'}")

    def _sample(self) -> set[int]:
        """The colors of every 16th pixel in every 16th line: a search in all of them would take 25 ms."""
        pixels = memoryview(os.pread(self._descriptor, self._size, 0)).cast("I")
        lines = (pixels[at : at + self._columns : 16] for at in range(0, len(pixels), 16 * self._columns))
        return {pixel & 0xFFFFFF for line in lines for pixel in line}

    def _copy(self, request: str) -> float:
        client = self._client
        frame = client.create(self._manager, "capture_output", 0, self._output)
        while True:
            message = client.receive()
            assert message is not None, "sway has closed the connection"
            if message.object_id != frame:
                continue
            if message.name == "buffer":
                form, width, height, stride = message.arguments
                self._make_buffer(form, width, height, stride)
            elif message.name == "buffer_done":
                client.request(frame, request, self._buffer)
            elif message.name == "failed":
                raise SystemExit("sway gives no picture of its output")
            elif message.name == "ready":
                at = time.monotonic()
                client.request(frame, "destroy")
                return at

    def _make_buffer(self, form: int, width: int, height: int, stride: int) -> None:
        if self._buffer:
            return
        self._size, self._columns = stride * height, stride // 4
        self._descriptor = os.memfd_create("screen")
        os.ftruncate(self._descriptor, self._size)
        pool = self._client.create(self._shm, "create_pool", self._size, fds=[self._descriptor])
        self._buffer = self._client.create(pool, "create_buffer", 0, width, height, stride, form)


def _built() -> Path:
    source, program = HERE / "x11" / "client.c", CACHE / "x11_client"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        CACHE.mkdir(parents=True, exist_ok=True)
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "xcb"], capture_output=True, text=True, check=True
        )
        made = program.with_name(f"{program.name}.{os.getpid()}")
        subprocess.run(["cc", "-O2", "-o", str(made), str(source), *shlex.split(flags.stdout)], check=True)
        made.rename(program)
    return program


# -- printing ------------------------------------------------------------------------------


def _report(figures: dict[str, dict[str, list[float]]], rounds: int) -> int:
    medians = {
        way: {row: sum(v) if row.startswith("pastes") else statistics.median(v) for row, v in rows.items()}
        for way, rows in figures.items()
    }
    ours = medians["sommelier"]
    missed = False
    print(f"{f'median of {rounds} rounds':38}" + "".join(f"{way:>12}" for way in medians) + "   ratio   aim")
    for row, value in ours.items():
        text = "".join(f"{rows[row]:12.2f}" if row in rows else f"{'-':>12}" for rows in medians.values())
        peer, aim, is_less_better = AIMS.get(row, ("sway", 0.0, True))
        other = ours["Xwayland's start, ms"] if peer == "Xwayland's start" else medians.get(peer, {}).get(row)
        if row.startswith("PSS"):
            is_met = value <= PSS_AIM
            missed |= not is_met
            text += f"           own <= {PSS_AIM:g} {'met' if is_met else 'MISSED'}"
        elif other:
            ratio = value / other
            text += f"{ratio:8.2f}"
            if aim:
                is_met = ratio <= aim if is_less_better else ratio >= aim
                missed |= not is_met
                text += f"   {'<=' if is_less_better else '>='} {aim:g} of {peer} {'met' if is_met else 'MISSED'}"
        print(f"{row:38}{text}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

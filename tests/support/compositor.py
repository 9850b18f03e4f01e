"""Headless Wayland compositors. Sway stands for the host's desktop: it has screencopy and a command socket.

wlroots refuses to run as root, so root starts a compositor as another user; clients may still run as root.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

_T = TypeVar("_T")
_Self = TypeVar("_Self", bound="Headless")

LIMIT = 60.0
UNPRIVILEGED = 1000
"""The user that runs the compositor where root runs the tests."""
_CONFIG = """\
output HEADLESS-1 resolution {size}
default_border normal
for_window [app_id=".*"] floating enable
for_window [class=".*"] floating enable
xwayland disable
"""


class CompositorError(AssertionError):
    """The compositor exited, or a condition did not hold in time."""


class Headless:
    """A running compositor.

    :param directory: for the compositor's sockets and log; created here, removed by the caller.
    :param size: size of the only output, as ``WIDTHxHEIGHT`` in pixels.
    """

    def __init__(self, directory: Path, size: str = "1024x768") -> None:
        self.directory = directory
        self.runtime = directory / "run"
        self.size = size
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """The command line; this method may write configuration files for it."""
        raise NotImplementedError

    def variables(self) -> dict[str, str]:
        """The environment variables that this compositor needs besides the usual ones."""
        return {}

    def picture(self) -> bytes:
        """A screenshot; equal pixels give equal bytes."""
        raise NotImplementedError(f"nobody takes pictures of {type(self).__name__}")

    def __enter__(self: _Self) -> _Self:
        self.runtime.mkdir(parents=True)
        self.runtime.chmod(0o700)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the compositor and wait until it accepts connections."""
        argv = [*self.as_its_user(self.directory, self.runtime), *self.command()]
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                argv,
                env=self.environ_of_its_user() | self.variables(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self.wait("the compositor's sockets", self.is_ready)
            if os.getuid() == 0:
                # A program of root's may run as another user, who must be able to enter this directory.
                self.runtime.chmod(0o711)
                self.socket.chmod(0o777)
        except BaseException:
            self.stop()
            raise

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop the compositor with a signal; a signal that it cannot handle leaves its sockets in place."""
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def as_its_user(self, *owned: Path) -> list[str]:
        """The command prefix that runs a command as the compositor's user; gives ``owned`` to this user."""
        if os.getuid() != 0:
            return []
        # The user must be able to enter directories that only root may enter.
        for path in owned:
            os.chown(path, UNPRIVILEGED, UNPRIVILEGED)
        for parent in (self.directory.parent, self.directory.parent.parent):
            if parent.stat().st_mode & 0o077 == 0:
                parent.chmod(0o711)
        return ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups"]

    def environ_of_its_user(self) -> dict[str, str]:
        """The environment of the compositor and of its user's tools."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "LANG": "C.UTF-8",
        }

    def is_ready(self) -> bool:
        """Whether every socket exists that a client needs."""
        return bool(self._wayland())

    @property
    def socket(self) -> Path:
        """The Wayland socket."""
        return self._wayland()[0]

    @property
    def environ(self) -> dict[str, str]:
        """The variable that a client needs: the absolute path of the socket."""
        return {"WAYLAND_DISPLAY": str(self.socket)}

    def wait(self, what: str, condition: Callable[[], _T]) -> _T:
        """Wait until a condition holds and return its value.

        :raises CompositorError: the condition did not hold within :data:`LIMIT` seconds, or the compositor exited.
        """
        deadline = time.monotonic() + LIMIT
        while not (value := condition()):
            ended = self._process is not None and self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                log = (self.directory / "log").read_text(errors="replace")[-2000:]
                raise CompositorError(f"it did not happen: {what}\n{log}")
            time.sleep(0.02)
        return value

    def _wayland(self) -> list[Path]:
        return [path for path in self.runtime.glob("wayland-*") if path.suffix != ".lock" and path.is_socket()]


class Compositor(Headless):
    """Sway."""

    def command(self) -> list[str]:
        """Sway with its configuration."""
        (self.directory / "config").write_text(_CONFIG.format(size=self.size))
        return ["sway", "-c", str(self.directory / "config")]

    def variables(self) -> dict[str, str]:
        """The headless back end of wlroots, with software rendering."""
        return {"WLR_BACKENDS": "headless", "WLR_LIBINPUT_NO_DEVICES": "1", "WLR_RENDERER": "pixman"}

    def is_ready(self) -> bool:
        """Whether both sockets exist."""
        return bool(self._wayland() and self._own())

    def windows(self) -> list[dict[str, Any]]:
        """The open windows, as sway describes them: ``app_id``, ``name``, ``rect``, ``pid``."""
        done = self.sway("-t", "get_tree")
        found: list[dict[str, Any]] = []
        pending = [json.loads(done)]
        while pending:
            node = pending.pop()
            pending += node["nodes"] + node["floating_nodes"]
            if node.get("pid") and node["type"] in ("con", "floating_con"):
                found.append(node)
        return found

    def sway(self, *words: str) -> str:
        """Run ``swaymsg`` and return what it prints."""
        environ = {"PATH": os.environ["PATH"], "SWAYSOCK": str(self._own()[0])}
        done = subprocess.run(
            ["swaymsg", *words], env=environ, capture_output=True, text=True, timeout=LIMIT, check=True
        )
        return done.stdout

    def screenshot(self, path: Path) -> Path:
        """Write a PNG of the output."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._grim(str(path))
        return path

    def picture(self) -> bytes:
        """The output with the pointer, as a PPM."""
        return self._grim("-c", "-t", "ppm", "-")

    def pixels(self, output: str = "HEADLESS-1") -> bytes:
        """Every pixel of one output with the pointer, as a PPM."""
        return self._grim("-o", output, "-t", "ppm", "-")

    def part(self, left: int, top: int, width: int, height: int, scale: int) -> bytes:
        """A part of the output without the pointer, as a PPM in pixels; the rectangle is in the output's units."""
        return self._grim("-t", "ppm", "-s", str(scale), "-g", f"{left},{top} {width}x{height}", "-")

    def wait_for_window(self, path: Path) -> Path:
        """Wait until a window is open and its screenshots stay the same, then write a screenshot."""
        self.wait("a window", self.windows)
        previous = b""
        deadline = time.monotonic() + LIMIT
        while (content := self.screenshot(path).read_bytes()) != previous and time.monotonic() < deadline:
            previous = content
            time.sleep(0.3)
        return path

    def _grim(self, *words: str) -> bytes:
        environ = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(self.runtime)} | self.environ
        done = subprocess.run(["grim", *words], env=environ, check=True, timeout=LIMIT, capture_output=True)
        return done.stdout

    def _own(self) -> list[Path]:
        return list(self.runtime.glob("sway-ipc.*"))


class ScaledOutputs(Compositor):
    """Sway with several outputs.

    :param outputs: the lines of sway's configuration for HEADLESS-1, HEADLESS-2 and so on, without the name.
    """

    def __init__(self, directory: Path, *outputs: str) -> None:
        super().__init__(directory)
        self.outputs = outputs

    def command(self) -> list[str]:
        """Sway with its configuration."""
        command = super().command()
        lines = [line for line in _CONFIG.splitlines() if not line.startswith("output")]
        lines += [f"output HEADLESS-{number} {line}" for number, line in enumerate(self.outputs, 1)]
        (self.directory / "config").write_text("\n".join(lines) + "\n")
        return command

    def variables(self) -> dict[str, str]:
        """As of a compositor with one output, and their number."""
        return super().variables() | {"WLR_HEADLESS_OUTPUTS": str(len(self.outputs))}


def is_available() -> bool:
    """Whether sway and its tools are installed."""
    return all(map(shutil.which, ("sway", "swaymsg", "grim")))

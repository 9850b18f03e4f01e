"""A headless Wayland compositor: sway, because it has a seat, screencopy and a command socket.

wlroots refuses to run as root, so root starts it as another user; clients may still be root's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

LIMIT = 60.0
_UNPRIVILEGED = 1000
_CONFIG = """\
output HEADLESS-1 resolution {size}
default_border normal
for_window [app_id=".*"] floating enable
for_window [class=".*"] floating enable
xwayland disable
"""


class CompositorError(AssertionError):
    """The compositor did not do what was waited for."""


class Compositor:
    """A running compositor.

    :param directory: for its sockets and log; made here, removed by the caller.
    :param size: of its one output, as ``WIDTHxHEIGHT``.
    """

    def __init__(self, directory: Path, size: str = "1024x768") -> None:
        self.directory = directory
        self.runtime = directory / "run"
        self._size = size
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Compositor:
        self.runtime.mkdir(parents=True)
        (self.directory / "config").write_text(_CONFIG.format(size=self._size))
        argv = ["sway", "-c", str(self.directory / "config")]
        if os.getuid() == 0:
            # The user needs a way into directories that only root may enter.
            for path in (self.directory, self.runtime):
                os.chown(path, _UNPRIVILEGED, _UNPRIVILEGED)
            self.directory.parent.chmod(0o711)
            argv = ["setpriv", f"--reuid={_UNPRIVILEGED}", f"--regid={_UNPRIVILEGED}", "--clear-groups", *argv]
        self.runtime.chmod(0o700)
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "WLR_BACKENDS": "headless",
            "WLR_LIBINPUT_NO_DEVICES": "1",
            "WLR_RENDERER": "pixman",
            "LANG": "C.UTF-8",
        }
        with open(self.directory / "sway.log", "wb") as log:
            self._process = subprocess.Popen(argv, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._wait("the compositor's sockets", self._sockets)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    @property
    def socket(self) -> Path:
        """The Wayland socket."""
        return self._sockets()[0]

    @property
    def environ(self) -> dict[str, str]:
        """What a client needs: the absolute path of the socket."""
        return {"WAYLAND_DISPLAY": str(self.socket)}

    def windows(self) -> list[dict[str, Any]]:
        """The windows that are shown, as sway describes them: ``app_id``, ``name``, ``rect``, ``pid``."""
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
        environ = {"PATH": os.environ["PATH"], "SWAYSOCK": str(self._sockets()[1])}
        done = subprocess.run(
            ["swaymsg", *words], env=environ, capture_output=True, text=True, timeout=LIMIT, check=True
        )
        return done.stdout

    def screenshot(self, path: Path) -> Path:
        """Write a PNG of the output."""
        path.parent.mkdir(parents=True, exist_ok=True)
        environ = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(self.runtime)} | self.environ
        subprocess.run(["grim", str(path)], env=environ, check=True, timeout=LIMIT, capture_output=True)
        return path

    def wait_for_window(self, path: Path) -> Path:
        """Wait until a window is shown and its picture stands still, and write a screenshot of it."""
        self._wait("a window", self.windows)
        previous = b""
        deadline = time.monotonic() + LIMIT
        while (content := self.screenshot(path).read_bytes()) != previous and time.monotonic() < deadline:
            previous = content
            time.sleep(0.3)
        return path

    def _sockets(self) -> list[Path]:
        """The Wayland socket and sway's own; empty until both are there."""
        wayland = [path for path in self.runtime.glob("wayland-*") if path.suffix != ".lock"]
        own = list(self.runtime.glob("sway-ipc.*"))
        return [wayland[0], own[0]] if wayland and own else []

    def _wait(self, what: str, condition: Any) -> Any:
        deadline = time.monotonic() + LIMIT
        while not (value := condition()):
            ended = self._process is not None and self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                log = (self.directory / "sway.log").read_text(errors="replace")[-2000:]
                raise CompositorError(f"it did not happen: {what}\n{log}")
            time.sleep(0.02)
        return value


def is_available() -> bool:
    """Whether the tools are installed."""
    return all(map(shutil.which, ("sway", "swaymsg", "grim")))

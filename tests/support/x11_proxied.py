"""An X display whose windows are a compositor's: ``sommelier -X``, and X11 programs on it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from support.compositor import LIMIT, Headless
from support.proxied import Proxied


class X11Proxied(Proxied):
    """A container side whose X11 programs open windows on a compositor."""

    def __init__(self, compositor: Headless, directory: Path, *switches: str, user: int | None = None) -> None:
        super().__init__(compositor, directory, *switches, user=user)
        self.display = self.authority = ""

    def __enter__(self) -> X11Proxied:
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pid = self._proxy.pid if self._proxy is not None else 0
        super().__exit__(kind, error, trace)
        if kind is None:
            assert "broke the protocol" not in self.log()
            # The display may be another test's already.
            assert _owner(self.display) != pid

    def start(self, display: str = "") -> None:
        """Start the proxy and wait for its X display."""
        named = self.directory / "display"
        argv = [sys.executable, "-m", "sommelier_shim", "-X", "--no-exit-with-child"]
        argv += [display or f"--display={self.compositor.socket}", *self._switches]
        with open(self.directory / "sommelier.log", "ab") as log:
            self._proxy = subprocess.Popen(
                [*argv, "sh", "-c", f"echo $DISPLAY $XAUTHORITY > {named}.new; mv {named}.new {named}"],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._user,
            )
        self.wait("the X display", named.exists)
        self.display, self.authority = named.read_text().split()

    def variables(self, through: bool = True) -> dict[str, str]:
        """The environment of an X11 program."""
        own = {"DISPLAY": self.display, "XAUTHORITY": self.authority}
        own |= {"GDK_BACKEND": "x11", "QT_QPA_PLATFORM": "xcb", "SDL_VIDEODRIVER": "x11"}
        return self.environ | own

    def kill_xwayland(self) -> None:
        """Kill the Xwayland of this display."""
        assert self._proxy is not None
        argv = ["pgrep", "-P", str(self._proxy.pid), "Xwayland"]
        found = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=True)
        subprocess.run(["kill", f"-{signal.SIGKILL}", *found.stdout.split()], timeout=LIMIT, check=True)


def _owner(display: str) -> int:
    """The process that has locked an X display, 0 for none."""
    try:
        return int(Path(f"/tmp/.X{display[1:]}-lock").read_text() or 0)
    except FileNotFoundError:
        return 0

"""The proxy between a compositor and the distribution's programs, which connect through the proxy or directly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from guestlink.address import UnixAddress
from guestlink.sockets import listen
from guestlink_host.border.wayland_compositor import CompositorConnection
from support.compositor import LIMIT, Headless

_T = TypeVar("_T")
CHECKOUT = Path(__file__).resolve().parents[2]
_GNOME_SETTINGS = """\
[org/gnome/desktop/interface]
cursor-blink=false
enable-animations=false
font-name='DejaVu Sans 10'
"""
_FOOT_SETTINGS = "font=DejaVu Sans Mono:size=10\n[cursor]\nblink=no\n"
_WESTON_SETTINGS = "[terminal]\nfont=DejaVu Sans Mono\nfont-size=14\n[keyboard]\nkeymap_layout=us\n"

FEATHERPAD = ["unshare", "--user", "featherpad", "--standalone"]
"""A Qt 5 editor. It shows root a warning for some seconds; ``unshare --user`` hides that the user is root."""


class Proxied:
    """A container side whose programs open windows on a compositor.

    :param directory: for homes, sockets and logs; created here, removed by the caller.
    :param switches: the proxy's command-line options.
    :param user: the uid of the proxy and its programs, if different from the test's.
    """

    def __init__(self, compositor: Headless, directory: Path, *switches: str, user: int | None = None) -> None:
        self.compositor = compositor
        self.directory = directory
        self.runtime = directory / "run"
        self.home = directory / "home"
        self._switches = switches
        self._user = user
        self._proxy: subprocess.Popen[bytes] | None = None
        self._programs: list[subprocess.Popen[bytes]] = []
        self._logs = 0
        self.environ = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/games",
            "PYTHONPATH": f"{CHECKOUT}/lib:{CHECKOUT}/guest",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_DATA_HOME": str(self.home / ".local/share"),
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",
            "GSETTINGS_BACKEND": "keyfile",
            "NO_AT_BRIDGE": "1",
            "GTK_A11Y": "none",
            "GDK_BACKEND": "wayland",
            "GSK_RENDERER": "cairo",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "QT_QPA_PLATFORM": "wayland",
            "QT_QUICK_BACKEND": "software",
        }

    def __enter__(self) -> Proxied:
        for path in (self.runtime, self.home):
            path.mkdir(parents=True)
        self.runtime.chmod(0o700)
        for name, text in (
            ("glib-2.0/settings/keyfile", _GNOME_SETTINGS),
            ("foot/foot.ini", _FOOT_SETTINGS),
            ("weston.ini", _WESTON_SETTINGS),
        ):
            path = self.home / ".config" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if self._user is not None:
            for path in (self.directory, *self.directory.rglob("*")):
                os.chown(path, self._user, self._user)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in reversed(self._programs):
            end(program)
        self._programs.clear()
        status = self.stop()
        if kind is None:
            assert status == 0, self.log()
            assert "Traceback" not in self.log()

    def start(self, display: str = "") -> None:
        """Start the proxy and wait for its listening socket.

        :param display: the ``--display`` option for another compositor, which need not be running.
        """
        argv = [sys.executable, "-m", "sommelier_shim", "--parent", "--socket=wayland-0"]
        argv += [display or f"--display={self.compositor.socket}", *self._switches]
        with open(self.directory / "sommelier.log", "ab") as log:
            self._proxy = subprocess.Popen(
                argv,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._user,
            )
        self.wait("the proxy's socket", (self.runtime / "wayland-0").exists)

    def stop(self) -> int:
        """Stop the proxy and return its exit status."""
        proxy, self._proxy = self._proxy, None
        assert proxy is not None
        if proxy.poll() is None:
            proxy.terminate()
        try:
            return proxy.wait(LIMIT)
        finally:
            proxy.kill()
            proxy.wait()

    def variables(self, through: bool = True) -> dict[str, str]:
        """The environment of a program that connects to the compositor through the proxy, or directly."""
        display = str(self.runtime / "wayland-0") if through else str(self.compositor.socket)
        return self.environ | {"WAYLAND_DISPLAY": display}

    def program(self, *argv: str, through: bool = True, **environ: str) -> subprocess.Popen[bytes]:
        """Start a program; its output goes to the file that :meth:`said` reads."""
        self._logs += 1
        with open(self.directory / f"program-{self._logs}.log", "wb") as log:
            program = subprocess.Popen(
                argv,
                env=self.variables(through) | environ,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._user,
            )
        self._programs.append(program)
        return program

    def said(self, number: int = 0) -> str:
        """The output of a program: the last one, or the one with this number, from 1."""
        return (self.directory / f"program-{number or self._logs}.log").read_text(errors="replace")

    def run(
        self, *argv: str, through: bool = True, data: bytes | None = None, check: bool = True, limit: float = LIMIT
    ) -> bytes:
        """Run a program until it exits; returns its output."""
        done = subprocess.run(
            argv,
            env=self.variables(through),
            cwd=self.home,
            input=data if data is not None else b"",
            capture_output=True,
            timeout=limit,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv}: {done.returncode}: {done.stderr!r}"
        return done.stdout

    def end(self, program: subprocess.Popen[bytes]) -> None:
        """Kill a program and every process that it started."""
        self._programs.remove(program)
        end(program)

    def log(self) -> str:
        """The proxy's log."""
        return (self.directory / "sommelier.log").read_text(errors="replace")

    def wait(self, what: str, condition: Callable[[], _T], limit: float = LIMIT) -> _T:
        """Wait until a condition holds and return its value."""
        deadline = time.monotonic() + limit
        while not (value := condition()):
            if time.monotonic() > deadline:
                said = self.said()[-1000:] if self._logs else ""
                raise AssertionError(f"it did not happen: {what}\n{self.log()[-2000:]}\n{said}")
            time.sleep(0.02)
        return value


class Sandboxed(Proxied):
    """A container side without a proxy: the compositor serves its socket in a security context."""

    _context = -1

    def start(self, display: str = "") -> None:
        """Let the compositor serve the socket."""
        assert not display

        async def create() -> int:
            connection = await CompositorConnection.open(self.compositor.socket)
            with contextlib.closing(connection), listen(UnixAddress(str(self.runtime / "wayland-0"))) as listener:
                return await connection.create_security_context(listener, "test")

        self._context = asyncio.run(create())

    def stop(self) -> int:
        """End the security context."""
        os.close(self._context)
        return 0

    def log(self) -> str:
        """Nothing: there is no proxy."""
        return ""


def same_pictures(kind: Callable[[Path], Headless], directory: Path, argv: Sequence[str]) -> set[bytes]:
    """The pictures that a program shows both directly and through the proxy.

    A program that stands still on a busy machine may be about to draw more, so without a common picture both run
    again, and every picture so far counts.

    :param kind: makes a compositor in a directory.
    :raises AssertionError: three runs of each have no picture in common.
    """
    direct: set[bytes] = set()
    through: set[bytes] = set()
    for number in range(3):
        direct |= _pictures(kind, directory / f"direct{number}", argv, through=False)
        through |= _pictures(kind, directory / f"through{number}", argv, through=True)
        if same := direct & through:
            return same
    raise AssertionError(
        f"{argv[0]} shows {len(direct)} pictures directly and {len(through)} others through the proxy"
    )


def _pictures(
    kind: Callable[[Path], Headless], directory: Path, argv: Sequence[str], *, through: bool
) -> set[bytes]:
    """The pictures that a compositor shows of a program, once at most its caret changes.

    The position of a new window depends on earlier windows, so each program needs a fresh compositor.
    """
    directory.mkdir()
    with kind(directory / "compositor") as compositor, Proxied(compositor, directory / "container") as proxied:
        proxied.wait("the background is there", lambda: len({compositor.picture() for _ in range(3)}) == 1)
        empty = compositor.picture()
        proxied.program(*argv, through=through)
        last: deque[bytes] = deque(maxlen=8)

        def still() -> bool:
            time.sleep(0.1)
            last.append(compositor.picture())
            return empty not in last and len(last) == 8 and len(set(last)) <= 2

        try:
            proxied.wait("it stands still", still, 4 * LIMIT)
        except AssertionError:
            # A program that did not start and one that never rests are different faults.
            print(f"the last 8 pictures: {len(set(last))} different ones, with the empty screen: {empty in last}")
            raise
        return set(last)


def end(program: subprocess.Popen[bytes]) -> None:
    """Kill every process of a program's session and reap the program."""
    try:
        os.killpg(program.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    program.wait(LIMIT)


def program_of(argv: Sequence[str]) -> str:
    """The name of the program in a command line."""
    return argv[len(FEATHERPAD) - 2] if argv[0] == FEATHERPAD[0] else argv[0]

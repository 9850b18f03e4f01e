"""Compositors other than sway that can start without a screen."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from support.compositor import LIMIT, Headless

_WESTON_CONFIG = """\
[shell]
panel-position=none
background-color=0xff404040
startup-animation=none
close-animation=none
animation=none
locking=false
"""


class Weston(Headless):
    """Weston; without a screen it has no seat."""

    def command(self) -> list[str]:
        """Weston with its desktop shell and software rendering, without the panel, which shows the time."""
        config = self.directory / "weston.ini"
        config.write_text(_WESTON_CONFIG)
        width, height = self.size.split("x")
        words = ["--backend=headless-backend.so", "--use-pixman", f"--width={width}", f"--height={height}"]
        words += [f"--config={config}", "--debug", "--idle-time=0", "--socket=wayland-1"]
        return ["weston", *words]

    def picture(self) -> bytes:
        """The output, as a PNG whose bytes depend only on the pixels."""
        # A new directory for every picture, because the tool's file name has a resolution of one second.
        place = self.directory / "picture"
        place.mkdir()
        try:
            argv = [*self.as_its_user(place), "weston-screenshooter"]
            environ = self.environ_of_its_user() | self.environ
            subprocess.run(argv, env=environ, cwd=place, check=True, timeout=LIMIT, capture_output=True)
            (path,) = place.glob("*.png")
            return path.read_bytes()
        finally:
            shutil.rmtree(place)


class OnABus(Headless):
    """A compositor that needs a session bus; the bus keeps running when the compositor restarts."""

    _daemon: subprocess.Popen[bytes] | None = None
    _input: subprocess.Popen[str] | None = None

    @property
    def bus(self) -> str:
        """The bus's address."""
        return f"unix:path={self.runtime}/bus"

    def start(self) -> None:
        """Start the bus, then the compositor."""
        argv = [*self.as_its_user(self.directory, self.runtime), "dbus-daemon", "--session", "--nofork"]
        self._daemon = subprocess.Popen(
            [*argv, "--nopidfile", f"--address={self.bus}"],
            env=self.environ_of_its_user(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self.wait("the bus's socket", (self.runtime / "bus").exists)
            super().start()
        except BaseException:
            self._stop_bus()
            raise

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop the compositor, then the bus."""
        if self._input is not None:
            self._input.communicate(timeout=LIMIT)
            self._input = None
        super().stop(number)
        self._stop_bus()

    def call(self, *words: str) -> str:
        """Call a method on the bus with ``gdbus call`` and return what it prints."""
        done = subprocess.run(
            [*self.as_its_user(), "gdbus", "call", "--session", *words],
            env=self.environ_of_its_user() | {"DBUS_SESSION_BUS_ADDRESS": self.bus},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=True,
        )
        return done.stdout

    def click_and_type(self, x: int, y: int, *codes: int) -> None:
        """Click at a position, then press keys; ``codes`` are their numbers in linux/input-event-codes.h.

        A program notices a new mouse and keyboard only after a while. They stay until the compositor stops.
        """
        if self._input is None:
            script, where = self.input_script()
            self._input = subprocess.Popen(
                [*self.as_its_user(), "/usr/bin/python3", "-c", script, where],
                env=self.environ_of_its_user(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._input.stdin is not None
        assert self._input.stdout is not None
        print(x, y, *codes, file=self._input.stdin, flush=True)
        assert self._input.stdout.readline() == "done\n"

    def input_script(self) -> tuple[str, str]:
        """The program that creates the input events of each line, and the address that is its argument."""
        raise NotImplementedError

    def _stop_bus(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(LIMIT)
            self._daemon = None


_KWIN_PICTURE = """\
import os, sys
from gi.repository import Gio, GLib
flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
bus = Gio.DBusConnection.new_for_address_sync(sys.argv[1], flags, None, None)
reading, writing = os.pipe()
passed = Gio.UnixFDList()
options = {"native-resolution": GLib.Variant("b", True)}
words = GLib.Variant("(sa{sv}h)", ("Virtual-0", options, passed.append(writing)))
place = ("org.kde.KWin", "/org/kde/KWin/ScreenShot2", "org.kde.KWin.ScreenShot2", "CaptureScreen")
reply, _ = bus.call_with_unix_fd_list_sync(*place, words, None, 0, 60000, passed, None)
os.close(writing)
for descriptor in passed.steal_fds():
    os.close(descriptor)
about = reply.unpack()[0]
data = open(reading, "rb").read()
assert len(data) == about["stride"] * about["height"], (len(data), about)
sys.stdout.buffer.write(b"P6\\n%d %d\\n255\\n" % (about["width"], about["height"]))
rgb = bytearray(about["width"] * about["height"] * 3)
rgb[0::3], rgb[1::3], rgb[2::3] = data[2::4], data[1::4], data[0::4]
sys.stdout.buffer.write(rgb)
"""

_KWIN_INPUT = """\
import socket, struct, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
said = b""
def say(object_id, opcode, body=b""):
    sock.sendall(struct.pack("=II", object_id, 8 + len(body) << 16 | opcode) + body)
def text(word):
    data = word + bytes(1)
    return struct.pack("=I", len(data)) + data + bytes(-len(data) % 4)
def sync(callback):
    global said
    say(1, 0, struct.pack("=I", callback))
    while struct.pack("=II", callback, 12 << 16) not in said:
        part = sock.recv(65536)
        assert part, said
        said += part
say(1, 1, struct.pack("=I", 2))
sync(3)
kind = b"org_kde_kwin_fake_input"
at = said.index(kind)
say(2, 0, said[at - 8 : at - 4] + text(kind) + struct.pack("=II", 4, 4))
say(4, 0, text(b"test") + text(b"test"))
for callback, line in enumerate(sys.stdin, 5):
    x, y, *codes = map(int, line.split())
    say(4, 9, struct.pack("=ii", x * 256, y * 256))
    for state in (1, 0):
        say(4, 2, struct.pack("=II", 0x110, state))
    for code in codes:
        for state in (1, 0):
            say(4, 10, struct.pack("=II", code, state))
    sync(callback)
    print("done", flush=True)
"""
_MUTTER_INPUT = """\
import sys
from gi.repository import Gio, GLib
flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
bus = Gio.DBusConnection.new_for_address_sync(sys.argv[1], flags, None, None)
name = "org.gnome.Mutter.RemoteDesktop"
def call(path, kind, member, signature="()", *values):
    return bus.call_sync(name, path, kind, member, GLib.Variant(signature, values), None, 0, 60000, None)
path = call("/org/gnome/Mutter/RemoteDesktop", name, "CreateSession").unpack()[0]
def say(*words):
    call(path, name + ".Session", *words)
say("Start")
for line in sys.stdin:
    x, y, *codes = map(int, line.split())
    say("NotifyPointerMotionRelative", "(dd)", -9999.0, -9999.0)
    say("NotifyPointerMotionRelative", "(dd)", float(x), float(y))
    for state in (True, False):
        say("NotifyPointerButton", "(ib)", 0x110, state)
    for code in codes:
        for state in (True, False):
            say("NotifyKeyboardKeycode", "(ub)", code, state)
    print("done", flush=True)
say("Stop")
"""


class Kwin(OnABus):
    """KWin with a virtual output.

    :param size: size of the output in units; the output has ``scale`` times as many pixels.
    """

    def __init__(self, directory: Path, size: str = "1024x768", scale: str = "1") -> None:
        super().__init__(directory, size)
        self.scale = scale

    def command(self) -> list[str]:
        """Runs a copy of KWin: the package's file has a capability, which a container may be unable to grant."""
        binary = shutil.which("kwin_wayland")
        assert binary is not None
        copy = self.directory / "kwin_wayland"
        if not copy.exists():
            shutil.copyfile(binary, copy)
            copy.chmod(0o755)
        width, height = self.size.split("x")
        words = ["--virtual", f"--width={width}", f"--height={height}", f"--scale={self.scale}"]
        return [str(copy), *words, "--no-lockscreen", "--no-global-shortcuts", "--socket=wayland-1"]

    def variables(self) -> dict[str, str]:
        """Software rendering; every client may take screenshots and create input."""
        return {
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "KWIN_COMPOSE": "O2",
            "KWIN_WAYLAND_NO_PERMISSION_CHECKS": "1",
            "KWIN_SCREENSHOT_NO_PERMISSION_CHECKS": "1",
            "DBUS_SESSION_BUS_ADDRESS": self.bus,
        }

    def input_script(self) -> tuple[str, str]:
        """KWin's fake_input protocol, which KWin offers to programs whose executable it can see."""
        return _KWIN_INPUT, str(self.socket)

    def picture(self) -> bytes:
        """The output, as a PPM in pixels. KWin may refuse a screenshot while the output changes."""

        def taken() -> bytes:
            done = subprocess.run(
                [*self.as_its_user(), "/usr/bin/python3", "-c", _KWIN_PICTURE, self.bus],
                env=self.environ_of_its_user(),
                check=False,
                timeout=LIMIT,
                capture_output=True,
            )
            if done.returncode == 0:
                return done.stdout
            with open(self.directory / "log", "ab") as log:
                log.write(done.stderr)
            return b""

        return self.wait("a picture", taken)


class Mutter(OnABus):
    """Mutter with a virtual monitor."""

    def command(self) -> list[str]:
        """Mutter without a desktop session."""
        words = ["--headless", "--wayland", "--no-x11", f"--virtual-monitor={self.size}"]
        return ["mutter", *words, "--wayland-display=wayland-1"]

    def variables(self) -> dict[str, str]:
        """The address of the session bus."""
        return {"DBUS_SESSION_BUS_ADDRESS": self.bus}

    def input_script(self) -> tuple[str, str]:
        """The program that uses GNOME's remote desktop interface."""
        return _MUTTER_INPUT, self.bus


class NestedMutter(Mutter):
    """Mutter in a window of a headless X server: without GNOME Shell, Mutter itself takes no screenshots."""

    _screen: subprocess.Popen[bytes] | None = None
    _display = ""

    def start(self) -> None:
        """Start the X server, then the bus and the compositor."""
        argv = [*self.as_its_user(self.directory, self.runtime), "Xvfb", "-displayfd", "1", "-nolisten", "tcp"]
        with open(self.directory / "log", "ab") as log:
            self._screen = subprocess.Popen(
                [*argv, "-screen", "0", f"{self.size}x24", "-fbdir", str(self.runtime)],
                env=self.environ_of_its_user(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        try:
            assert self._screen.stdout is not None
            number = self._screen.stdout.readline().decode().strip()
            assert number, (self.directory / "log").read_text(errors="replace")
            self._display = f":{number}"
            super().start()
        except BaseException:
            self._stop_screen()
            raise

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop all three, the X server last."""
        super().stop(number)
        self._stop_screen()

    def command(self) -> list[str]:
        """Mutter without a desktop session."""
        return ["mutter", "--nested", "--wayland", "--no-x11", "--wayland-display=wayland-1"]

    def variables(self) -> dict[str, str]:
        """A window as large as the X server's screen, with software rendering."""
        own = {"DISPLAY": self._display, "MUTTER_DEBUG_DUMMY_MODE_SPECS": self.size, "LIBGL_ALWAYS_SOFTWARE": "1"}
        return super().variables() | own

    def picture(self) -> bytes:
        """The screen, as an X window dump."""
        return (self.runtime / "Xvfb_screen0").read_bytes()

    def _stop_screen(self) -> None:
        if self._screen is not None:
            self._screen.terminate()
            self._screen.wait(LIMIT)
            assert self._screen.stdout is not None
            self._screen.stdout.close()
            self._screen = None


def missing(kind: type[Headless]) -> list[str]:
    """The programs that a class of compositors needs and that are not installed."""
    programs: dict[type[Headless], list[str]] = {
        Weston: ["weston", "weston-screenshooter"],
        Kwin: ["kwin_wayland"],
        Mutter: ["mutter"],
        NestedMutter: ["mutter", "Xvfb"],
    }
    wanted = programs.get(kind, [])
    if issubclass(kind, OnABus):
        wanted = [*wanted, "dbus-daemon", "gdbus"]
    return [name for name in wanted if shutil.which(name, path=os.environ["PATH"]) is None]

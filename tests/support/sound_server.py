"""Real sound servers, PulseAudio and PipeWire with pipewire-pulse, each in a session of its own without devices.

Both have a sink ``speakers``, whose monitor shows what programs play, and a microphone ``mic``: a source that is no
monitor.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from support.needs import need

LIMIT = 60.0
"""Seconds for any condition."""
RATE, FRAME = 48000, 4
"""Samples per second, and bytes of one for both channels, of what the tests play."""
PACKAGES = "pulseaudio pulseaudio-utils dbus pipewire pipewire-bin pipewire-pulse wireplumber"
_MODULES = (
    ("module-null-sink", "sink_name=speakers", f"rate={RATE}"),
    ("module-null-sink", "sink_name=other", f"rate={RATE}"),
)


class SoundServer:
    """A server.

    :ivar root: its session's directory.
    :ivar environ: the session's variables.
    :ivar address: the value of ``PULSE_SERVER`` for its own socket.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.root = Path(tempfile.mkdtemp(prefix="sound-"))
        self.address = f"unix:{self.root}/pulse/native"
        self.environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.root)}
        self.environ |= {f"XDG_{name}": str(self.root) for name in ("RUNTIME_DIR", "CONFIG_HOME", "STATE_HOME")}
        self.environ["PULSE_SERVER"] = self.address
        self.log = self.root / "log"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the server and wait until it has its devices."""
        (self.root / "pulse").mkdir(exist_ok=True, mode=0o700)
        if self.kind == "pulseaudio":
            self._spawn(
                "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no",
                "-L", f"module-native-protocol-unix socket={self.root}/pulse/native",
            )  # fmt: skip
        else:
            bus = self.root / "bus"
            self.environ["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={bus}"
            self._spawn("dbus-daemon", "--session", "--nofork", f"--address=unix:path={bus}")
            self._wait("the bus", bus.exists)
            self._spawn("pipewire")
            self._wait("PipeWire", (self.root / "pipewire-0").exists)
            self._spawn("wireplumber")
            self._spawn("pipewire-pulse")
        self._wait("the sound server", lambda: self._control("info").returncode == 0)
        for module in _MODULES:
            self.pactl("load-module", *module)
        if self.kind == "pulseaudio":
            self.pactl("load-module", "module-null-sink", "sink_name=voice")
            self.pactl("load-module", "module-remap-source", "source_name=mic", "master=voice.monitor")
        else:
            self.pactl(
                "load-module", "module-null-sink", "media.class=Audio/Source/Virtual", "sink_name=mic", "channels=2"
            )
        self.pactl("set-default-sink", "speakers")
        self.pactl("set-default-source", "mic")
        self._wait("the devices", self._is_set_up)

    def stop(self) -> None:
        """Kill the server; its directory stays."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        self._processes.clear()
        for path in ("pulse/native", "pipewire-0", "bus"):
            (self.root / path).unlink(missing_ok=True)

    def close(self) -> None:
        """Kill the server and remove its directory."""
        self.stop()
        shutil.rmtree(self.root)

    def pids(self) -> list[int]:
        """The server's processes."""
        return [process.pid for process in self._processes]

    def pactl(self, *words: str) -> str:
        """Run pactl in the server's own session; returns what it prints."""
        done = self._control(*words)
        assert done.returncode == 0, f"pactl {words}: {done.stderr}\n{self.log.read_text()}"
        return done.stdout

    def state(self) -> str:
        """What a container must not change: modules, devices with volumes, defaults."""
        shown = [self.pactl("list", "short", kind) for kind in ("modules", "cards", "samples")]
        shown.append(self.pactl("info"))
        for device in ("sink", "source"):
            name = "speakers" if device == "sink" else "mic"
            shown += [self.pactl(f"get-{device}-{what}", name) for what in ("volume", "mute")]
        return "".join(line for text in shown for line in text.splitlines(True) if "Client Index" not in line)

    def streams(self, kind: str = "sink-inputs") -> list[str]:
        """The indexes of the streams that exist."""
        return [line.split("\t")[0] for line in self.pactl("list", "short", kind).splitlines()]

    @contextlib.contextmanager
    def recorded(self, sink: str = "speakers") -> Iterator[Path]:
        """Record what a sink plays, in a file that grows."""
        path = self.root / "recorded"
        with path.open("wb") as out:
            process = subprocess.Popen(
                ["parec", f"--device={sink}.monitor", "--raw", "--format=s16le", f"--rate={RATE}", "--channels=2"],
                stdout=out,
                stdin=subprocess.DEVNULL,
                env=self.environ,
            )
            try:
                self._wait("the recording", lambda: path.stat().st_size > 0)
                yield path
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait()

    def _is_set_up(self) -> bool:
        info = self.pactl("info")
        return "Default Sink: speakers\n" in info and "Default Source: mic\n" in info

    def _control(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pactl", *words], env=self.environ, capture_output=True, text=True, timeout=LIMIT, check=False
        )

    def _spawn(self, *argv: str) -> None:
        with self.log.open("ab") as log:
            self._processes.append(
                subprocess.Popen(argv, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )

    def _wait(self, what: str, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come:\n{self.log.read_text()}"
            time.sleep(0.02)


@contextlib.contextmanager
def sound_server(kind: str) -> Iterator[SoundServer]:
    """A running server.

    :param kind: ``pulseaudio`` or ``pipewire``.
    """
    need("pulseaudio", "pactl", "dbus-daemon", "pipewire", "pipewire-pulse", "wireplumber", packages=PACKAGES)
    server = SoundServer(kind)
    try:
        server.start()
        yield server
    finally:
        server.close()

"""What the filter costs between a container's program and the sound server.

``./dev bench sound``: PulseAudio and pipewire-pulse, each through its own socket and through guestlink-host's, in
turn. Round trips are those of a command; sound that plays waits for half of one. Processor time is that of all
processes that take part, and guestlink-host's own, while pacat plays 48 kHz stereo.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import psutil

from guestlink_host.border.sound.commands import NONE, Command
from guestlink_host.border.sound.frames import HEADER
from support.raw_pulse import numbers
from support.sound_server import SoundServer, sound_server
from support.stage import Stage, stage

ROUNDS = 3000
SECONDS = 10.0
LATENCIES = (10, 50, 500)
"""Milliseconds that pacat asks for."""
AIM_LATENCY, AIM_PROCESSOR = 2000.0, 3.0
"""Microseconds that the filter may add, and per cent of a core that it may use."""


def main() -> None:
    """Measure and print."""
    for kind in ("pulseaudio", "pipewire"):
        with sound_server(kind) as server, stage("bench") as measured:
            measured.host_environ |= {"PULSE_SERVER": server.address, "DBUS_SESSION_BUS_ADDRESS": ""}
            measured.start_host()
            measured.host("add", measured.name)
            directory = Path(measured.host_json("list")[0]["directory"])
            _measure(server, measured, f"unix:{directory}/pulse")


def _measure(server: SoundServer, measured: Stage, filtered: str) -> None:
    print(f"\n{server.kind:50} {'own socket':>12} {'filter':>10} {'ratio':>7}")
    own, ours = _round_trips(server.address, filtered)
    for what, pick in (("median", statistics.median), ("99th percentile", _percentile)):
        _row(f"round trip of a command, {what}, µs", pick(own), pick(ours))
    added = statistics.median(ours) - statistics.median(own)
    _line(f"  added, median (aim ≤ {AIM_LATENCY:.0f})", added)
    daemon = psutil.Process(measured.processes["host"].pid)
    for latency in LATENCIES:
        direct, _ = _processor(server, daemon, server.address, latency)
        through, filters = _processor(server, daemon, filtered, latency)
        _row(f"processor while playing, {latency} ms, % of a core", direct, through)
        _line(f"  guestlink-host itself (aim ≤ {AIM_PROCESSOR:.0f})", filters)


def _row(what: str, own: float, ours: float) -> None:
    print(f"{what:50} {own:12.2f} {ours:10.2f} {ours / own if own else float('nan'):7.2f}")


def _line(what: str, ours: float) -> None:
    print(f"{what:50} {'':12} {ours:10.2f}")


def _percentile(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100]


def _round_trips(own: str, filtered: str) -> tuple[list[float], list[float]]:
    """Microseconds of round trips, alternately through both sockets."""
    times: tuple[list[float], list[float]] = ([], [])
    with _client(own) as one, _client(filtered) as other:
        for number in range(2 * ROUNDS):
            ask = (one, other)[number % 2]
            began = time.perf_counter()
            ask()
            times[number % 2].append((time.perf_counter() - began) * 1e6)
            time.sleep(0.002)  # below the filter's limit of commands
    return times


@contextmanager
def _client(address: str) -> Iterator[Callable[[], None]]:
    """A connection, as a function that sends a small command and waits for the reply."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(address.removeprefix("unix:"))
        cookie = b"x\0\0\1\0" + bytes(256)

        def ask(command: int = Command.GET_SERVER_INFO, body: bytes = b"") -> None:
            payload = numbers(command, 1) + body
            sock.sendall(HEADER.pack(len(payload), NONE, 0, 0, 0) + payload)
            length = HEADER.unpack(sock.recv(HEADER.size, socket.MSG_WAITALL))[0]
            sock.recv(length, socket.MSG_WAITALL)

        ask(Command.AUTH, numbers(35) + cookie)
        ask(Command.SET_CLIENT_NAME, b"PN")
        yield ask


def _processor(server: SoundServer, daemon: psutil.Process, address: str, latency: int) -> tuple[float, float]:
    """Per cent of a core of server, player and guestlink-host together, and of guestlink-host alone."""
    with Path("/dev/zero").open("rb") as silence:
        words = ["--raw", "--format=s16le", "--rate=48000", "--channels=2", f"--latency-msec={latency}"]
        player = subprocess.Popen(
            ["pacat", "--playback", *words], stdin=silence, env=server.environ | {"PULSE_SERVER": address}
        )
    try:
        time.sleep(2)
        everyone = [*(psutil.Process(pid) for pid in server.pids()), psutil.Process(player.pid), daemon]
        before, began = [_used(process) for process in everyone], time.perf_counter()
        time.sleep(SECONDS)
        spent = [_used(process) - then for process, then in zip(everyone, before, strict=True)]
        elapsed = time.perf_counter() - began
    finally:
        player.terminate()
        player.wait()
    return sum(spent) / elapsed * 100, spent[-1] / elapsed * 100


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()

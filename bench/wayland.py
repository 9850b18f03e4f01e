"""The ways from a program to the compositor beside a direct connection and waypipe.

``context``: the socket that guestlink-host lets the compositor serve in a security context, without a proxy.
``sommelier``: the proxy in the container. ``on host``: the proxy as guestlink-host starts it for a container; its
memory is what a container costs there. Figures are those of performance.md §2 that apply.

``./dev bench wayland [ROUNDS [SECONDS [TEST…]]]``: medians of interleaved rounds (five of 0.4 seconds a figure).
The client, the proxy and a compositor that shows nothing share one CPU, so a figure is the sum of their path
lengths. As root they run with a high priority, because other work on that CPU would distort the figures. Needs a C
compiler, libwayland-dev and waypipe; the proxy runs in the distribution's interpreter.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from guestlink import sockets
from guestlink.address import UnixAddress
from guestlink_host.border.wayland_compositor import CompositorConnection

HERE = Path(__file__).parent
CHECKOUT = HERE.parent
CACHE = CHECKOUT / ".cache" / "bench"
LIMIT = 60.0
HELD = 100


class Test(NamedTuple):
    """A test of the client, and the figures that it yields.

    :ivar figure: the row's name; :ivar key: ``p50``, ``p99`` (microseconds) or ``rate`` (each second).
    :ivar cpu: the name of the row for the proxies' CPU time, in microseconds for each item, or "".
    :ivar aims: the wanted ratios to waypipe, one for the figure and one for its CPU time.
    """

    words: str
    figure: str
    key: str
    unit: float = 1.0
    cpu: str = ""
    aims: tuple[float | None, float | None] = (None, None)

    @property
    def cpu_figure(self) -> str:
        """The name of the row for the CPU time; it has the test's name if several tests share ``cpu``."""
        return f"{self.figure.rpartition(',')[0]}: {self.cpu}" if "such" in self.cpu else self.cpu


TESTS = (
    Test("round_trips", "sync round trip p50, us", "p50", 1, "CPU per round trip, us", (0.60, None)),
    Test("round_trips", "sync round trip p99, us", "p99"),
    Test("damage", "damage requests, pipelined, M/s", "rate", 1e6, "CPU per damage, us", (1.0, None)),
    Test("regions", "region create+add+destroy, M req/s", "rate", 1e6, "CPU per region request, us", (0.9, None)),
    Test("syncs", "pipelined syncs, k/s", "rate", 1e3, "CPU per sync, us", (0.95, None)),
    Test("pools", "pool create+destroy (1 fd), k/s", "rate", 1e3, "CPU per pool, us", (2.8, None)),
    Test("connections", "new connection + registry, us", "p50", 1, "", (0.03, None)),
    Test("spawns", "spawn client to registry and exit, us", "p50"),
    Test("frames 1920 1080 64", "1080p, 64x64 damage, frames/s", "rate", 1, "CPU per such frame, us", (None, 0.04)),
    Test("frames 1920 1080 0", "1080p, all new, frames/s", "rate", 1, "CPU per such frame, us"),
    Test("frames 3840 2160 64", "2160p, 64x64 damage, frames/s", "rate", 1, "CPU per such frame, us"),
    Test("frames 3840 2160 0", "2160p, all new, frames/s", "rate", 1, "CPU per such frame, us"),
    Test("paced 1920 1080 64", "60 Hz 1080p, 64x64 damage, frames/s", "rate", 1, "CPU per such frame, us"),
)
LESS_IS_BETTER = ("p50", "p99")
PSS_AIM, CLIENT_AIM = 10.0, 300.0
"""MB when idle, and KB for each idle client with its process."""
CONTEXT_AIM, ON_HOST_AIM = 1.02, 1.05
"""Round trips in a security context, compared with the compositor's own socket; and through the proxy on the host,
compared with the same proxy in the container."""


class Way:
    """A way from a client to the compositor.

    :ivar socket: where clients connect.
    :ivar processes: the proxies in between; none for a direct connection.
    """

    def __init__(self, name: str, socket: Path, processes: list[subprocess.Popen[bytes]]) -> None:
        self.name = name
        self.socket = socket
        self.processes = processes

    def cpu(self) -> dict[int, float]:
        """Seconds of CPU that each proxy process has used."""
        return {pid: _cpu(pid) for pid in self._pids()}

    def pss(self) -> float:
        """The proxies' proportional set size in KB."""
        return sum(pss_of(pid) for pid in self._pids())

    def _pids(self) -> list[int]:
        found = [process.pid for process in self.processes]
        for pid in found:  # the body appends to the list
            found += children_of(pid)
        return found


def children_of(pid: int) -> list[int]:
    """The child processes of a process."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def main() -> int:
    """Measure and print; 1 when an aim is missed or a client was lost."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = sys.argv[2] if len(sys.argv) > 2 else "0.4"
    tests = tuple(test for test in TESTS if not sys.argv[3:] or test.words.split()[0] in sys.argv[3:])
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    except PermissionError:
        pass
    compositor, client = build("null_compositor", "wayland-server"), build("client", "wayland-client")
    figures: dict[str, dict[str, list[float]]] = {}
    lost: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as scratch, run_compositor(compositor, Path(scratch)) as host:
        ways = ["direct", "context", "sommelier", "on host", *(["waypipe"] if shutil.which("waypipe") else [])]
        for number in range(rounds):
            for name in ways:
                directory = Path(scratch) / f"{name}{number}"
                directory.mkdir()
                with open_way(name, host, directory) as (way, start):
                    rows = figures.setdefault(name, {})
                    rows.setdefault("start to listening socket, ms", []).append(start * 1e3)
                    for row, value in _measure(way, client, seconds, tests):
                        if row == "lost":
                            lost[name] = lost.get(name, 0) + 1
                        else:
                            rows.setdefault(row, []).append(value)
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return _report(figures, lost, rounds)


# -- measuring ------------------------------------------------------------------------------


def _measure(way: Way, client: Path, seconds: str, tests: tuple[Test, ...]) -> Iterator[tuple[str, float]]:
    """The figures of one way in one round; "lost" for a client that was disconnected."""
    if way.processes:
        idle = way.pss()
        yield "PSS idle, MB", idle / 1024
        with run_client(client, way, f"hold 0 {HELD}") as hold:
            read_figures(hold)
            yield "PSS for each idle client, KB", (_settled_pss(way) - idle) / HELD
    done: dict[str, dict[str, float]] = {}
    for test in tests:
        if test.words not in done:
            kind, *size = test.words.split()
            with run_client(client, way, " ".join((kind, seconds, *size))) as process:
                before = way.cpu()
                values = read_figures(process)
                if not values:
                    yield "lost", 1
                    continue
                values["cpu"] = sum(used - before.get(pid, 0.0) for pid, used in way.cpu().items())
            if "seconds" in values:
                values["rate"] = values["count"] / values["seconds"]
            done[test.words] = values
        values = done[test.words]
        yield test.figure, values[test.key] / test.unit
        if test.cpu and way.processes:
            yield test.cpu_figure, values["cpu"] / values["count"] * 1e6
    # Unpinned, the client runs ahead of the proxy: this is where connections get lost.
    with run_client(client, way, f"damage {seconds}", pinned=False) as process:
        if not read_figures(process):
            yield "lost", 1


def _settled_pss(way: Way) -> float:
    """Memory in KB when it no longer falls: the proxy's client processes shrink after a second."""
    last = way.pss()
    while True:
        time.sleep(1.5)
        now = way.pss()
        if now > 0.95 * last:
            return now
        last = now


@contextmanager
def run_client(program: Path, way: Way, words: str, *, pinned: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    environ = {
        "WAYLAND_DISPLAY": str(way.socket),
        "XDG_RUNTIME_DIR": str(way.socket.parent),
        "PATH": os.environ["PATH"],
    }
    argv = [str(program), *words.split()]
    with subprocess.Popen(
        _pinned(argv) if pinned else argv, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        yield process
        try:
            process.stdin.write(b"\n")
            process.stdin.close()
        except OSError:
            pass
        process.wait(LIMIT)
    time.sleep(0.02)  # let the proxy notice the end


def read_figures(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """Start the client's test and read its figures; none if the client was disconnected."""
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        process.stdin.write(b"\n")
        process.stdin.flush()
    except OSError:
        return {}
    line = process.stdout.readline()
    return dict(json.loads(line)) if line else {}


def _cpu(pid: int) -> float:
    try:
        return sum(int(path.read_text().split()[0]) / 1e9 for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    except OSError:
        return 0.0


def pss_of(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return float(next(line.split()[1] for line in lines if line.startswith("Pss:")))


# -- what is measured ------------------------------------------------------------------------------


@contextmanager
def run_compositor(program: Path, directory: Path) -> Iterator[Path]:
    socket = directory / "host"
    argv = _pinned([str(program), str(socket)])
    environ = {"XDG_RUNTIME_DIR": str(directory)}
    with subprocess.Popen(argv, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        if not process.stdout.readline():
            raise SystemExit("the compositor did not start")
        yield socket
        process.stdin.close()
        process.wait(LIMIT)


@contextmanager
def open_way(name: str, host: Path, directory: Path, python: str = "") -> Iterator[tuple[Way, float]]:
    """A way, and the seconds until its socket existed.

    :param python: the interpreter for the proxy; the distribution's by default.
    """
    socket = directory / "wayland-0"
    if name == "direct":
        yield Way(name, host, []), 0.0
        return
    if name == "context":
        with _security_context(host, socket) as took:
            yield Way(name, socket, []), took
        return
    link = directory / "link"
    listener = sockets.listen(UnixAddress(str(socket))) if name == "on host" else None
    proxy = [
        python or _distribution_python(),
        "-m",
        "sommelier_shim",
        "--parent",
        "--socket=wayland-0",
        f"--display={host}",
    ]
    commands = {
        "sommelier": [proxy],
        "on host": [[*proxy, "--for-container=bench", f"--listen-fd={listener.fileno() if listener else -1}"]],
        "sommelier --scale=2": [[*proxy, "--scale=2"]],
        "waypipe": [
            ["waypipe", "-c", "none", "-s", str(link), "client"],
            [
                "waypipe",
                "-c",
                "none",
                "-s",
                str(link),
                "--display",
                str(socket),
                "server",
                "--",
                "sleep",
                "infinity",
            ],
        ],
    }[name]
    environ = {
        "PATH": os.environ["PATH"],
        "XDG_RUNTIME_DIR": str(directory),
        "WAYLAND_DISPLAY": str(host),
        "PYTHONPATH": os.pathsep.join(str(CHECKOUT / part) for part in ("lib", "guest")),
        "GUESTLINK_LOG": "error",
    }
    processes: list[subprocess.Popen[bytes]] = []
    log = directory / "log"
    try:
        with open(log, "wb") as output:
            start = time.perf_counter()
            for number, argv in enumerate(commands):
                processes.append(
                    subprocess.Popen(
                        _pinned(argv),
                        env=environ,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        pass_fds=[listener.fileno()] if listener else [],
                    )
                )
                _wait(link if number + 1 < len(commands) else socket, processes[-1], log)
            took = time.perf_counter() - start
        if listener is not None:
            listener.close()
        time.sleep(0.3)  # let it finish its own exchange with the compositor
        yield Way(name, socket, processes), took
    finally:
        # Waypipe does not stop its program.
        below = [child for process in processes for child in psutil.Process(process.pid).children(recursive=True)]
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(LIMIT)
        for child in below:
            with suppress(psutil.NoSuchProcess):
                child.kill()


@contextmanager
def _security_context(host: Path, socket: Path) -> Iterator[float]:
    """Let the compositor serve a socket, as guestlink-host does; yields the seconds that it took."""

    async def create() -> int:
        with sockets.listen(UnixAddress(str(socket))) as listener:
            connection = await CompositorConnection.open(host)
            try:
                return await connection.create_security_context(listener, "bench")
            finally:
                connection.close()

    start = time.perf_counter()
    keep_open = asyncio.run(create())
    try:
        yield time.perf_counter() - start
    finally:
        os.close(keep_open)


def _wait(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + LIMIT
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{process.args!r} made no socket: {log.read_text()}")
        time.sleep(0.001)


def _pinned(argv: list[str]) -> list[str]:
    return ["taskset", "--cpu-list", str(max(os.sched_getaffinity(0))), *argv]


def _distribution_python() -> str:
    """The distribution's interpreter: one built without optimisation takes three times as long for a message."""
    return "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


def build(name: str, library: str) -> Path:
    source, program = HERE / "wayland" / f"{name}.c", CACHE / f"wayland_{name}"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        CACHE.mkdir(parents=True, exist_ok=True)
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", library], capture_output=True, text=True, check=True
        )
        made = program.with_name(f"{program.name}.{os.getpid()}")  # another process may build it at the same time
        subprocess.run(["cc", "-O2", "-o", str(made), str(source), *shlex.split(flags.stdout)], check=True)
        made.rename(program)
    return program


# -- printing ------------------------------------------------------------------------------


def _report(figures: dict[str, dict[str, list[float]]], lost: dict[str, int], rounds: int) -> int:
    medians: dict[str, dict[str, float]] = {
        way: {row: statistics.median(values) for row, values in rows.items()} for way, rows in figures.items()
    }
    ours, theirs = medians["sommelier"], medians.get("waypipe", {})
    trips = "sync round trip p50, us"
    aims: dict[str, tuple[float, bool]] = {}
    for test in TESTS:
        less = test.key in LESS_IS_BETTER
        if test.aims[0] is not None:
            aims[test.figure] = (test.aims[0], less)
        if test.aims[1] is not None:
            aims[test.cpu_figure] = (test.aims[1], True)
    missed = []
    print(f"{'median of ' + str(rounds):50}" + "".join(f"{way:>12}" for way in medians) + "   ratio   aim")
    for row in ours:
        cells = "".join(_cell(medians[way].get(row)) for way in medians)
        ratio = ours[row] / theirs[row] if theirs.get(row) else None
        text = f"{ratio:8.3f}" if ratio is not None else " " * 8
        if row in aims and ratio is not None:
            aim, less = aims[row]
            met = ratio <= aim if less else ratio >= aim
            text += f" {'<=' if less else '>='} {aim:<5} {'met' if met else 'MISSED'}"
            if not met:
                missed.append(row)
        elif row in ("PSS idle, MB", "PSS for each idle client, KB"):
            aim = PSS_AIM if "MB" in row else CLIENT_AIM
            text += f"  own <= {aim:g} {'met' if ours[row] <= aim else 'MISSED'}"
            if ours[row] > aim:
                missed.append(row)
        print(f"{row:50}{cells}{text}")
    for way, peer, aim in (("context", "direct", CONTEXT_AIM), ("on host", "sommelier", ON_HOST_AIM)):
        if trips in medians[way]:
            ratio = medians[way][trips] / medians[peer][trips]
            text = f"{way} / {peer}, {trips}"
            print(f"{text:50}{ratio:12.3f}   <= {aim} {'met' if ratio <= aim else 'MISSED'}")
            if ratio > aim:
                missed.append(text)
    print(f"{'clients lost':50}" + "".join(f"{lost.get(way, 0):12d}" for way in medians))
    return 1 if missed or lost.get("sommelier") else 0


def _cell(value: float | None) -> str:
    if value is None:
        return f"{'-':>12}"
    return f"{value:12.2f}" if value < 1000 else f"{value:12.0f}"


if __name__ == "__main__":
    sys.exit(main())

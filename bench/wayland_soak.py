"""Leaks of the Wayland proxy: a million frames and ten thousand connections through one process.

``./dev bench wayland_soak [FRAMES [CONNECTIONS]]``, without scaling and with it (``--scale=2``). Some clients are
killed while they draw. Prints descriptors, objects and memory before and after, and exits with 1 if any has leaked.
Needs a C compiler and libwayland-dev.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from wayland import LIMIT, Way, build, children_of, open_way, read_figures, run_client, run_compositor

from guestlink.control import ControlClient

FRAMES_TIME, CONNECTIONS_TIME = "0.5", "0.03"
"""Seconds for which one client shows frames, and for which another connects repeatedly."""
MEMORY_LEFT = 2048
"""KB by which the process may grow, because of the allocator. A leak of 200 bytes for each connection would reach
this limit."""


class State(NamedTuple):
    """The proxy's figures while no client is connected."""

    descriptors: int
    resident: int
    served: int


def main() -> int:
    """Soak and print; 1 if something has leaked."""
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    connections = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    failed = False
    for name in ("sommelier", "sommelier --scale=2"):
        with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
            host = stack.enter_context(run_compositor(build("null_compositor", "wayland-server"), Path(scratch)))
            way, _ = stack.enter_context(open_way(name, host, Path(scratch), sys.executable))
            failed |= not _soak(way, frames, connections)
    return 1 if failed else 0


def _soak(way: Way, frames: int, connections: int) -> bool:
    client = build("client", "wayland-client")
    _use(way, client, min(frames, 20_000), min(connections, 500))  # warm-up: one-time allocations
    before = _state(way)
    start = time.monotonic()
    done, grown, killed = _use(way, client, frames, connections)
    deadline = time.monotonic() + LIMIT
    while (after := _state(way)).descriptors > before.descriptors and time.monotonic() < deadline:
        time.sleep(0.05)  # the proxy may still have to close a connection of ours
    served = after.served - before.served
    left = after.descriptors - before.descriptors
    growth = after.resident - before.resident
    took = time.monotonic() - start
    print(
        f"{way.name}: {done} frames, {served} connections, {killed} of them killed, {took:.0f} s\n"
        f"  descriptors {before.descriptors} and {after.descriptors}, objects that frames left {grown}, "
        f"resident memory {before.resident} and {after.resident} KB"
    )
    return left <= 0 and grown == 0 and growth <= MEMORY_LEFT and done >= frames and served >= connections


def _use(way: Way, client: Path, frames: int, connections: int) -> tuple[int, int, int]:
    """Run the clients; returns frames shown, objects that frames left in a client, and clients killed."""
    done = grown = killed = 0
    while done < frames:
        with run_client(client, way, f"frames {FRAMES_TIME} 256 256 16", pinned=False) as process:
            figures = read_figures(process)
            assert figures, "a client was disconnected"
            done += int(figures["count"])
            # A surface, a pool, two buffers, the compositor, the shm, the registry and the display.
            grown = max(grown, _call(way)["clients"][0]["objects"] - 8)
    first = _call(way)["served"]
    while _call(way)["served"] - first < connections:
        with run_client(client, way, f"connections {CONNECTIONS_TIME}", pinned=False) as process:
            assert read_figures(process), "a client was disconnected"
        with run_client(client, way, "frames 60 64 64 8", pinned=False) as process:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
            _wait(lambda: any(shown["received"] > 20_000 for shown in _call(way)["clients"]))
            process.kill()
            killed += 1
    _wait(lambda: not _call(way)["clients"])
    return done, grown, killed


def _state(way: Way) -> State:
    pid = way.processes[0].pid
    status = Path(f"/proc/{pid}/status").read_text()
    resident = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
    # One connector stays ready; those that had a client exit within a second or two.
    _wait(lambda: [len(children_of(maker)) for maker in children_of(pid)] == [1])
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return State(descriptors, resident, int(_call(way)["served"]))


def _call(way: Way) -> dict[str, Any]:
    path = way.socket.parent / "guestlink/sommelier-0.sock"
    return ControlClient(path, daemon="sommelier").call("status", timeout=LIMIT)


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())

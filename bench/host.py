"""What guestlink-host costs with 1, 5 and 20 containers: memory, wake-ups, descriptors and start-up time.

``./dev bench host``. Each container has registered with a list of 100 applications, and is idle. Start-up is that
of a daemon that knows the containers and their lists. Nothing here is a test.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import psutil

# Instead of this directory, where garcon.py has the name of a package.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "tests")

from support.fake_garcon import FakeGarcon, application  # noqa: E402
from support.stage import Stage, stage  # noqa: E402

SIZES = (1, 5, 20)
APPLICATIONS = 100
SETTLE, IDLE = 10, 20
"""Seconds until the registrations are over, and seconds of the measurement."""


def main() -> None:
    """Measure and print."""
    print(
        f"{'containers':>10} {'start ms':>9} {'PSS MiB':>8} {'threads':>8} {'descriptors':>12} {'wake-ups/s':>11}"
    )
    for size in SIZES:
        with stage("c0") as measured:
            measured.host_environ["GUESTLINK_HOST_MANAGERS"] = "none"
            measured.start_host()
            for number in range(size):
                measured.host("add", f"c{number}")
            asyncio.run(_idle(measured, size, 0))
            measured.stop("host")
            began = time.perf_counter()
            measured.start_host()
            started = (time.perf_counter() - began) * 1000
            print(f"{size:>10} {started:>9.0f} {asyncio.run(_idle(measured, size, IDLE))}", flush=True)


async def _idle(measured: Stage, size: int, seconds: float) -> str:
    """Register every container; returns the daemon's costs while they are idle."""
    root = Path(measured.host_environ["XDG_RUNTIME_DIR"], "guestlink-host/containers")
    guests = [FakeGarcon(root / f"c{number}") for number in range(size)]
    for guest in guests:
        await guest.register()
        await guest.publish(*(application(f"app{n}", comments={"": "What it is for"}) for n in range(APPLICATIONS)))
    await asyncio.sleep(SETTLE)
    process = psutil.Process(measured.processes["host"].pid)
    before = _wake_ups(process.pid)
    await asyncio.sleep(seconds)
    wake_ups = (_wake_ups(process.pid) - before) / max(seconds, 1)
    memory = process.memory_full_info().pss / 2**20
    costs = f"{memory:>8.1f} {process.num_threads():>8} {process.num_fds():>12} {wake_ups:>11.2f}"
    for guest in guests:
        await guest.close()
    return costs


def _wake_ups(pid: int) -> int:
    """How often the threads of a process have waited and were woken (proc_pid_status(5))."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


if __name__ == "__main__":
    main()

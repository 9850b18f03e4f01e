"""How quickly garcon registers, publishes and launches, and what it costs while nothing happens.

``./dev bench garcon``: medians of real processes on this machine; nothing here is a test.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.stage import Stage, stage

ROUNDS = 9
ENTRIES = 300
IDLE_SECONDS = 30


def main() -> None:
    """Measure and print."""
    rows = []
    with stage("bench") as measured:
        _install(measured, ENTRIES)
        measured.start_host()
        measured.host("add", measured.name)
        rows.append((f"start to registered, {ENTRIES} entries", _registration(measured), "ms", 150))
        measured.start_garcon()
        measured.wait_registered()
        measured.wait("all launchers", lambda: len(measured.launchers()) == ENTRIES)
        rows.append(("new .desktop file to launcher on the host", _appearing(measured), "ms", 400))
        rows.append(("launch request to exec", _launching(measured), "ms", 30))
        rows.append(("xdg-open helper, whole process", _helper(measured), "ms", 40))
        rss, pss, wakeups = _idle(measured)
        rows.append(("RSS idle", rss, "MB", None))
        rows.append(("PSS idle", pss, "MB", 35))
        rows.append((f"wake-ups idle, over {IDLE_SECONDS} s", wakeups, "/s", 1))
    print(f"{'':44} {'median':>9} {'aim':>9}")
    for what, value, unit, aim in rows:
        print(f"{what:44} {value:7.1f} {unit:3}" + (f" ≤ {aim:4} {unit}" if aim else ""))


def _install(measured: Stage, count: int) -> None:
    for number in range(count):
        measured.add_application(
            f"org.example.App{number:04}",
            Name=f"Application {number}",
            Comment="Does what an application does",
            MimeType="text/plain;image/png;",
            Keywords="some;words;",
            **{
                f"Name[{locale}]": f"Anwendung {number}"
                for locale in ("de", "fr", "it", "es", "pt_BR", "ja", "zh_CN")
            },
        )


def _registration(measured: Stage) -> float:
    times = []
    log = measured.log("garcon")
    for _ in range(ROUNDS):
        log.unlink(missing_ok=True)
        began = time.monotonic()
        measured.start_garcon()
        measured.wait("registered", lambda: b"registered with" in log.read_bytes(), 0.001)
        times.append((time.monotonic() - began) * 1000)
        measured.stop("garcon")
    return statistics.median(times)


def _appearing(measured: Stage) -> float:
    times = []
    directory = Path(measured.host_environ["XDG_DATA_HOME"], "applications")
    for number in range(ROUNDS):
        time.sleep(3.2)  # The window in which changes are coalesced must be over: this is the first change.
        launcher = directory / f"guestlink-{measured.name}-org.example.New{number}.desktop"
        began = time.monotonic()
        measured.add_application(f"org.example.New{number}")
        measured.wait("the launcher", launcher.exists, 0.001)
        times.append((time.monotonic() - began) * 1000)
    return statistics.median(times)


def _launching(measured: Stage) -> float:
    """From the call on the host's channel to the first line of the program."""
    import asyncio

    from guestlink.address import UnixAddress
    from guestlink.pb import container_guest_pb2 as pb
    from guestlink.rpc import GARCON, Channel

    stamp = measured.root / "stamp"
    program = measured.root / "program"
    program.write_text(f"#!/bin/sh\ndate +%s%N > {stamp}.new; mv {stamp}.new {stamp}\n")
    program.chmod(0o755)
    measured.add_application("org.example.Stamp", Exec=str(program))
    measured.wait("it is published", lambda: any("Stamp" in path.name for path in measured.launchers()))

    async def launch() -> list[float]:
        address = measured.guest_environ["GUESTLINK_GARCON_ADDRESS"].removeprefix("unix:")
        channel = Channel(UnixAddress(address), GARCON)
        times = []
        for _ in range(ROUNDS):
            stamp.unlink(missing_ok=True)
            began = time.time_ns()
            await channel.call(
                "LaunchApplication", pb.LaunchApplicationRequest(desktop_file_id="org.example.Stamp"), timeout=60
            )
            measured.wait("it ran", stamp.exists, 0.001)
            times.append((int(stamp.read_text()) - began) / 1e6)
        await channel.close()
        return times

    return statistics.median(asyncio.run(launch()))


def _helper(measured: Stage) -> float:
    """The program behind xdg-open; the host's answer is part of it, so an opener that ends at once is set."""
    times = []
    python = os.environ.get("BENCH_PYTHON", sys.executable)
    for _ in range(ROUNDS):
        began = time.monotonic()
        subprocess.run(
            [python, "-m", "garcon", "--client", "--terminal"],
            env=measured.guest_environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
        )
        times.append((time.monotonic() - began) * 1000)
    return statistics.median(times)


def _idle(measured: Stage) -> tuple[float, float, float]:
    pid = measured.processes["garcon"].pid
    time.sleep(5)
    before = _switches(pid)
    time.sleep(IDLE_SECONDS)
    wakeups = (_switches(pid) - before) / IDLE_SECONDS
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:] if ":" in line
    )
    return int(fields["Rss"].split()[0]) / 1024, int(fields["Pss"].split()[0]) / 1024, wakeups


def _switches(pid: int) -> int:
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


if __name__ == "__main__":
    main()

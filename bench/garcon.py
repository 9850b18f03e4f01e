"""How quickly garcon registers, publishes and launches, and what it costs when idle.

``./dev bench garcon``: medians of real processes on this machine; nothing here is a test. The peer of the idle rows
is a bare gRPC server with one connection, in the same interpreter: the least that a program with gRPC can cost.
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
GRPC_THREADS = ("grpc_", "event_engine", "lifeguard", "timer_manager", "default-exec", "resolver-exec")
"""Prefixes of the names of gRPC's own threads, in its versions from 1.48 to 1.85."""

PEER = """
import asyncio, sys
import grpc

async def main():
    async def answer(request, context):
        return request

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("peer.Peer", {"Call": method}),))
    server.add_insecure_port(sys.argv[1])
    await server.start()
    channel = grpc.aio.insecure_channel(sys.argv[1])
    await channel.unary_unary("/peer.Peer/Call", bytes, bytes)(b"x")
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def main() -> None:
    """Measure and print."""
    rows: list[tuple[str, float, str, int | None]] = []
    with stage("bench") as measured:
        _install(measured, ENTRIES)
        measured.host_environ["GUESTLINK_HOST_OPENER"] = "true"
        measured.start_host()
        measured.host("add", measured.name)
        rows.append((f"start to registered, {ENTRIES} entries", _registration(measured), "ms", 150))
        measured.start_garcon()
        measured.wait_registered()
        measured.wait("all launchers", lambda: len(measured.launchers()) == ENTRIES)
        rows.append(("new .desktop file to launcher on the host", _appearing(measured), "ms", 400))
        rows.append(("launch request to exec", _launching(measured), "ms", 30))
        rows.append(("xdg-open helper, whole process", _helper(measured), "ms", 40))
        pid = measured.processes["garcon"].pid
        with subprocess.Popen(
            [sys.executable, "-c", PEER, f"unix:{measured.root}/peer.sock"], stdout=subprocess.PIPE
        ) as peer:
            assert peer.stdout is not None
            peer.stdout.readline()
            (own, grpcs), (_, peers) = _wakeups(pid, peer.pid)
            rows.append(("RSS idle", _memory(pid, "Rss"), "MB", None))
            rows.append(("PSS idle", _memory(pid, "Pss"), "MB", 35))
            rows.append(("  a bare gRPC server", _memory(peer.pid, "Pss"), "MB", None))
            rows.append((f"wake-ups idle, over {IDLE_SECONDS} s", own, "/s", 1))
            rows.append(("  besides, in gRPC's own threads", grpcs, "/s", None))
            rows.append(("  a bare gRPC server", peers, "/s", None))
            peer.terminate()
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
    """From the command's call to guestlink-host to the first line of the program."""
    stamp = measured.root / "stamp"
    program = measured.root / "program"
    program.write_text(f"#!/bin/sh\ndate +%s%N > {stamp}.new; mv {stamp}.new {stamp}\n")
    program.chmod(0o755)
    measured.add_application("org.example.Stamp", Exec=str(program))
    measured.wait("it is published", lambda: any("Stamp" in path.name for path in measured.launchers()))

    times = []
    for _ in range(ROUNDS):
        stamp.unlink(missing_ok=True)
        began = time.time_ns()
        measured.ask_host("launch", name=measured.name, id="org.example.Stamp", files=[])
        measured.wait("it ran", stamp.exists, 0.001)
        times.append((int(stamp.read_text()) - began) / 1e6)
    return statistics.median(times)


def _helper(measured: Stage) -> float:
    """The program behind xdg-open, including the host's answer."""
    times = []
    python = os.environ.get("BENCH_PYTHON", sys.executable)
    for _ in range(ROUNDS):
        began = time.monotonic()
        subprocess.run(
            [python, "-m", "garcon", "--client", "--url", "https://example.org/"],
            env=measured.guest_environ,
            stdin=subprocess.DEVNULL,
            check=True,
            timeout=60,
        )
        times.append((time.monotonic() - began) * 1000)
    return statistics.median(times)


def _memory(pid: int, key: str) -> float:
    """A value of smaps_rollup in MB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) / 1024


def _wakeups(*pids: int) -> list[tuple[float, float]]:
    """Voluntary context switches a second of each process: in its own threads, and in gRPC's."""
    time.sleep(5)
    before = [_switches(pid) for pid in pids]
    time.sleep(IDLE_SECONDS)
    after = [_switches(pid) for pid in pids]
    return [
        ((own - own_before) / IDLE_SECONDS, (grpcs - grpcs_before) / IDLE_SECONDS)
        for (own_before, grpcs_before), (own, grpcs) in zip(before, after, strict=True)
    ]


def _switches(pid: int) -> tuple[int, int]:
    own = grpcs = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        (line,) = (t for t in (task / "status").read_text().splitlines() if t.startswith("voluntary_ctxt_switches"))
        if (task / "comm").read_text().startswith(GRPC_THREADS):
            grpcs += int(line.split()[1])
        else:
            own += int(line.split()[1])
    return own, grpcs


if __name__ == "__main__":
    main()

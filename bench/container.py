"""The packages in an unprivileged container: time from boot to registration, and the cost of idle units.

``./dev bench container [SUITE…]``: as root; medians of cold boots of Debian 12 and 13, beside the figures of the
container's own systemd and D-Bus daemon in the same runs. Nothing here is a test.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.machine import UnprivilegedMachine, install_packages
from support.pair import CARRIED, SUITES, TOKEN, guest_rootfs, outside
from support.stage import CHECKOUT

BOOTS = 5
SETTLE_SECONDS = 10
IDLE_SECONDS = 30
UNITS = ("guestlink-garcon.service", "guestlink-sommelier@0.service", "app-guestlink-vshd@*.service")
"""The last one is the vshd that garcon keeps warm."""
PEERS = ("dbus.service", "init.scope")
"""What runs in every container with a user manager; ``init.scope`` is the manager itself."""
AIM_MEMORY, AIM_WAKEUPS = 60, 2


class Cost(NamedTuple):
    """The cost of an idle unit: MiB of proportional set size, and context switches a second."""

    memory: float
    wakeups: float


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="guestlink-") as scratch:
        Path(scratch).chmod(0o755)
        packages = Path(scratch, "debs")
        subprocess.run([str(CHECKOUT / "packaging/build-deb"), str(packages)], check=True)
        for suite in sys.argv[1:] or SUITES:
            root = Path(scratch, suite)
            subprocess.run(["cp", "-a", "--reflink=auto", str(guest_rootfs(suite)), str(root)], check=True)
            install_packages(root, packages)
            _measure(suite, root)
            shutil.rmtree(root)


def _measure(suite: str, root: Path) -> None:
    print(f"== {suite}, unprivileged LXC, {BOOTS} cold boots")
    registered, managers = [], []
    for boot in range(BOOTS):
        with outside() as made:
            began = time.monotonic()
            mounts = [(made.carried, CARRIED), (made.carried / "token", TOKEN)]
            with UnprivilegedMachine(root, mounts) as machine:
                managers.append(time.monotonic() - began)
                made.stage.wait_registered()
                registered.append(time.monotonic() - began)
                if boot == BOOTS - 1:
                    _idle(machine)
                    _exposure(machine)
    manager, done = statistics.median(managers), statistics.median(registered)
    print(f"start to user manager   {manager:6.2f} s")
    print(f"start to registered     {done:6.2f} s   {done / manager:.2f} of the user manager's")
    print()


def _idle(machine: UnprivilegedMachine) -> None:
    time.sleep(SETTLE_SECONDS)
    names = [*UNITS, *PEERS]
    pids = {name: _pids(machine, name) for name in names}
    before = {name: sum(_switches(machine, pid) for pid in pids[name]) for name in names}
    time.sleep(IDLE_SECONDS)
    costs = {}
    for name in names:
        switches = sum(_switches(machine, pid) for pid in pids[name]) - before[name]
        costs[name] = Cost(sum(_memory(machine, pid) for pid in pids[name]), switches / IDLE_SECONDS)
    for name in names:
        print(f"{name:32} {costs[name].memory:6.1f} MiB PSS   {costs[name].wakeups:5.2f} wake-ups/s")
    memory = sum(costs[name].memory for name in UNITS)
    wakeups = sum(costs[name].wakeups for name in UNITS)
    peers = sum(costs[name].memory for name in PEERS)
    print(f"{'all of ours':32} {memory:6.1f} MiB PSS   {wakeups:5.2f} wake-ups/s", end="   ")
    print(f"{memory / peers:.1f} times systemd's and D-Bus's; aims {AIM_MEMORY} MiB, {AIM_WAKEUPS}/s")


def _pids(machine: UnprivilegedMachine, unit: str) -> list[str]:
    shown = machine.check_user("systemctl", "--user", "show", "-P", "ControlGroup", unit).strip()
    found = machine.root("cat", f"/sys/fs/cgroup{shown}/cgroup.procs").stdout.split()
    if not found and shown:
        group = f"name=systemd:{shown}"
        search = f"grep -lsxF -e '0::{shown}' -e '1:{group}' /proc/[0-9]*/cgroup"
        found = re.findall(r"/proc/(\d+)/", machine.root("sh", "-c", f"{search}; true").stdout)
    return found


def _switches(machine: UnprivilegedMachine, pid: str) -> int:
    text = machine.root("sh", "-c", f"cat /proc/{pid}/task/*/status").stdout
    return sum(int(number) for number in re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", text, re.MULTILINE))


def _memory(machine: UnprivilegedMachine, pid: str) -> float:
    found = re.search(r"^Pss:\s*(\d+)", machine.root("cat", f"/proc/{pid}/smaps_rollup").stdout, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def _exposure(machine: UnprivilegedMachine) -> None:
    for name in (*UNITS[:2], "guestlink-sommelier-x@0.service"):
        said = machine.user("systemd-analyze", "--user", "security", "--no-pager", name)
        last = (said.stdout.strip().splitlines() or [said.stderr.strip()])[-1]
        print(last.removeprefix("→ ").strip())


if __name__ == "__main__":
    main()

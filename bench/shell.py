"""Shells and commands: vshd beside OpenSSH on loopback, beside the least that C can do, and beside ``lxc exec``.

``./dev bench shell [--mib N] [--lxd | --lxc CONTAINER]``: medians of real processes on this machine, no tests.
Both servers run as this user. vshd's other end is a client of C's speed, so that the figures are the server's, and
in the rows with "vsh" our own client; OpenSSH's is ssh, with aes128-gcm and a key. The column "C" is
``shell_peer/vshd.c``: a vshd that only relays frames, one at a time as ChromeOS's does. Ratios are ours to
OpenSSH's and to C's. First bytes are measured with a pause in between, as people open shells.
Echoes are measured on one processor and by turns: on several, a wake-up costs more than everything else, and
the kernel decides by chance whether there is one. On a terminal C's figures are the kernel's
share. Lines down a terminal are measured by turns, too: four processes and a thread of the kernel pass on 4095
bytes at a time, and one run can take twice as long as the next.
"""

from __future__ import annotations

import argparse
import getpass
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from guestlink.vsh import Setup, encode_setup
from support.lxd import GUEST, Image, Lxd
from support.machine import build_rootfs
from support.stage import CHECKOUT, LIMIT
from support.vsh_peer import Vshd, VshPeer

ROUNDS = 15
BYTES = 2000
TURNS = 5
LINES_TURNS = 9
IDLE = 10
TOKEN = "0" * 36
ECHO = "printf g; exec cat"
RAW_ECHO = f"stty raw -echo; {ECHO}"
PAUSE = 0.2
"""Seconds between two shells, because people do not open them without a pause."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


SH = Setup("bench", argv=(b"sh", b"-i"), rows=24, cols=80)


class Measured:
    """The servers, and the client that measures the time.

    :ivar ssh: the ssh command line up to the remote command.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.client, least = str(root / "client"), str(root / "least")
        for program, name in ((self.client, "client.c"), (least, "vshd.c")):
            source = Path(__file__).with_name("shell_peer") / name
            subprocess.run(["gcc", "-O2", "-o", program, str(source)], check=True)
        self.home = {"PATH": PATH, "LANG": "C.UTF-8"}
        self.home["TOKEN"] = TOKEN
        self.home |= {name: os.environ[name] for name in ("LXD_DIR",) if name in os.environ}
        self.vshd = Vshd(root, environ=self.home)
        self.unix = f"unix:{self.vshd.path}"
        (root / "token").write_text(TOKEN)
        (root / "tcp").mkdir()
        self.port = _free_port()
        self.tcp = f"tcp:127.0.0.1:{self.port}"
        variables = self.home | {"PYTHONPATH": os.pathsep.join(str(CHECKOUT / part) for part in ("lib", "guest"))}
        words = [sys.executable, "-m", "vshd", f"--listen={self.tcp}", f"--token-file={root}/token"]
        self.tcp_vshd = subprocess.Popen(words, env=variables)
        _wait_port(self.port)
        self.least = f"unix:{root}/least.sock"
        self.least_vshd = subprocess.Popen([least, f"{root}/least.sock"], env=self.home)
        _wait((root / "least.sock").exists)
        self.sshd, self.ssh = _sshd(root)
        self._servers = (self.vshd.process.pid, self.tcp_vshd.pid, self.least_vshd.pid, self.sshd.pid)

    def take(self, *words: str) -> list[float]:
        """Times, in microseconds."""
        done = subprocess.run([self.client, *words], stdout=subprocess.PIPE, check=True, env=self.home)
        return [float(line) for line in done.stdout.split()]

    def ours(self, mode: str, count: int, setup: Setup, address: str = "") -> list[float]:
        """Times of vshd's sessions."""
        address = address or self.unix
        return self.take(mode, address, encode_setup(setup).hex(), str(count))

    @contextmanager
    def on_one_processor(self) -> Iterator[None]:
        """Pin the servers, and every process that the body starts, to one processor."""
        processes = [psutil.Process(), *map(psutil.Process, self._servers)]
        before = [process.cpu_affinity() for process in processes]
        *others, one = before[0]
        # The kernel may do a terminal's work on another processor; spinning keeps those from going to sleep.
        spin = ["sh", "-c", "while :; do :; done"]
        spinning = [
            subprocess.Popen(["taskset", "-c", str(number), "chrt", "--idle", "0", *spin]) for number in others
        ]
        for process in processes:
            process.cpu_affinity([one])
        try:
            yield
        finally:
            for process, processors in zip(processes, before, strict=True):
                process.cpu_affinity(processors)
            for spinner in spinning:
                spinner.kill()
                spinner.wait()

    def close(self) -> None:
        """Stop the servers."""
        self.vshd.close()
        for process in (self.tcp_vshd, self.least_vshd, self.sshd):
            process.terminate()
            process.wait(LIMIT)


def command(*words: str, nopty: bool = True) -> Setup:
    """A setup for a command."""
    return Setup("bench", argv=tuple(word.encode() for word in words), nopty=nopty, rows=24, cols=80)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024, help="MiB in each direction; 1/16 through a terminal")
    beside = parser.add_mutually_exclusive_group()
    beside.add_argument("--lxc", default="", help="a running LXD container for `lxc exec`")
    beside.add_argument("--lxd", action="store_true", help="an LXD and a container of its own for it; needs root")
    asked = parser.parse_args()
    print(
        f"{'':48} {'vshd':>10} {'OpenSSH':>10} {'lxc exec':>10} {'ratio':>7} {'aim':>8} {'C':>9} {'ratio':>6}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="bench-shell-") as root, ExitStack() as stack:
        if asked.lxd:
            lxd = stack.enter_context(Lxd({GUEST: Image(build_rootfs("bookworm"))}))
            os.environ |= lxd.environ
            asked.lxc = lxd.launch("bench").name
        measured = Measured(Path(root))
        stack.callback(measured.close)
        _times(measured, asked.lxc)
        _volumes(measured, asked.mib, asked.lxc)
        _memory(measured)


def row(
    what: str,
    unit: str,
    ours: float,
    ssh: float,
    lxc: float | None = None,
    aim: str = "",
    least: float | None = None,
) -> None:
    """Print one."""
    other = f"{lxc:10.2f}" if lxc is not None else f"{'':10}"
    last = f"{least:9.2f} {ours / least:6.2f}" if least is not None else f"{'':16}"
    print(f"{what:48} {ours:10.2f} {ssh:10.2f} {other} {ours / ssh:7.2f} {aim:>8} {last} {unit}", flush=True)


def _times(measured: Measured, container: str) -> None:
    median = statistics.median
    lxc = ["lxc", "exec", "-T", container, "--"] if container else []

    def beside(mode: str, count: int, *words: str) -> float | None:
        return median(measured.take(mode, str(count), *lxc, *words)) / 1e3 if lxc else None

    ssh = median(measured.take("run", str(ROUNDS), *measured.ssh, "true")) / 1e3
    other = beside("run", ROUNDS, "true")
    for name, address in (("unix", measured.unix), ("tcp", measured.tcp)):
        ours = median(measured.ours("exit", ROUNDS * 4, command("true"), address)) / 1e3
        row(f"connect to exit of true, {name}", "ms", ours, ssh, other, "≤ 0.15")
    vsh = [sys.executable, "-m", "guestlink_host.vsh", f"--connect={measured.unix}", "--", "true"]
    path = os.pathsep.join(str(CHECKOUT / part) for part in ("lib", "host"))
    ours = median(measured.take("run", str(ROUNDS), "env", f"PYTHONPATH={path}", *vsh)) / 1e3
    row("  the same by vsh, client and all", "ms", ours, ssh, other)
    shells = {"the login shell's": (Setup("bench", rows=24, cols=80), []), "sh -i's": (SH, ["sh -i"])}
    for what, (setup, words) in shells.items():
        times: dict[str, list[float]] = {"ours": [], "tcp": [], "C": [], "ssh": []}
        for _ in range(ROUNDS):
            for name, address in (("ours", measured.unix), ("tcp", measured.tcp), ("C", measured.least)):
                time.sleep(PAUSE)
                times[name] += measured.ours("first", 1, setup, address)
            times["ssh"] += measured.take("await", "1", *measured.ssh, "-tt", *words)
        ours, tcp, least, theirs = (median(times[name]) / 1e3 for name in ("ours", "tcp", "C", "ssh"))
        row(f"connect to {what} first byte", "ms", ours, theirs, least=least)
        row("  the same over TCP, with its handshake", "ms", tcp, theirs)
    with measured.on_one_processor():
        _echoes(measured, lxc)


def _echoes(measured: Measured, lxc: list[str]) -> None:
    for what, script, nopty in (("no pty", ECHO, True), ("pty", RAW_ECHO, False)):
        setup = command("sh", "-c", script, nopty=nopty)
        switches = [] if nopty else ["-tt"]
        ours: dict[str, list[float]] = {"unix": [], "tcp": []}
        least: list[float] = []
        theirs: list[float] = []
        others: list[float] = []
        for _ in range(TURNS):
            for name, address in (("unix", measured.unix), ("tcp", measured.tcp)):
                ours[name] += measured.ours("echo", BYTES // TURNS, setup, address)
            least += measured.ours("echo", BYTES // TURNS, setup, measured.least)
            theirs += measured.take("talk", str(BYTES // TURNS), *measured.ssh, *switches, script)
            if lxc and nopty:
                others += measured.take("talk", str(BYTES // TURNS), *lxc, "sh", "-c", script)
        for times in (*ours.values(), theirs, others, least):
            times.sort()
        for percentile, place in (("p50", BYTES // 2), ("p99", BYTES * 99 // 100)):
            for name, times in ours.items():
                aim = "≤ 0.5" if percentile == "p50" else ""
                other = others[place] if others and name == "unix" else None
                beside = least[place] if name == "unix" else None
                what_row = f"echo of a byte, {what}, {name}, {percentile}"
                row(what_row, "µs", times[place], theirs[place], other, aim, beside)


def _volumes(measured: Measured, mib: int, container: str) -> None:
    size = mib << 20
    text = measured.root / "text"
    with open(text, "wb") as file:
        for _ in range(max(mib // 16, 1)):
            file.write((b"0123456789abcde" * 5 + b"fghi\n") * 13107 + b"12345678901\n" * 1)
    ssh = " ".join(_quoted(word) for word in measured.ssh)

    # The time of a key exchange is subtracted: it has a row of its own, and these rows compare throughput.
    nothing = statistics.median(measured.take("run", "5", *measured.ssh, "true"))

    def rate(times: list[float], amount: int = size, before: float = 0.0) -> float:
        return amount / (1 << 20) / ((statistics.median(times) - before) / 1e6)

    def timed(script: str) -> float:
        before = nothing if script.count(ssh) else 0.0
        return rate(measured.take("run", "3", "sh", "-c", script), before=before)

    lxc = f"lxc exec -T {container} --" if container else ""
    down, up = f"head -c {size} /dev/zero", f"head -c {size} /dev/zero | "
    theirs = timed(f"{ssh} {_quoted(down)} > /dev/null")
    other = timed(f"{lxc} {down} > /dev/null") if lxc else None
    for name, address in (("unix", measured.unix), ("tcp", measured.tcp)):
        ours = rate(measured.ours("down", 3, command(*down.split()), address))
        row(f"{mib} MiB down, no pty, {name}", "MiB/s", ours, theirs, other, "≥ 1.5")
    theirs = timed(f"{up} {ssh} 'cat > /dev/null'")
    other = timed(f"{up} {lxc} sh -c 'cat > /dev/null'") if lxc else None
    for name, address in (("unix", measured.unix), ("tcp", measured.tcp)):
        times = [*(measured.ours("up", size, command("sh", "-c", "cat > /dev/null"), address)[0] for _ in range(3))]
        row(f"{mib} MiB up, no pty, {name}", "MiB/s", rate(times), theirs, other, "≥ 1.5")
    amount = text.stat().st_size
    addresses = {"unix": measured.unix, "tcp": measured.tcp, "C": measured.least}
    lines: dict[str, list[float]] = {name: [] for name in ("ssh", *addresses)}
    for _ in range(LINES_TURNS):
        lines["ssh"] += measured.take("run", "1", "sh", "-c", f"{ssh} -tt 'cat {text}' < /dev/null > /dev/null")
        for name, address in addresses.items():
            lines[name] += measured.ours("down", 1, command("cat", str(text), nopty=False), address)
    theirs, least = rate(lines["ssh"], amount, nothing), rate(lines["C"], amount)
    for name in ("unix", "tcp"):
        what = f"{amount >> 20} MiB of lines down a pty, {name}"
        row(what, "MiB/s", rate(lines[name], amount), theirs, None, "≥ 1.0", least if name == "unix" else None)


def _memory(measured: Measured) -> None:
    """The memory of one more idle session: the processes between the connection and the target."""
    peers: list[VshPeer] = []
    clients: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(IDLE):
            peers.append(measured.vshd.peer().begin(command("sleep", "1000")))
            clients.append(subprocess.Popen([*measured.ssh, "exec cat"], stdin=subprocess.PIPE))
        sessions = {psutil.Process(peer.answer.pid).ppid() for peer in peers if peer.answer}
        ours = [_private(pid) for pid in sessions]
        # A program that reads its input ends with the connection, where sshd has given it no terminal.
        _wait(lambda: len(_programs(measured.sshd.pid, "cat")) == IDLE)
        sshd = _programs(measured.sshd.pid, "sshd")
        theirs = sum(_private(process.pid) for process in sshd) / IDLE
        row("private memory of an idle session", "MB", statistics.median(ours), theirs, None, "≤ 4 MB")
        rss = statistics.median(psutil.Process(pid).memory_info().rss / 1e6 for pid in sessions)
        their_rss = sum(process.memory_info().rss for process in sshd) / 1e6
        row("RSS of an idle session, shared pages and all", "MB", rss, their_rss / IDLE)
    finally:
        for client in clients:
            client.kill()
            client.communicate()
        for peer in peers:
            peer.sock.close()


def _programs(pid: int, name: str) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += [process] if process.name().startswith(name) else []
    return found


def _private(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024 / 1e6


def _sshd(root: Path) -> tuple[subprocess.Popen[bytes], list[str]]:
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)], check=True)
    port = _free_port()
    config = f"""\
Port {port}
ListenAddress 127.0.0.1
HostKey {root}/host_key
AuthorizedKeysFile {root}/key.pub
PidFile {root}/sshd.pid
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
PrintMotd no
PrintLastLog no
UseDNS no
LogLevel ERROR
MaxStartups 100
"""
    (root / "sshd_config").write_text(config)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    program = shutil.which("sshd", path=PATH) or "sshd"
    sshd = subprocess.Popen([program, "-D", "-f", str(root / "sshd_config")])
    _wait_port(port)
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes")
    words = ["ssh", "-F", "none", "-p", str(port), "-i", str(root / "key"), "-c", "aes128-gcm@openssh.com"]
    words += [word for option in options for word in ("-o", option)]
    return sshd, [*words, f"{getpass.getuser()}@127.0.0.1"]


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


@contextmanager
def _port() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def _free_port() -> int:
    with _port() as port:
        return port


def _wait_port(port: int) -> None:
    def answers() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    _wait(answers)


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("bench: a server did not start")
        time.sleep(0.02)


if __name__ == "__main__":
    main()

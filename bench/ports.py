"""What a forwarded port costs, beside the forwarders that people use.

``./dev bench ports``: guestlink-host, RootlessKit's builtin port driver, pasta, ``ssh -L`` and two socats, each
between this machine and a network namespace of its own with an iperf3 server and an echo server. Throughput is
iperf3's to the container; a request is one byte there and back on a connection that is open, and the same with a
new connection. Then guestlink-host alone: connections at once, connections in a row with what they leave, and the
time until a forward works again after its process and the daemon were killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import psutil

from support.ports import OWN_NETWORK, free_port
from support.stage import Stage, stage

SECONDS, ROUNDS = 3, 3
"""Seconds of one iperf3 run, and turns in which every forwarder is measured."""
REQUESTS, CONNECTIONS = 3000, 300
AT_ONCE = 5000
IN_A_ROW = 100_000
_ECHO = """
import socket, sys, threading
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
threading.stack_size(65536)
def serve(connection):
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while piece := connection.recv(65536):
                connection.sendall(piece)
        except OSError:
            pass
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""
_SERVERS = 'iperf3 -s -p "$1" >/dev/null & exec "$2" -c "$3" "$4"'


class Forwarder:
    """One way from here to the two servers.

    :ivar bulk: the port here that leads to iperf3; ``echo`` to the echo server.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.bulk, self.echo = free_port(), free_port()
        self.bulk_inside, self.echo_inside = free_port(), free_port()
        self.throughput: list[float] = []
        self.request: list[float] = []
        self.connection: list[float] = []

    @property
    def servers(self) -> list[str]:
        """The command line that runs both servers."""
        return ["sh", "-c", _SERVERS, "sh", str(self.bulk_inside), "/usr/bin/python3", _ECHO, str(self.echo_inside)]

    def measure(self) -> None:
        self.throughput.append(self._iperf())
        self.request += self._requests()
        self.connection += self._connections()

    def works(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.echo), 2) as sock:
            sock.settimeout(2)
            sock.sendall(b"x")
            return sock.recv(1) == b"x"
        return False

    def _iperf(self) -> float:
        argv = ["iperf3", "-c", "127.0.0.1", "-p", str(self.bulk), "-t", str(SECONDS), "-J"]
        for _ in range(20):
            done = subprocess.run(argv, capture_output=True, check=False, timeout=SECONDS + 30)
            end = json.loads(done.stdout)["end"] if done.returncode == 0 else {}
            if "sum_received" in end:
                return float(end["sum_received"]["bits_per_second"]) / 1e9
            time.sleep(0.5)  # After each run iperf3's server closes its socket, and listens anew.
        raise SystemExit(f"iperf3 fails through {self.name}: {done.stdout[-300:]!r}")

    def _requests(self) -> list[float]:
        took = []
        with socket.create_connection(("127.0.0.1", self.echo)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(REQUESTS):
                began = time.perf_counter()
                sock.sendall(b"x")
                sock.recv(1)
                took.append((time.perf_counter() - began) * 1e6)
        return took

    def _connections(self) -> list[float]:
        took = []
        for _ in range(CONNECTIONS):
            began = time.perf_counter()
            with socket.create_connection(("127.0.0.1", self.echo)) as sock:
                sock.sendall(b"x")
                sock.recv(1)
            took.append((time.perf_counter() - began) * 1e6)
        return took


@contextlib.contextmanager
def running(argv: list[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process group that ends with the block."""
    null = subprocess.DEVNULL
    process = subprocess.Popen(argv, stdin=null, stdout=null, stderr=null, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def in_network(pid: int, *argv: str) -> list[str]:
    """A command line in the network of a process."""
    return ["nsenter", f"--target={pid}", "--net", *argv]


@contextlib.contextmanager
def direct(one: Forwarder) -> Iterator[None]:
    """No forwarder: the servers of this machine."""
    one.bulk_inside, one.echo_inside = one.bulk, one.echo
    with running(one.servers):
        yield


@contextlib.contextmanager
def guestlink(one: Forwarder) -> Iterator[None]:
    """guestlink-host."""
    with stage("bench") as made:
        pid = start(made)
        with running(in_network(pid, *one.servers)):
            forwards = [f"{one.bulk}:{one.bulk_inside}", f"{one.echo}:{one.echo_inside}"]
            made.host("ports", made.name, "--forward", *forwards)
            yield


def start(made: Stage) -> int:
    """Start a host, and garcon in a network of its own; returns garcon's process."""
    made.start_host()
    made.host("add", made.name)
    argv = [*OWN_NETWORK, sys.executable, "-m", "garcon", "--server", "--allow_any_user"]
    pid = made.start("garcon", argv, made.guest_environ).pid
    made.wait_registered()
    return pid


@contextlib.contextmanager
def rootlesskit(one: Forwarder) -> Iterator[None]:
    """RootlessKit; slirp4netns makes its network, and carries no byte of the forwards."""
    ports = [f"-p=127.0.0.1:{here}:{there}/tcp" for here, there in
             ((one.bulk, one.bulk_inside), (one.echo, one.echo_inside))]  # fmt: skip
    argv = ["rootlesskit", "--net=slirp4netns", "--disable-host-loopback", "--port-driver=builtin", *ports]
    home = Path("/tmp/guestlink-bench-home")
    home.mkdir(exist_ok=True)
    environ = dict(os.environ) | {"HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    with running(argv + one.servers, env=environ):
        yield
    shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def pasta(one: Forwarder) -> Iterator[None]:
    """pasta, whose loopback connections are spliced."""
    ports = [f"{one.bulk}:{one.bulk_inside}", f"{one.echo}:{one.echo_inside}"]
    # It gives up root's rights by itself, and then cannot enter its own network.
    argv = [
        "setpriv",
        "--reuid=1000",
        "--regid=1000",
        "--clear-groups",
        "pasta",
        "-f",
        *(word for port in ports for word in ("-t", f"127.0.0.1/{port}")),
        "--",
        *one.servers,
    ]
    with running(argv):
        yield


@contextlib.contextmanager
def ssh(one: Forwarder) -> Iterator[None]:
    """``ssh -L``, with an sshd in the network."""
    keys = Path("/tmp/guestlink-bench-ssh")
    shutil.rmtree(keys, ignore_errors=True)
    keys.mkdir(mode=0o700)
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name], check=True)
    shutil.copy(keys / "user.pub", keys / "authorized")
    with running([*OWN_NETWORK, *one.servers]) as servers:
        sshd = f"/usr/sbin/sshd -i -f /dev/null -h {keys}/host -o AuthorizedKeysFile={keys}/authorized"
        proxy = " ".join(in_network(servers.pid, sshd + " -o StrictModes=no -o PermitRootLogin=yes"))
        options = ["-F", "/dev/null", "-i", str(keys / "user"), "-o", "StrictHostKeyChecking=no",
                   "-o", f"UserKnownHostsFile={keys}/known", "-o", f"ProxyCommand={proxy}"]  # fmt: skip
        forwards = [f"-L127.0.0.1:{one.bulk}:127.0.0.1:{one.bulk_inside}",
                    f"-L127.0.0.1:{one.echo}:127.0.0.1:{one.echo_inside}"]  # fmt: skip
        with running(["ssh", *options, "-N", *forwards, "root@bench"]):
            yield
    shutil.rmtree(keys, ignore_errors=True)


@contextlib.contextmanager
def socat(one: Forwarder) -> Iterator[None]:
    """Two socats with a Unix socket between them."""
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(running([*OWN_NETWORK, *one.servers]))
        time.sleep(0.5)
        for here, there in ((one.bulk, one.bulk_inside), (one.echo, one.echo_inside)):
            path = f"/tmp/guestlink-bench-{here}.sock"
            far = ["socat", f"UNIX-LISTEN:{path},fork,unlink-early", f"TCP:127.0.0.1:{there},nodelay"]
            stack.enter_context(running(in_network(servers.pid, *far)))
            near = f"TCP-LISTEN:{here},bind=127.0.0.1,fork,reuseaddr,nodelay,backlog=4096"
            stack.enter_context(running(["socat", near, f"UNIX-CONNECT:{path}"]))
            stack.callback(Path(path).unlink, missing_ok=True)
        yield


WAYS: tuple[Callable[[Forwarder], contextlib.AbstractContextManager[None]], ...] = (
    direct, guestlink, rootlesskit, pasta, ssh, socat,
)  # fmt: skip


def main() -> None:
    """Measure and print."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    if "alone" not in sys.argv:
        _compare()
    with stage("bench") as made:
        _alone(made)


def _compare() -> None:
    with contextlib.ExitStack() as stack:
        forwarders = []
        for way in WAYS:
            one = Forwarder(way.__name__)
            inner = contextlib.ExitStack()
            try:
                inner.enter_context(way(one))
                deadline = time.monotonic() + 20
                while not one.works():
                    if time.monotonic() > deadline:
                        raise OSError("it does not work here")
                    time.sleep(0.1)
            except OSError as error:
                print(f"{one.name}: left out: {error}")
                inner.close()
                continue
            stack.enter_context(inner)
            forwarders.append(one)
        for _ in range(ROUNDS):
            for one in forwarders:
                one.measure()
        _print(forwarders)


def _print(forwarders: list[Forwarder]) -> None:
    ours = next(one for one in forwarders if one.name == "guestlink")
    print(f"{'':14}{'Gbit/s':>9}{'ours/it':>9}{'request µs':>12}{'ours/it':>9}{'new µs':>9}{'ours/it':>9}")
    values = {}
    for one in forwarders:
        values[one] = [statistics.median(kind) for kind in (one.throughput, one.request, one.connection)]
    for one, found in values.items():
        cells = "".join(
            f"{value:>{width}.1f}{mine / value:>9.2f}"
            for value, mine, width in zip(found, values[ours], (9, 12, 9), strict=True)
        )
        print(f"{one.name:14}{cells}")


def _alone(made: Stage) -> None:
    pid = start(made)
    one = Forwarder("guestlink")
    with running(in_network(pid, *one.servers)):
        made.host("ports", made.name, "--forward", f"{one.echo}:{one.echo_inside}")
        _until(one.works)
        relay = _relay(made)
        before = (relay.num_fds(), psutil.Process(pid).num_fds(), relay.memory_info().rss)
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            many = [
                stack.enter_context(socket.create_connection(("127.0.0.1", one.echo), 30)) for _ in range(AT_ONCE)
            ]
            for sock in many:
                sock.settimeout(60)
                sock.sendall(b"x")
            answered = sum(sock.recv(1) == b"x" for sock in many)
            grown = (relay.memory_info().rss - before[2]) / 1e6
        print(f"{answered} of {AT_ONCE} connections at once: {time.monotonic() - began:.1f} s, {grown:.0f} MB")
        began = time.monotonic()
        for _ in range(IN_A_ROW):
            with socket.create_connection(("127.0.0.1", one.echo), 30) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.sendall(b"x")
                sock.recv(1)
        took = time.monotonic() - began
        _until(lambda: relay.num_fds() <= before[0] + 60)  # Pipes stay for the next connections.
        after = (relay.num_fds(), psutil.Process(pid).num_fds(), relay.memory_info().rss)
        print(f"{IN_A_ROW} connections in a row: {IN_A_ROW / took:.0f}/s")
        print(f"  descriptors of its process and of garcon, bytes: {before}, then {after}")
        for what, kill in (
            ("its process is killed", lambda: _relay(made).kill()),
            ("the daemon is killed", lambda: _restart_host(made)),
        ):
            kill()
            began = time.monotonic()
            _until(one.works)
            print(f"the forward works again {time.monotonic() - began:.2f} s after {what}")


def _restart_host(made: Stage) -> None:
    made.stop("host", signal.SIGKILL)
    made.start_host()


def _relay(made: Stage) -> psutil.Process:
    for child in psutil.Process(made.processes["host"].pid).children():
        if "relay_process" in " ".join(child.cmdline()):
            return child
    raise SystemExit("there is no relay process")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("it did not happen")
        time.sleep(0.01)


if __name__ == "__main__":
    main()

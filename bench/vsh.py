"""The client's part of a session: how long vsh takes to start, to run a command, and to transfer bytes.

``./dev bench vsh``: medians of real processes on this machine, in turn with OpenSSH's client on the loopback
interface in the same run; nothing here is a test. vsh is installed as a package installs it. Whole runs of ``vsh``
go through guestlink-host and garcon; ssh's go through a TCP port, a key exchange and a log-in.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.stage import CHECKOUT, Stage, stage

ROUNDS = 21
BYTES = 256 * 1024 * 1024


def main() -> None:
    """Measure and print."""
    with stage("bench") as measured:
        vsh = _install(measured)
        measured.start_host()
        measured.host("add", measured.name)
        measured.start_garcon()
        measured.wait("the container can be called", lambda: measured.host_json("list")[0]["username"])
        zeros = measured.root / "zeros"
        with zeros.open("wb") as stream:
            stream.truncate(BYTES)
        with _sshd(measured) as ssh:
            ours = [vsh, measured.name, "--"]
            sink = "cat >/dev/null"
            rows = [
                ("start: the version and nothing else", [vsh, "--version"], ["ssh", "-V"], 1),
                ("a whole run of `true`", [*ours, "true"], [*ssh, "true"], 1),
                ("from the container, no terminal", [*ours, "cat", str(zeros)], [*ssh, f"cat {zeros}"], BYTES),
                (
                    "into the container, no terminal",
                    [*ours, "sh", "-c", sink],
                    [*ssh, sink],
                    BYTES,
                ),
            ]
            print(f"{'':36} {'vsh':>12} {'ssh':>12} {'ratio':>7}")
            for what, our, their, count in rows:
                upload = zeros if what.startswith("into") else None
                rounds = ROUNDS if count == 1 else 5
                own, other = _by_turns(measured, (our, their), rounds, upload)
                if count == 1:
                    print(f"{what:36} {own * 1000:9.1f} ms {other * 1000:9.1f} ms {own / other:7.2f}")
                else:
                    mib = count / 1024 / 1024
                    print(f"{what:36} {mib / own:6.0f} MiB/s {mib / other:6.0f} MiB/s {other / own:7.2f}")


def _install(measured: Stage) -> str:
    """Install as a package does; returns the program's path."""
    prefix = measured.root / "installed"
    subprocess.run(
        ["make", "-s", "install", f"PREFIX={prefix}"],
        cwd=CHECKOUT,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=300,
    )
    return str(prefix / "bin/vsh")


def _by_turns(
    measured: Stage, commands: tuple[Sequence[str], Sequence[str]], rounds: int, upload: Path | None
) -> tuple[float, float]:
    """Median seconds of both commands."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for command, taken in zip(commands, times, strict=True):
            with open(upload or os.devnull, "rb") as stdin:
                began = time.perf_counter()
                subprocess.run(
                    command, env=measured.host_environ, stdin=stdin, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL, check=True, timeout=300,
                )  # fmt: skip
                taken.append(time.perf_counter() - began)
    return statistics.median(times[0]), statistics.median(times[1])


@contextmanager
def _sshd(measured: Stage) -> Iterator[list[str]]:
    """An sshd on the loopback interface with keys of its own; yields the ssh command line that connects to it."""
    root = measured.root / "sshd"
    root.mkdir()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    settings = (
        f"Port={port}", "ListenAddress=127.0.0.1", f"HostKey={root}/host", f"AuthorizedKeysFile={root}/user.pub",
        "StrictModes=no", "UsePAM=no", "PidFile=none", "PermitRootLogin=yes",
    )  # fmt: skip
    options = [word for setting in settings for word in ("-o", setting)]
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", "/dev/null", *options])
    ssh = [
        "ssh", "-F", "/dev/null", "-p", str(port), "-i", str(root / "user"), "-c", "aes128-gcm@openssh.com",
        "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "127.0.0.1",
    ]  # fmt: skip
    try:
        measured.wait("sshd answers", lambda: _answers(port))
        yield ssh
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()

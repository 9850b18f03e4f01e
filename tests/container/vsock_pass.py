"""Runs as root in a virtual machine: a host, an LXC container, and vsock between them. Prints the observations.

With vsock_loopback and no other transport, context ids 1 and 2 both mean this machine, and every connection shows 1
as its peer's context id. A connection from the host is therefore a stranger's where garcon expects ChromeOS's host,
and the host's where garcon's settings name id 1. guestlink-host begins with a handshake, and garcon's settings have
to say that its host is guestlink-host; ChromeOS has no handshake.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

LIMIT = 300.0
"""Time limit of any step, in seconds; the machine is emulated, on a computer that may be busy."""
CONTAINER = Path("/var/lib/lxc/box")
SESSION = (
    "HOME=/home/user USER=user XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus"
)
BECOME = ["setpriv", "--reuid=1000", "--regid=1000", "--init-groups", "env", *SESSION.split()]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
CONFIG = """\
lxc.include = /usr/share/lxc/config/common.conf
lxc.rootfs.path = dir:/var/lib/lxc/box/rootfs
lxc.uts.name = box
lxc.apparmor.profile = unconfined
lxc.net.0.type = empty
lxc.mount.entry = /run/user/1000/guestlink-host/tokens/box dev/.container_token none bind,ro,create=file 0 0
"""


def say(name: str, value: object) -> None:
    print(f"SEEN {name}: {value}", flush=True)


def run(*argv: str, stdin: str = "") -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=LIMIT, check=False)
    return (
        done.stdout if done.returncode == 0 else f"failed {done.returncode}: {done.stdout}{done.stderr}"
    ).strip()


def user(*argv: str) -> str:
    return run(*BECOME, *argv)


def inside(*argv: str) -> str:
    return run("lxc-attach", "-n", "box", "--clear-env", "--", *BECOME, "PATH=/usr/bin:/bin", *argv)


def entry(name: str = "box") -> dict[str, Any]:
    with_name = {container["name"]: container for container in json.loads(user("guestlink-host", "list", "--json"))}
    return dict(with_name[name])


def wait(what: str, condition: Any) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            say("it did not happen", what)
            print(run("lxc-attach", "-n", "box", "--", "journalctl", "-b", "-n", "40", "--no-pager"), flush=True)
            raise SystemExit(1)
        time.sleep(0.3)


def answers(cid: int, port: int) -> bool:
    """Whether a server answers at this address, instead of closing the connection."""
    with socket.socket(socket.AF_VSOCK) as sock:
        sock.settimeout(30)
        try:
            sock.connect((cid, port))
            sock.sendall(PREFACE)
            return sock.recv(9) != b""
        except OSError:
            return False


def make_container() -> None:
    for name in ("rw", "rootfs"):
        (CONTAINER / name).mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "rw", str(CONTAINER / "rw")], check=True)
    upper, work = CONTAINER / "rw/upper", CONTAINER / "rw/work"
    (upper / "etc").mkdir(parents=True)
    (upper / "etc/hostname").write_text("box\n")
    work.mkdir()
    options = f"lowerdir=/,upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "o", "-o", options, str(CONTAINER / "rootfs")], check=True)
    (CONTAINER / "config").write_text(CONFIG)


def see_units_that_rest() -> None:
    """Start the container's units in this machine, which is not a container: they must log why they do nothing."""
    for unit in ("guestlink-garcon.service", "guestlink-sommelier-x@0.service"):
        user("systemctl", "--user", "start", unit)
        run("journalctl", "--sync")
        say(f"state of {unit}", user("systemctl", "--user", "show", "-P", "ActiveState", unit))
        journal = run("journalctl", "-b", "-o", "cat", "--no-pager", "_UID=1000", f"USER_UNIT={unit}")
        say(f"journal of {unit}", " | ".join(dict.fromkeys(journal.splitlines())))
    say("failed units", user("systemctl", "--user", "list-units", "--failed", "--no-legend", "--plain") or "none")


def main() -> None:
    see_units_that_rest()
    user("systemctl", "--user", "start", "guestlink-host")
    say("host", user("systemctl", "--user", "is-active", "guestlink-host"))
    user("guestlink-host", "add", "box", "--listen", "vsock:any:8889", "--garcon", "vsock:1:0")
    user("guestlink-host", "add", "other", "--listen", "vsock:any:8890", "--garcon", "vsock:7:0")
    make_container()
    run("lxc-start", "-n", "box", "-d")
    wait("garcon takes its host for ChromeOS", lambda: "host_kind = linux" in inside("guestlink", "status"))
    say("default", inside("sh", "-c", "guestlink status || true").splitlines()[0])
    say("registered without a handshake", entry()["registered"])
    say("stranger at garcon", answers(1, 10000))
    say("stranger at host", answers(1, 8890))
    say("expected at host", answers(2, 8889))

    setting = CONTAINER / "rootfs/etc/guestlink/guestlink.conf"
    setting.parent.mkdir(exist_ok=True)
    setting.write_text("[garcon]\nhost_address = vsock:1:8889\n")
    inside("systemctl", "--user", "restart", "guestlink-garcon")
    wait("garcon serves its host", lambda: answers(1, 10000))
    say("expected at garcon", answers(1, 10000))

    setting.write_text("[garcon]\nhost_address = vsock:1:8889\nhost_kind = linux\n")
    inside("systemctl", "--user", "restart", "guestlink-garcon")
    wait("garcon is reached", lambda: entry()["registered"] and entry()["reachable"])
    say("told", inside("guestlink", "status").splitlines()[0])
    say("garcon of a Linux host listens", answers(1, 10000))
    wait("its list arrives", lambda: entry()["applications"])
    say("launched", user("guestlink-host", "launch", "box", "org.example.Hello"))
    wait("the application runs", lambda: inside("cat", "/tmp/hello") == "hello from box")
    say("shell", user("vsh", "box", "--", "sh", "-c", "id -un; hostname"))
    say("link", inside("guestlink", "open", "https://example.org/over-vsock"))
    opened = Path("/tmp/opened")
    wait("the link is opened", lambda: opened.exists() and "over-vsock" in opened.read_text())
    token = inside("cat", "/dev/.container_token")
    run("lxc-stop", "-n", "box", "-t", "60")
    wait("it is not registered", lambda: not entry()["registered"])
    say("token after stop", Path("/run/user/1000/guestlink-host/tokens/box").read_text() != token)
    say("end", "reached")


if __name__ == "__main__":
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    if shutil.which("lxc-start") is None:
        say("missing", "lxc")
    main()

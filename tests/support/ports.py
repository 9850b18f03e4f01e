"""Ports for tests, and a network of its own for a container."""

from __future__ import annotations

import random
import socket
import sys

OWN_NETWORK = (
    "unshare",
    "--net",
    sys.executable,
    "-c",
    "import fcntl, os, socket, struct, sys\n"
    "with socket.socket() as sock:\n"  # SIOCSIFFLAGS: the new network's lo goes up
    "    fcntl.ioctl(sock, 0x8914, struct.pack('16sH14x', b'lo', 1))\n"
    "os.execvp(sys.argv[1], sys.argv[1:])",
)
"""The beginning of a command line: the rest runs in a new network, with nothing but loopback addresses. Needs root,
or ``unshare --user`` before it."""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody uses, below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randrange(20000, 30000)
        try:
            for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                with socket.socket(family, kind) as probe:
                    probe.bind((host, port))
        except OSError:
            continue
        return port

"""What a container's programs print, when the host runs them through a container manager, costs the host little."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestlink.program import OUTPUT_LIMIT
from guestlink_host.managers import RUNNING, Instance, Manager
from guestlink_host.managers.inside import complaint
from guestlink_host.managers.lxc import Lxc
from guestlink_host.managers.lxd import Lxd

PRINTED = 3 * OUTPUT_LIMIT
"""Bytes that the container's program prints on each of its streams."""


class _Answers(http.server.BaseHTTPRequestHandler):
    """The answers of a LXD daemon to the calls that run a command."""

    def address_string(self) -> str:
        return ""  # A Unix socket's peer has no address.

    def log_message(self, format: str, *values: object) -> None:
        """Write nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b'{"type": "async", "operation": "/1.0/operations/1"}')

    def do_DELETE(self) -> None:
        self._answer(b'{"type": "sync"}')

    def do_GET(self) -> None:
        if "/wait" in self.path:
            ended = {"return": 0, "output": {"1": "/1.0/out", "2": "/1.0/err"}}
            self._answer(json.dumps({"type": "sync", "metadata": {"metadata": ended}}).encode())
        else:
            self._answer(bytes(PRINTED))

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content)
        except OSError:
            self.close_connection = True  # The host has read enough.


@pytest.fixture(params=["lxc", "lxd"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A container manager; every command in its containers prints a lot."""
    if request.param == "lxc":
        program = tmp_path / "lxc-attach"
        program.write_text(f"#!/bin/sh\nhead -c {PRINTED} /dev/zero\nhead -c {PRINTED} /dev/zero >&2\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        yield Lxc(tmp_path)
        return
    with socketserver.UnixStreamServer(str(tmp_path / "socket"), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Lxd("lxd", tmp_path / "socket")
        finally:
            server.shutdown()
            thread.join()


def test_of_endless_output_the_host_keeps_the_beginning(manager: Manager) -> None:
    instance = Instance(manager.kind, "default", "bad", RUNNING, (), None, "", True, None)
    ran = manager.run(instance, ["guestlink", "doctor", "--json"])
    assert ran.status == 0
    assert (len(ran.stdout), len(ran.stderr)) == (OUTPUT_LIMIT, OUTPUT_LIMIT)
    assert complaint(manager, instance) is None

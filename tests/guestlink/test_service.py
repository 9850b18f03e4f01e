"""The common frame of the daemons, as systemd sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from guestlink.service import Notifier, run_daemon


def _manager(tmp_path: Path) -> tuple[socket.socket, str]:
    path = str(tmp_path / "notify")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(path)
    sock.settimeout(60)
    return sock, path


def test_systemd_hears_ready_status_watchdog_and_stopping(tmp_path: Path) -> None:
    sock, path = _manager(tmp_path)
    program = textwrap.dedent("""
        import asyncio, os
        from guestlink.service import run_daemon

        async def body(notifier):
            assert "NOTIFY_SOCKET" not in os.environ
            notifier.status("hello\\nthere")
            notifier.status("hello\\nthere")
            notifier.ready()
            notifier.ready()
            await asyncio.Event().wait()

        raise SystemExit(asyncio.run(run_daemon(body)))
    """)
    environ = dict(os.environ, NOTIFY_SOCKET=path, WATCHDOG_USEC="100000")
    with sock, subprocess.Popen([sys.executable, "-c", program], env=environ) as process:
        said: list[str] = []
        while said.count("WATCHDOG=1") < 2:
            said.append(sock.recv(200).decode())
        process.send_signal(signal.SIGTERM)
        while said[-1] != "STOPPING=1":
            said.append(sock.recv(200).decode())
        assert process.wait(60) == 0
    assert said.count("READY=1") == 1
    assert said.count("STATUS=hello there") == 1


async def test_a_body_that_fails_ends_the_daemon_with_its_error() -> None:
    async def body(notifier: Notifier) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await run_daemon(body)


async def test_a_signal_lets_the_body_clean_up() -> None:
    cleaned = asyncio.Event()

    async def body(notifier: Notifier) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    assert await run_daemon(body) == 0
    assert cleaned.is_set()


def test_a_clean_up_that_never_ends_does_not_keep_the_daemon_running() -> None:
    program = textwrap.dedent("""
        import asyncio, os, signal
        from guestlink import service

        service.STOP_TIMEOUT = 0.1

        async def body(notifier):
            os.kill(os.getpid(), signal.SIGTERM)
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    print("cancelled", flush=True)

        raise SystemExit(asyncio.run(service.run_daemon(body)))
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        try:
            assert process.communicate(timeout=60)[0] == b"cancelled\n"
        finally:
            process.kill()
    assert process.returncode == 0

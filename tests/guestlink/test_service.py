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


@pytest.mark.parametrize(("ending", "status"), [("signal.raise_signal(signal.SIGTERM)", 0), ("raise OSError", 3)])
def test_a_call_that_hangs_in_a_thread_does_not_keep_the_daemon_running(ending: str, status: int) -> None:
    """A file on a dead mount: no signal ends the call, and asyncio.run would wait for its thread."""
    program = textwrap.dedent(f"""
        import asyncio, signal, threading
        from guestlink import service

        service.THREAD_TIME = 0.1
        never, begun = threading.Event(), threading.Event()

        def hang():
            begun.set()
            never.wait()

        async def body(notifier):
            call = asyncio.ensure_future(asyncio.to_thread(hang))
            await asyncio.to_thread(begun.wait)
            {ending}
            await call

        try:
            status = service.run(body)
        except OSError:
            status = 3
        service.leave(status)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) as process:
        try:
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == status
    assert b"does not end" in said


def test_a_call_in_a_thread_that_ends_soon_is_waited_for() -> None:
    program = textwrap.dedent("""
        import asyncio, signal, threading, time
        from guestlink import service

        service.THREAD_TIME = 60
        begun = threading.Event()

        def write():
            begun.set()
            time.sleep(0.2)
            print("written", flush=True)

        async def body(notifier):
            call = asyncio.ensure_future(asyncio.to_thread(write))
            await asyncio.to_thread(begun.wait)
            signal.raise_signal(signal.SIGTERM)
            await call

        service.leave(service.run(body))
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        try:
            assert process.communicate(timeout=60)[0] == b"written\n"
        finally:
            process.kill()
    assert process.returncode == 0

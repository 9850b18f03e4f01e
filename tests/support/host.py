"""A guestlink-host daemon inside the test's own event loop, with private directories."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from guestlink.control import ControlClient
from guestlink.service import Notifier
from guestlink.tasks import TaskOwner
from guestlink_host.host_daemon import HostDaemon
from guestlink_host.settings import load_settings
from support.fake_garcon import FakeGarcon

_T = TypeVar("_T")
LIMIT = 240.0
"""Time limit of any condition, in seconds; ten thousand launchers take four seconds on an idle machine."""


class Host:
    """A running daemon and the files that its user sees.

    :ivar opened: a file to which the opener writes a line per URL.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"
        self.opened = root / "opened"
        self._tasks = TaskOwner("test host")
        self._task: asyncio.Task[None] | None = None
        self._guests: list[FakeGarcon] = []

    async def start(self) -> None:
        """Start the daemon and wait until it answers."""
        notifier = Notifier()
        self._task = self._tasks.start(HostDaemon(load_settings()).run(notifier), name="daemon")
        while not (self.root / "run/guestlink-host/control.sock").exists():
            if self._task.done():
                await self._task
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Stop the daemon as SIGTERM does."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def ask(self, name: str, /, **fields: Any) -> dict[str, Any]:
        """Send a control call, as a command does."""
        client = ControlClient(self.root / "run/guestlink-host/control.sock")
        return await asyncio.to_thread(client.call, name, **fields)

    async def add(self, name: str = "demo", **fields: Any) -> FakeGarcon:
        """Add a container; returns its fake garcon, which is not registered yet."""
        guest = FakeGarcon(Path((await self.ask("add", name=name, **fields))["directory"]))
        self._guests.append(guest)
        return guest

    async def registered(self, name: str = "demo", **fields: Any) -> FakeGarcon:
        """Add a container and register it; returns its fake garcon."""
        guest = await self.add(name, **fields)
        await guest.register()
        await self.until(lambda: self._reachable(name))
        return guest

    async def _reachable(self, name: str) -> bool:
        return bool((await self.entry(name))["reachable"])

    async def sftp_port(self, name: str) -> int:
        """The port that the container announces for SFTP, once the host can call the container."""
        entry = await self.entry(name)
        return int(entry["sftp_port"]) if entry["reachable"] else 0

    async def entry(self, name: str = "demo") -> dict[str, Any]:
        """The entry of a container in ``list``."""
        containers = (await self.ask("list"))["containers"]
        return next(dict(entry) for entry in containers if entry["name"] == name)

    async def events(self, what: str) -> list[str]:
        """The details of all events of one kind."""
        return [event["detail"] for event in (await self.ask("events"))["events"] if event["event"] == what]

    def launchers(self, pattern: str = "*") -> dict[str, str]:
        """The launcher files, as contents by file name."""
        found = {}
        for path in sorted((self.data / "applications").glob(f"{pattern}.desktop")):
            with contextlib.suppress(FileNotFoundError):
                found[path.name] = path.read_text()
        return found

    def icons(self) -> list[str]:
        """Every icon file, relative to the theme's directory."""
        theme = self.data / "icons/hicolor"
        return sorted(str(path.relative_to(theme)) for path in theme.rglob("*") if path.is_file())

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until a condition holds; the condition may be asynchronous. Returns its value."""
        async with asyncio.timeout(LIMIT):
            while True:
                value = condition()
                if asyncio.iscoroutine(value):
                    value = await value
                if value:
                    return value
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Close both sides."""
        for guest in self._guests:
            await guest.close()
        await self.stop()
        await self._tasks.close()


@contextlib.asynccontextmanager
async def host_in_test(monkeypatch: pytest.MonkeyPatch, **settings: str) -> AsyncIterator[Host]:
    """A daemon with private directories; stops it and removes the directories afterwards.

    :param settings: values of ``guestlink-host.conf``.
    """
    root = Path(tempfile.mkdtemp(prefix="glh-"))
    try:
        for variable, name in (
            ("HOME", ""),
            ("XDG_RUNTIME_DIR", "run"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_CONFIG_HOME", "config"),
        ):
            monkeypatch.setenv(variable, str(root / name))
            (root / name).mkdir(exist_ok=True, mode=0o700)
        for variable in [name for name in os.environ if name.startswith("GUESTLINK_")]:
            monkeypatch.delenv(variable)
        host = Host(root)
        record = root / "record"
        record.write_text(f'#!/bin/sh\nfor word; do echo "$word"; done >> {host.opened}\n')
        record.chmod(0o755)
        values = {"opener": str(record), "terminal": str(record), "shell": "vsh"} | settings
        (root / "config/guestlink").mkdir()
        (root / "config/guestlink/guestlink-host.conf").write_text(
            "".join(f"{key} = {value}\n" for key, value in values.items())
        )
        try:
            await host.start()
            yield host
        finally:
            await host.close()
    finally:
        _remove(root)


def _remove(root: Path) -> None:
    """Remove the whole tree; the opener that started last may still be writing."""
    deadline = time.monotonic() + LIMIT
    while root.exists():
        try:
            shutil.rmtree(root)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def fill_disk(path: Path) -> None:
    """Write a file that fills its file system."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"\0" * 4096)

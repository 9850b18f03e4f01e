"""A session bus, and a stand-in for the user's systemd that starts transient services as child processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from guestlink.child import Child
from support.needs import need

_SYSTEMD, _PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
_STREAMS = ("StandardInputFileDescriptor", "StandardOutputFileDescriptor", "StandardErrorFileDescriptor")
_EXITED, _KILLED = 1, 2
_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={path}/bus</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy></busconfig>
"""


@contextmanager
def session_bus(directory: Path) -> Iterator[str]:
    """A session bus without any service; yields its address."""
    need("dbus-daemon", packages="dbus")
    (directory / "session.conf").write_text(_CONFIG.format(path=directory))
    argv = ["dbus-daemon", f"--config-file={directory}/session.conf", "--nofork", "--print-address"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        try:
            yield daemon.stdout.readline().strip()
        finally:
            daemon.send_signal(signal.SIGTERM)


class FakeUserManager:
    """Answers StartTransientUnit and KillUnit, and announces the exits of the services.

    :ivar started: the properties of each service, by the unit's name.
    """

    def __init__(self, bus: MessageBus) -> None:
        self.started: dict[str, dict[str, Any]] = {}
        self._bus = bus
        self._children: dict[str, Child] = {}
        bus.add_message_handler(self._answer)

    def close(self) -> None:
        """Kill the services that still run."""
        for child in self._children.values():
            child.kill()

    def _answer(self, message: Message) -> Message | bool:
        if message.message_type is not MessageType.METHOD_CALL:
            return False
        if message.member == "StartTransientUnit":
            job = f"{_PATH}/job/{len(self.started)}"
            self._start(message)
            self._signal(_PATH, f"{_SYSTEMD}.Manager", "JobRemoved", "uoss", [1, job, message.body[0], "done"])
            return Message.new_method_return(message, "o", [job])
        if message.member == "KillUnit":
            self._children[message.body[0]].kill()
        return Message.new_method_return(message)

    def _start(self, message: Message) -> None:
        unit, _mode, pairs, _others = message.body
        values = self.started[unit] = {name: value.value for name, value in pairs}
        [(program, argv, _ignore)] = values["ExecStart"]
        files = [message.unix_fds[values[name]] if name in values else subprocess.DEVNULL for name in _STREAMS]
        words = [program, *(word.replace("$$", "$") for word in argv[1:])]
        process = subprocess.Popen(words, stdin=files[0], stdout=files[1], stderr=files[2])
        for descriptor in message.unix_fds:
            os.close(descriptor)
        self._children[unit] = Child(process, lambda child: self._ended(unit, child.status or 0))

    def _ended(self, unit: str, status: int) -> None:
        code, number = (_EXITED, status) if status >= 0 else (_KILLED, -status)
        changed = {"ExecMainCode": Variant("i", code), "ExecMainStatus": Variant("i", number)}
        path = "".join(char if char.isalnum() else f"_{ord(char):02x}" for char in unit)
        body = [f"{_SYSTEMD}.Service", changed, []]
        self._signal(
            f"{_PATH}/unit/{path}", "org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as", body
        )

    def _signal(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        message = Message(
            message_type=MessageType.SIGNAL,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=body,
        )
        self._bus.send(message)


@asynccontextmanager
async def fake_user_manager(address: str) -> AsyncIterator[FakeUserManager]:
    """The stand-in on a bus."""
    bus = await MessageBus(bus_address=address, negotiate_unix_fd=True).connect()
    manager = FakeUserManager(bus)
    await bus.request_name(_SYSTEMD)
    try:
        yield manager
    finally:
        manager.close()
        bus.disconnect()
        await asyncio.sleep(0)

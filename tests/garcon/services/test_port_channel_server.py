"""What a Linux host gets when it asks garcon for sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from garcon.services.port_channel_server import PortChannelServer
from guestlink.port_channel import ChannelReader, pack
from guestlink.tasks import TaskOwner

LIMIT = 60.0


class Asker:
    """The host's end of a channel."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._reader = ChannelReader()
        self._messages: list[tuple[dict[str, Any], int]] = []

    async def next(self) -> tuple[dict[str, Any], int]:
        """The next message and its descriptor."""
        async with asyncio.timeout(LIMIT):
            while not self._messages:
                try:
                    data, descriptors, _, _ = socket.recv_fds(self.connection, 65536, 2)
                except BlockingIOError:
                    await asyncio.sleep(0.005)
                    continue
                if not data:
                    raise EOFError
                messages, _ = self._reader.feed(data, descriptors)
                self._messages += messages
        return self._messages.pop(0)

    async def ask(self, **fields: Any) -> tuple[dict[str, Any], int]:
        self.connection.sendall(pack({"id": 1, **fields}))
        return await self.next()


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    ours, theirs = socket.socketpair()
    for one in (ours, theirs):
        one.setblocking(False)
    tasks = TaskOwner("test")
    tasks.start(PortChannelServer().serve(theirs), name="serve")
    with ours, theirs:
        yield Asker(ours)
        await tasks.close()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_a_server_gets_one_connection(asker: Asker, family: socket.AddressFamily) -> None:
    """A server that serves one client at a time, as iperf3 does, must not see a second one."""
    try:
        listener = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
    except OSError:
        pytest.skip("this machine has no ::1")
    with listener:
        listener.settimeout(LIMIT)
        _, descriptor = await asker.ask(connect=["tcp", "localhost", listener.getsockname()[1]])
        with socket.socket(fileno=descriptor) as passed:
            connection, _ = listener.accept()
            with connection:
                passed.sendall(b"x")
                assert connection.recv(1) == b"x"
                listener.setblocking(False)
                with pytest.raises(BlockingIOError):
                    listener.accept()


async def test_a_port_without_a_server_is_answered_with_the_reason(asker: Asker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert await asker.ask(connect=["tcp", "localhost", port]) == ({"id": 1, "error": "connection refused"}, -1)


async def test_a_server_whose_queue_is_full_is_answered_in_time(asker: Asker) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # The queue is full after one or two.
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        answer, descriptor = await asker.ask(connect=["tcp", "127.0.0.1", listener.getsockname()[1]])
        assert (answer.get("error"), descriptor) == ("no answer in time", -1)


async def test_a_listening_socket_is_passed(asker: Asker, tmp_path: Path) -> None:
    path = f"{tmp_path}/socket"
    _, descriptor = await asker.ask(listen=["unix", path, 0])
    with socket.socket(fileno=descriptor) as listener, socket.socket(socket.AF_UNIX) as client:
        assert os.stat(path).st_mode & 0o777 == 0o600
        client.connect(path)
        listener.accept()[0].close()
    taken, _ = await asker.ask(listen=["unix", str(tmp_path), 0])
    assert taken["error"]


@pytest.mark.parametrize(
    "fields",
    [{"connect": ["tcp", "localhost", 0]}, {"connect": 1}, {"listen": ["tcp", "a.example", 1]}, {}, {"x": 1}],
)
async def test_what_garcon_cannot_do_is_answered_with_a_sentence(asker: Asker, fields: dict[str, Any]) -> None:
    answer, descriptor = await asker.ask(**fields)
    assert answer["error"]
    assert descriptor == -1


async def test_listening_ports_are_reported_as_they_come_and_go(asker: Asker) -> None:
    asker.connection.sendall(pack({"watch": True}))
    await asker.next()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        while not any(entry[1] == port for entry in (await asker.next())[0]["listening"]):
            pass
    while any(entry[1] == port for entry in (await asker.next())[0]["listening"]):
        pass

"""What a container may do with the channel for its ports: nothing that harms the host or another container."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from guestlink.errors import GuestlinkError
from guestlink.port_channel import PortEndpoint, pack
from guestlink_host.border.ports import relay_client
from guestlink_host.border.ports.forward import Forward
from guestlink_host.border.ports.relay import AUTOMATIC
from guestlink_host.border.ports.relay_client import RelayClient
from guestlink_host.containers.parked_connections import ParkedConnections
from support.host import host_in_test
from support.ports import free_port

LIMIT = 60.0
MEMORY = 64 * 1024 * 1024
"""Bytes by which an attack may make the process grow."""


class Container:
    """The container's side of a relay process, which the test plays.

    :ivar asked: the host's requests.
    """

    def __init__(self, client: RelayClient, parked: ParkedConnections) -> None:
        self.client = client
        self.parked = parked
        self.asked: list[dict[str, Any]] = []
        self._rest = b""
        self.socket = self.park()

    def park(self) -> socket.socket:
        """Park a connection."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.parked.park(theirs)
        self.socket = ours
        self._rest = b""
        return ours

    async def request(self) -> dict[str, Any]:
        """The host's next request."""
        while True:
            async with asyncio.timeout(LIMIT):
                while b"\n" not in self._rest:
                    piece = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
                    if not piece:
                        raise EOFError
                    self._rest += piece
            line, _, self._rest = self._rest.partition(b"\n")
            message: dict[str, Any] = json.loads(line)
            self.asked.append(message)
            if "id" in message:
                return message

    def answer(self, request: dict[str, Any], *descriptors: int, **fields: Any) -> None:
        socket.send_fds(self.socket, [pack({"id": request["id"], **fields})], list(descriptors))

    async def say(self, content: bytes) -> None:
        async with asyncio.timeout(LIMIT):
            with contextlib.suppress(ConnectionError):
                await asyncio.get_running_loop().sock_sendall(self.socket, content)

    async def ended(self) -> None:
        """Wait until the host has closed the channel."""
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                await self.request()

    @property
    def process(self) -> psutil.Process:
        assert self.client.pid is not None
        return psutil.Process(self.client.pid)


@pytest.fixture
async def container() -> AsyncIterator[Container]:
    parked = ParkedConnections("a connection for ports")
    events: list[str] = []
    client = RelayClient("bad", parked, lambda what, detail: events.append(detail))
    made = Container(client, parked)
    yield made
    await client.close()
    parked.close()
    made.socket.close()


def _forward(port: int, *, kind: str = "tcp", back: bool = False) -> Forward:
    return Forward(back, PortEndpoint(kind, "127.0.0.1", port), PortEndpoint(kind, "localhost", 9))


async def _connect(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    async with asyncio.timeout(LIMIT):
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


async def _is_reset(sock: socket.socket) -> bool:
    async with asyncio.timeout(LIMIT):
        with sock, contextlib.suppress(ConnectionResetError):
            return not await asyncio.get_running_loop().sock_recv(sock, 1)
    return True


async def _works(container: Container, port: int, *, after: int = 0) -> None:
    """The forward relays for a container that behaves; earlier requests get an error."""
    client = await _connect(port)
    while True:
        request = await container.request()
        if request["id"] <= after:
            container.answer(request, error="too late")
        elif request.get("connect") is not None:
            break
    near, far = socket.socketpair()
    with client, far:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            inside = socket.create_connection(listener.getsockname())
            served, _ = listener.accept()
        near.close()
        with inside, served:
            container.answer(request, inside.fileno())
            served.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(client, b"hello")
            async with asyncio.timeout(LIMIT):
                assert await asyncio.get_running_loop().sock_recv(served, 10) == b"hello"


async def test_what_is_no_connection_is_refused_and_the_next_one_works(
    container: Container, tmp_path: Path
) -> None:
    port = free_port()
    await container.client.set([_forward(port)], auto=False)
    (tmp_path / "file").write_bytes(b"x")
    with (
        open(tmp_path / "file", "rb") as file,
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as netlink,
        open("/dev/null", "rb") as device,
    ):
        for one in (file, listening, datagrams, unix, netlink, device):
            client = await _connect(port)
            container.answer(await container.request(), one.fileno())
            assert await _is_reset(client), one
        # No descriptor, and many.
        client = await _connect(port)
        container.answer(await container.request())
        assert await _is_reset(client)
        client = await _connect(port)
        container.answer(await container.request(), *[file.fileno()] * 250)
        assert await _is_reset(client)
    descriptors = container.process.num_fds()
    await _works(container, port)
    assert container.process.num_fds() <= descriptors + 2


@pytest.mark.parametrize(
    "nonsense",
    [b"\n", b"x" * 300_000, b"[" * 100_000 + b"\n", b"\xff\n", b'{"id":' + b"9" * 5000 + b"}\n", b"null\n"],
    ids=range(6),
)
async def test_nonsense_ends_the_channel_and_the_next_one_works(container: Container, nonsense: bytes) -> None:
    port = free_port()
    await container.client.set([_forward(port)], auto=False)
    await container.say(nonsense)
    await container.ended()
    container.park()
    await _works(container, port)


async def test_answers_to_no_question_leave_nothing(container: Container) -> None:
    port = free_port()
    await container.client.set([_forward(port)], auto=False)
    await _works(container, port)
    before = container.process.num_fds()
    with open("/dev/null", "rb") as device:
        for number in (None, 1, -1, 10**30, "1", True, [1], {}):
            for _ in range(20):
                container.answer({"id": number}, device.fileno(), connect=1, listening=[[]])
    await _works(container, port)
    assert container.process.num_fds() <= before + 2


async def test_a_server_that_accepts_and_hangs_keeps_only_its_own_client_waiting(container: Container) -> None:
    port = free_port()
    await container.client.set([_forward(port)], auto=False)
    hanging = [await _connect(port) for _ in range(20)]
    for _ in hanging:
        await container.request()  # The container never answers these.
    await _works(container, port)
    for one in hanging:
        one.close()


async def test_a_container_that_never_answers_has_its_clients_reset(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    await container.client.set([_forward(port)], auto=False)
    client = await _connect(port)
    await container.request()
    assert await _is_reset(client)


async def test_1000_ports_that_come_and_go_open_a_bounded_number_and_the_daemon_is_answered(
    container: Container,
) -> None:
    await container.client.set([], auto=True)
    first = free_port()
    memory = container.process.memory_info().rss
    for turn in range(30):
        ports = [["127.0.0.1", 40000 + (number * 7 + turn) % 20000, "x"] for number in range(1000)]
        await container.say(pack({"listening": ports}))
    await container.say(pack({"listening": [["0.0.0.0", first, "web"]]}))
    async with asyncio.timeout(LIMIT):
        while True:
            states = await container.client.set([], auto=True)
            assert len(states) <= AUTOMATIC
            if [one["forward"][1][2] for one in states] == [first]:
                break
            await asyncio.sleep(0.05)
    assert container.process.memory_info().rss - memory < MEMORY
    # More than a message may have changes nothing.
    await container.say(pack({"listening": [["127.0.0.1", port, ""] for port in range(2000, 3025)]}))
    assert [one["forward"][1][2] for one in await container.client.set([], auto=True)] == [first]


async def test_privileged_and_excluded_ports_do_not_open_by_themselves(container: Container) -> None:
    await container.client.set([], auto=True)
    port = free_port()
    ports = [["0.0.0.0", 80, "web"], ["0.0.0.0", 2222, "ssh"], ["::", 5355, "llmnr"], ["::", port, "web"]]
    await container.say(pack({"listening": ports}))
    async with asyncio.timeout(LIMIT):
        while not (states := await container.client.set([], auto=True)):
            await asyncio.sleep(0.05)
    assert [one["forward"][1][2] for one in states] == [port]


async def test_a_container_may_hold_its_end_and_the_host_closes_its_own(container: Container) -> None:
    """A container that keeps a copy of a connection, and makes it blocking, harms itself only."""
    port = free_port()
    await container.client.set([_forward(port)], auto=False)
    client = await _connect(port)
    request = await container.request()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        inside = socket.create_connection(listener.getsockname())
        served, _ = listener.accept()
    with inside, served:
        container.answer(request, inside.fileno())
        inside.setblocking(True)
        await asyncio.get_running_loop().sock_sendall(client, b"x")
        served.setblocking(False)
        async with asyncio.timeout(LIMIT):
            assert await asyncio.get_running_loop().sock_recv(served, 1) == b"x"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        await _works(container, port)


async def test_a_process_that_does_not_answer_is_replaced(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    await container.client.set([_forward(port)], auto=False)
    process = container.process
    process.suspend()
    monkeypatch.setattr(relay_client, "ANSWER_TIME", 0.2)
    with pytest.raises(Exception, match="do not answer"):
        await container.client.ask()
    monkeypatch.setattr(relay_client, "ANSWER_TIME", LIMIT)
    container.park()
    async with asyncio.timeout(LIMIT):
        while process.is_running():
            await asyncio.sleep(0.01)
        while True:  # Until the new process listens.
            with contextlib.suppress(ConnectionRefusedError), await _connect(port):
                break
            await asyncio.sleep(0.01)
    await container.request()
    await _works(container, port)


async def test_connections_that_end_before_they_are_used_leave_the_process_as_it_is(container: Container) -> None:
    port, back = free_port(), free_port()
    await container.client.set([_forward(port), _forward(back, back=True)], auto=False)
    waiting = [await _connect(port) for _ in range(3)]
    while sum("connect" in one for one in container.asked) < len(waiting):
        await container.request()
    process = container.process
    for _ in range(5):
        ended = container.socket
        deaf = container.park()
        deaf.shutdown(socket.SHUT_RD)  # The host does not see that, and cannot write.
        ended.close()
        ending = select.poll()
        ending.register(deaf, 0)
        assert await asyncio.to_thread(ending.poll, LIMIT * 1000)
    container.park()
    await _works(container, port, after=max(one.get("id", 0) for one in container.asked))
    assert container.process == process
    for one in waiting:
        one.close()


async def test_sockets_that_the_container_shuts_down_keep_no_processor_busy(
    container: Container, tmp_path: Path
) -> None:
    ports = [free_port(), free_port()]
    path = PortEndpoint("unix", str(tmp_path / "in"), 0)
    unix = Forward(True, path, PortEndpoint("tcp", "localhost", 9))
    forwards = [_forward(ports[0], kind="udp"), _forward(ports[1], kind="udp", back=True), unix]
    setting = asyncio.ensure_future(container.client.set(forwards, auto=False))
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound,
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        bound.bind(("127.0.0.1", 0))
        server.connect(bound.getsockname())
        listener.bind(path.host)
        listener.listen()
        for _ in range(2):
            request = await container.request()
            container.answer(request, (bound if request["listen"][0] == "udp" else listener).fileno())
        assert [one["problem"] for one in await setting] == ["", "", ""]
        client.sendto(b"x", ("127.0.0.1", ports[0]))
        container.answer(await container.request(), server.fileno())
        for one in (server, bound, listener):
            with contextlib.suppress(OSError):  # An unconnected one is shut down in spite of the error.
                one.shutdown(socket.SHUT_RDWR)
        await container.client.set(forwards, auto=False)
        times = container.process.cpu_times()
        await asyncio.sleep(1.0)
        used = container.process.cpu_times()
        assert used.user + used.system - times.user - times.system < 0.2


async def test_a_container_with_many_long_texts_is_described(container: Container) -> None:
    await container.client.set([], auto=True)
    first = free_port()
    # One more than open by themselves; together within a message, as characters and not as escapes.
    ports = [["::ffff:255.255.255.255", 30000 + number, "\U0001f600" * 64] for number in range(AUTOMATIC + 1)]
    report = json.dumps({"listening": ports}, ensure_ascii=False).encode() + b"\n"
    await container.say(pack({"listening": [["x" * 253, first, "no address"]]}))
    await container.say(report)
    async with asyncio.timeout(LIMIT):
        while len(states := await container.client.set([], auto=True)) < AUTOMATIC:
            await asyncio.sleep(0.05)
    assert all(one["forward"][2][1] == "::ffff:255.255.255.255" for one in states)
    asking = asyncio.ensure_future(container.client.ask())
    while True:
        request = await container.request()
        if "list" in request:
            break
    await container.say(report.replace(b"{", b'{"id":%d,' % request["id"], 1))
    assert len((await asking)["forwards"]) == AUTOMATIC


async def test_a_container_that_does_not_answer_delays_no_other_and_no_policy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    async with host_in_test(monkeypatch) as host:
        bad, good = await host.add("bad"), await host.add("good")
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(bad.directory / "ports.sock"))
            silent.settimeout(LIMIT)
            asking = asyncio.ensure_future(host.ask("ports", name="bad", add=[_forward(port).pack()]))
            received = b""
            while b'"list"' not in received:
                received += await asyncio.to_thread(silent.recv, 65536)
            assert (await host.ask("ports", name="good"))["forwards"] == []
            assert not asking.done()
            await host.ask("policy", name="bad", ports="deny")
            with pytest.raises(GuestlinkError, match="do not answer now"):
                await asking
            assert (await host.ask("ports", name="bad"))["forwards"][0]["problem"] == "the policy denies it"
        assert good.directory.exists()


async def test_what_a_container_says_about_ports_cannot_command_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with host_in_test(monkeypatch) as host:
        guest = await host.add("bad")

        async def request(garcon: socket.socket, word: bytes) -> dict[str, Any]:
            """Park a connection, and wait for a request on it."""
            garcon.settimeout(LIMIT)
            if word == b"listen":
                garcon.connect(str(guest.directory / "ports.sock"))
            received = b""
            while b'"%s"' % word not in received or not received.endswith(b"\n"):
                received += await asyncio.to_thread(garcon.recv, 65536)
            found: dict[str, Any] = json.loads(received.splitlines()[-1])
            return found

        with socket.socket(socket.AF_UNIX) as first, socket.create_server(("127.0.0.1", 0)) as listener:
            adding = asyncio.ensure_future(host.ask("ports", name="bad", add=[_forward(7, back=True).pack()]))
            number = (await request(first, b"listen"))["id"]
            socket.send_fds(first, [pack({"id": number})], [listener.fileno()])
            first.sendall(pack({"id": (await request(first, b"list"))["id"], "listening": []}))
            await adding
        with socket.socket(socket.AF_UNIX) as second:
            number = (await request(second, b"listen"))["id"]
            second.sendall(pack({"id": number, "error": "\x1b]0;mine\x07 is\nnot \u202efree"}))
            asking = asyncio.ensure_future(host.ask("ports", name="bad"))
            second.sendall(pack({"id": (await request(second, b"list"))["id"], "listening": []}))
            assert (await asking)["forwards"][0]["problem"] == "]0;mine is not free"


async def test_the_process_ends_with_the_daemon(container: Container) -> None:
    await container.client.set([_forward(free_port())], auto=False)
    process = container.process
    assert os.getpgid(process.pid) == process.pid
    await container.client.close()
    async with asyncio.timeout(LIMIT):
        while process.is_running():
            await asyncio.sleep(0.01)

"""Clients and hosts that misbehave: each harms only its own connection. A well-behaved client is the witness."""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from sommelier_shim.core.relay import COUNT_SLACK, UNCONFIRMED_LIMIT
from sommelier_shim.core.wire import DISPLAY, FIRST_SERVER_ID, HEADER, encode
from sommelier_shim.daemon.outlet import QUEUE_HIGH
from sommelier_shim.daemon.proxy_server import raise_descriptor_limit
from support.protocol import message
from support.wayland_peers import Between, Client, Host, HostConnection, Wire, heard_by, stage


@pytest.fixture(autouse=True, scope="module")
def _many_descriptors() -> None:
    raise_descriptor_limit()


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[tuple[Between, Host]]:
    with stage(tmp_path) as (between, host):
        with between.client() as witness:
            witness.start()
            yield between, host
            witness.sync()  # whatever happened, it does not affect the other clients
        between.wait("every session ended", lambda: not between.server.clients)


def _shm_client(between: Between) -> tuple[Client, int]:
    client = between.client()
    client.start()
    return client, client.bind("wl_shm")


def _memfd(size: int) -> int:
    descriptor = os.memfd_create("pool")
    os.ftruncate(descriptor, size)
    return descriptor


# -- clients -----------------------------------------------------------------------------------------------------


def _random_message(dice: random.Random, object_id: int, opcode: int) -> bytes:
    """A valid header and arbitrary arguments."""
    body = dice.randbytes(4 * dice.randrange(8))
    return HEADER.pack(object_id, opcode | (8 + len(body)) << 16) + body


def _random_bytes(seed: int) -> bytes:
    """Arbitrary bytes after a first header with a possible size, without which the proxy looks no further."""
    dice = random.Random(seed)
    return _random_message(dice, dice.getrandbits(32), dice.getrandbits(16)) + dice.randbytes(4096)


def _random_bodies(seed: int, ids: range, first: int) -> bytes:
    """Messages with valid headers for objects that may exist. The proxy handles at least the first.

    :param first: the object of the first message, which the proxy finds in no table of the sender's objects.
    """
    dice = random.Random(seed)
    rest = (_random_message(dice, dice.choice(ids), dice.randrange(8)) for _ in range(60))
    return _random_message(dice, first, 0) + b"".join(rest)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes(staged: tuple[Between, Host], seed: int) -> None:
    between, _ = staged
    with between.client() as client:
        client.start()
        client.send(_random_bytes(seed))
        client.sock.shutdown(socket.SHUT_WR)
        client.until_end()


@pytest.mark.parametrize("seed", range(20))
def test_random_bodies_behind_good_headers(staged: tuple[Between, Host], seed: int) -> None:
    between, host = staged
    with between.client() as client:
        client.start()
        surface = client.create(client.bind("wl_compositor"), "create_surface")
        device = client.create(client.bind("wl_data_device_manager"), "get_data_device", client.bind("wl_seat"))
        client.sync()
        host.connection(at_least=3).event(device, "data_offer", FIRST_SERVER_ID)  # an offer, which the host creates
        client.send(_random_bodies(seed, range(1, surface + 3), FIRST_SERVER_ID))
        client.sock.shutdown(socket.SHUT_WR)
        client.until_end()


@pytest.mark.parametrize("size", [0, 4, 7, 65535])
def test_an_impossible_size_is_answered_with_an_error(staged: tuple[Between, Host], size: int) -> None:
    between, _ = staged
    with between.client() as client:
        client.start()
        client.send((1).to_bytes(4, "little") + (size << 16).to_bytes(4, "little"))
        error = client.error_in(client.until_end())
        assert error is not None
        assert f"size {size}" in error[2]


def test_a_message_cut_at_every_byte_and_then_the_end(staged: tuple[Between, Host]) -> None:
    between, _ = staged
    message = encode(2, 0, "usun", 1, "wl_compositor", 4, 4)
    for cut in range(len(message)):
        with between.client() as client:
            client.send(encode(1, 1, "n", 2) + message[:cut])
            client.sock.shutdown(socket.SHUT_WR)
            assert client.error_in(client.until_end()) is None


@pytest.mark.parametrize(
    ("request_", "blamed", "code", "said"),
    [
        (encode(99, 0), 1, 0, "invalid object 99"),
        (encode(1, 7), 1, 1, "invalid method 7"),
        (encode(1, 0, "n", 1), 1, 0, "invalid new id 1"),
        (encode(1, 0, "n", FIRST_SERVER_ID), 1, 0, "invalid new id"),
        (encode(2, 0, "usun", 1, "nonsense", 1, 10), 2, 0, "invalid interface"),
        (encode(2, 0, "usun", 1, "wl_compositor", 0, 10), 2, 0, "invalid version"),
        (encode(2, 0, "usun", 1, "wl_compositor", 77, 10), 2, 0, "invalid version"),
        (encode(2, 0, "usun", 700, "wl_compositor", 1, 10), 2, 0, "invalid global"),
    ],
)
def test_errors_are_those_of_libwayland(
    staged: tuple[Between, Host], request_: bytes, blamed: int, code: int, said: str
) -> None:
    between, _ = staged
    with between.client() as client:
        client.start()
        client.send(request_)
        error = client.error_in(client.until_end())
        assert error is not None
        assert error[:2] == (blamed, code)
        assert said in error[2]
    assert any(said in failure for failure in between.failures)


def test_a_missing_descriptor_is_answered_with_an_error(staged: tuple[Between, Host]) -> None:
    between, _ = staged
    client, shm = _shm_client(between)
    with client:
        client.request(shm, "create_pool", client.new_id(), 4096)
        error = client.error_in(client.until_end())
        assert error is not None
        assert "file descriptor" in error[2]


def test_surplus_descriptors_are_closed_with_the_connection(staged: tuple[Between, Host]) -> None:
    between, _ = staged
    reading, writing = os.pipe()
    with between.client() as client:
        client.start()
        for _ in range(10):
            client.request(DISPLAY, "sync", client.new_id(), fds=[writing] * 28)
        os.close(writing)
        client.sock.shutdown(socket.SHUT_WR)
        client.until_end()
    assert os.read(reading, 1) == b""  # all 280 copies of the other end are closed
    os.close(reading)


def test_too_many_surplus_descriptors_end_the_connection(staged: tuple[Between, Host]) -> None:
    between, _ = staged
    with between.client() as client, open(os.devnull, "rb") as null:
        client.start()
        try:
            for _ in range(4):
                client.request(DISPLAY, "sync", client.new_id(), fds=[null.fileno()] * 250)
        except OSError:
            pass  # closed already
        error = client.error_in(client.until_end())
        assert error is None or "descriptors" in error[2]
    between.wait("it ended", lambda: len(between.server.clients) == 1)


@pytest.mark.parametrize("kind", ["pipe", "socket", "directory", "null"])
def test_a_descriptor_of_the_wrong_kind_is_the_hosts_business(staged: tuple[Between, Host], kind: str) -> None:
    between, host = staged
    client, shm = _shm_client(between)
    left, right = os.pipe() if kind == "pipe" else (_open(kind), -1)
    with client:
        pool = client.create(shm, "create_pool", 4096, fds=[left])
        client.sync()
        connection = host.connection(at_least=3)
        assert connection.wait_request(shm, "create_pool").arguments == [pool, None, 4096]
        assert os.fstat(connection.fds[0]).st_ino == os.fstat(left).st_ino
    for descriptor in (left, right):
        if descriptor >= 0:
            os.close(descriptor)


def _open(kind: str) -> int:
    if kind == "socket":
        return socket.socket(socket.AF_UNIX).detach()
    return os.open("/" if kind == "directory" else os.devnull, os.O_RDONLY)


def test_300_descriptors_in_one_burst_arrive_in_order(staged: tuple[Between, Host]) -> None:
    between, host = staged
    client, shm = _shm_client(between)
    with client:
        for number in range(300):
            descriptor = _memfd(4096 * (number + 1))
            client.create(shm, "create_pool", 4096 * (number + 1), fds=[descriptor])
            os.close(descriptor)
        client.sync()
        connection = host.connection(at_least=3)
        pools = heard_by(connection.requests, shm, "create_pool")
        sizes = [os.fstat(descriptor).st_size for descriptor in connection.fds]
        assert sizes == [size for _, _, size in pools]
        assert len(sizes) == 300


def _truncate(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)


def _grow(descriptor: int) -> None:
    os.ftruncate(descriptor, 1 << 20)


def _leave(descriptor: int) -> None:
    assert descriptor >= 0


@pytest.mark.parametrize(
    ("size", "change"),
    [(4096, _truncate), (4096, _grow), (4096, _leave), (1 << 32, _leave), (1 << 32, _truncate)],
    ids=["truncated", "grown", "unsealed", "sparse, 4 GiB", "4 GiB, truncated"],
)
def test_a_pool_that_changes_under_our_feet(
    staged: tuple[Between, Host], size: int, change: Callable[[int], None]
) -> None:
    """The proxy never maps a client's memory, so none of these changes can kill the proxy."""
    between, host = staged
    client, shm = _shm_client(between)
    with client:
        descriptor = _memfd(size)
        pool = client.create(shm, "create_pool", min(size, 0x7FFFFFFF), fds=[descriptor])
        buffer = client.create(pool, "create_buffer", 0, 32, 32, 128, 0)
        compositor = client.bind("wl_compositor")
        surface = client.create(compositor, "create_surface")
        change(descriptor)
        client.request(surface, "attach", buffer, 0, 0)
        client.request(surface, "damage", 0, 0, 0x7FFFFFFF, 0x7FFFFFFF)
        client.request(surface, "commit")
        client.sync()
        assert host.connection(at_least=3).wait_request(surface, "commit")
        os.close(descriptor)


def test_a_client_that_floods_loses_nothing(staged: tuple[Between, Host]) -> None:
    between, host = staged
    with between.client() as client:
        client.start()
        compositor = client.bind("wl_compositor")
        surface = client.create(compositor, "create_surface")
        burst = b"".join(client.encode(surface, "damage", i, 0, 1, 1) for i in range(1000))
        for _ in range(100):
            client.send(burst)
        client.sync()
        connection = host.connection(at_least=3)
        assert len(connection.asked(surface, "damage")) == 100_000


def test_a_flood_of_short_lived_objects_waits_for_the_host_and_loses_nothing(staged: tuple[Between, Host]) -> None:
    between, host = staged
    count = UNCONFIRMED_LIMIT + 30_000
    with between.client() as client:
        client.start()
        compositor = client.bind("wl_compositor")
        client.sync()
        connection = host.connection(at_least=3)

        def flood() -> None:
            for first in range(0, count, 1000):
                ids = range(1000 + first, 2000 + first)
                client.send(*(_made_and_destroyed(client, compositor, new) for new in ids))

        flooding = threading.Thread(target=flood)
        flooding.start()

        def unconfirmed() -> int:
            return max(info.unconfirmed for info in between.server.clients)

        between.wait("the proxy holds the client back", lambda: unconfirmed() > UNCONFIRMED_LIMIT)
        for new in range(1000, 1000 + count):
            if new % 1000 == 0:
                connection.wait("it was made", partial(_has_made, connection, compositor, new))
            connection.event(1, "delete_id", new)
            if new % 10_000 == 0:
                assert between.do(unconfirmed) < UNCONFIRMED_LIMIT + 2 * COUNT_SLACK
        flooding.join(60)
        client.sync()


def _made_and_destroyed(client: Client, compositor: int, region: int) -> bytes:
    return client.encode(compositor, "create_region", region) + client.encode(region, "destroy")


def _has_made(connection: HostConnection, factory: int, new: int) -> bool:
    return message(factory, "wl_compositor.create_region", new) in [m.data for m in connection.requests[-200_000:]]


def _send_until_held(between: Between, wire: Wire, message: bytes) -> None:
    """Send a message again and again until the proxy stops reading this peer, as it must."""
    rest = memoryview(message * (4 * QUEUE_HIGH // len(message)))
    wire.sock.settimeout(0.2)
    while rest:
        try:
            rest = rest[wire.sock.send(rest) :]
        except TimeoutError:
            if between.do(between.is_holding_a_peer):
                return
    pytest.fail("the proxy took everything")


def test_a_client_that_never_reads_is_bounded(staged: tuple[Between, Host]) -> None:
    between, host = staged
    with between.client() as client:
        client.start()
        _send_until_held(between, host.connection(at_least=3), message(DISPLAY, "wl_display.delete_id", 999))
        queued = max(info.queued for info in between.do(lambda: between.server.clients))
        assert QUEUE_HIGH < queued < QUEUE_HIGH + (1 << 20)


def test_a_client_that_dies_in_the_middle_of_a_message(staged: tuple[Between, Host]) -> None:
    between, host = staged
    with between.client() as client:
        client.start()
        client.send(client.encode(DISPLAY, "sync", client.new_id())[:9])
    connection = host.connection(at_least=3)
    connection.wait("the host sees the end", lambda: connection.ended)


def test_what_a_client_said_last_reaches_the_host(staged: tuple[Between, Host]) -> None:
    between, host = staged
    with between.client() as client:
        client.start()
        surface = client.create(client.bind("wl_compositor"), "create_surface")
        damages = [client.encode(surface, "damage", i, 0, 1, 1) for i in range(5000)]
        client.send(*damages, client.encode(surface, "destroy"))
    assert host.connection(at_least=3).wait_request(surface, "destroy")


def test_500_clients_at_once(staged: tuple[Between, Host]) -> None:
    between, _ = staged
    clients = [between.client() for _ in range(500)]
    try:
        for client in clients:
            client.registry = client.create(DISPLAY, "get_registry")
        for client in clients:
            client.sync()
        assert len(between.do(lambda: between.server.clients)) == 501
    finally:
        for client in clients:
            client.close()


# -- hosts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_from_the_host(staged: tuple[Between, Host], seed: int) -> None:
    between, host = staged
    with between.client() as client:
        client.start()
        host.connection(at_least=3).send(_random_bytes(seed))
        client.sock.settimeout(60)
        host.connection(at_least=3).sock.shutdown(socket.SHUT_WR)
        try:
            client.until_end()
        except AssertionError:
            pass  # the proxy may pass on invalid messages for objects that the client has


@pytest.mark.parametrize("seed", range(20))
def test_random_bodies_behind_good_headers_from_the_host(staged: tuple[Between, Host], seed: int) -> None:
    between, host = staged
    with between.client() as client:
        client.start()
        surface = client.create(client.bind("wl_compositor"), "create_surface")
        client.sync()
        connection = host.connection(at_least=3)
        connection.send(_random_bodies(seed, range(1, surface + 3), surface + 3))
        client.sock.settimeout(60)
        connection.sock.shutdown(socket.SHUT_WR)
        try:
            client.until_end()
        except AssertionError:
            pass  # the proxy may pass on invalid messages for objects that the client has


@pytest.mark.parametrize("size", [0, 4, 7, 65535])
def test_an_impossible_size_from_the_host(staged: tuple[Between, Host], size: int) -> None:
    between, host = staged
    with between.client() as client:
        client.start()
        host.connection(at_least=3).send((1).to_bytes(4, "little") + (size << 16).to_bytes(4, "little"))
        error = client.error_in(client.until_end())
        assert error is not None
        assert error[1] == 3
        assert "the host compositor broke the protocol" in error[2]


def test_the_hosts_last_words_reach_a_client_that_does_not_stop_talking(staged: tuple[Between, Host]) -> None:
    between, host = staged
    with between.client() as client:
        client.start()
        surface = client.create(client.bind("wl_compositor"), "create_surface")
        connection = host.connection(at_least=3)
        deletions = connection.encode(DISPLAY, "delete_id", 900) * 1000
        connection.send(deletions, connection.encode(DISPLAY, "error", surface, 1, "enough"))
        connection.sock.shutdown(socket.SHUT_RDWR)
        try:
            for _ in range(1000):
                client.request(surface, "damage", 0, 0, 1, 1)
        except OSError:
            pass
        assert client.error_in(client.until_end()) == (surface, 1, "enough")
    assert any("enough" in failure for failure in between.failures)


def test_a_host_that_never_reads_pauses_the_client(staged: tuple[Between, Host]) -> None:
    between, host = staged
    with between.client() as client:
        client.start()
        surface = client.create(client.bind("wl_compositor"), "create_surface")
        connection = host.connection(at_least=3)
        connection.wait_request(client.registry, "bind")
        with connection.not_reading():
            _send_until_held(between, client, client.encode(surface, "damage", 0, 0, 1, 1))
            assert max(info.queued for info in between.do(lambda: between.server.clients)) > QUEUE_HIGH


def test_a_host_that_dies_in_the_middle_of_an_event(staged: tuple[Between, Host]) -> None:
    between, host = staged
    with between.client() as client:
        client.start()
        connection = host.connection(at_least=3)
        connection.send(connection.encode(DISPLAY, "delete_id", 900)[:10])
        connection.sock.shutdown(socket.SHUT_RDWR)
        assert client.error_in(client.until_end()) is None


def test_300_descriptors_from_the_host(staged: tuple[Between, Host]) -> None:
    between, host = staged
    with between.client() as client:
        client.start()
        keyboard = client.create(client.bind("wl_seat"), "get_keyboard")
        client.sync()
        connection = host.connection(at_least=3)
        for number in range(300):
            descriptor = _memfd(number + 1)
            connection.event(keyboard, "keymap", 1, number, fds=[descriptor])
            os.close(descriptor)
        client.sync()
        assert [os.fstat(descriptor).st_size for descriptor in client.fds] == list(range(1, 301))


def test_a_missing_descriptor_from_the_host(staged: tuple[Between, Host]) -> None:
    between, host = staged
    with between.client() as client:
        client.start()
        keyboard = client.create(client.bind("wl_seat"), "get_keyboard")
        client.sync()
        host.connection(at_least=3).event(keyboard, "keymap", 1, 10)
        error = client.error_in(client.until_end())
        assert error is not None
        assert error[1] == 3
        assert "file descriptor" in error[2]


def test_surplus_descriptors_from_the_host_are_closed_with_the_connection(staged: tuple[Between, Host]) -> None:
    between, host = staged
    reading, writing = os.pipe()
    with between.client() as client:
        client.start()
        connection = host.connection(at_least=3)
        for number in range(10):
            connection.event(client.registry, "global_remove", 5000 + number, fds=[writing] * 28)
        os.close(writing)
        client.sync()
    assert os.read(reading, 1) == b""  # all 280 copies of the other end are closed
    os.close(reading)


def test_a_host_that_announces_endless_globals(staged: tuple[Between, Host]) -> None:
    between, host = staged
    with between.client() as client:
        client.start()
        connection = host.connection(at_least=3)
        for name in range(100, 10_000):
            connection.event(client.registry, "global", name, "wl_output", 1)
        heard = client.sync()
        assert 4000 < len(heard) < 5000


def test_a_client_is_told_when_the_host_is_not_there(tmp_path: Path) -> None:
    with stage(tmp_path) as (between, host):
        with between.client() as first:
            first.start()
        _forget_host(between)
        host.path.rename(tmp_path / "elsewhere")
        with between.client() as client:
            error = client.error_in(client.until_end())
            assert error is not None
            assert "cannot be reached" in error[2]
        (tmp_path / "elsewhere").rename(host.path)
        with between.client() as client:
            client.start()


def _forget_host(between: Between) -> None:
    between.do(between.link.close)


def test_the_host_comes_back(tmp_path: Path) -> None:
    with stage(tmp_path) as (between, host):
        with between.client() as client:
            client.start()
            host.connection(at_least=2)
            for connection in list(host.connections):
                connection.sock.shutdown(socket.SHUT_RDWR)
            assert client.error_in(client.until_end()) is None
        between.wait("the proxy noticed", lambda: not between.link.is_known)
        with between.client() as client:
            client.start()
            assert client.names

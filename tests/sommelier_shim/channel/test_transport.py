"""The transport seam: whole conversations over a channel that is no Unix socket and passes no descriptors."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guestlink.config import Config
from sommelier_shim.core import relay
from sommelier_shim.daemon import outlet, own_connection, proxy_session
from support.stream_channel import HostHalf, StreamChannel
from support.wayland_peers import GLOBALS, Between, Client, Host, between


@contextmanager
def _stage(directory: Path, *more: tuple[str, int]) -> Iterator[tuple[Between, Host, StreamChannel]]:
    host = Host(directory / "host", (*GLOBALS, *more))
    half = HostHalf(host.path)
    channel = StreamChannel(half.port)
    try:
        with between(host.path, Config({}), host.turns, channel) as proxy:
            yield proxy, host, channel
    finally:
        half.close()
        host.close()


@contextmanager
def _memory(contents: bytes) -> Iterator[int]:
    descriptor = os.memfd_create("test")
    os.write(descriptor, contents)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("module", [proxy_session, outlet, own_connection, relay])
def test_the_modules_above_the_seam_import_no_socket(module: object) -> None:
    assert not hasattr(module, "socket")


def test_a_pool_and_a_keymap_cross_a_channel_that_passes_no_descriptors(tmp_path: Path) -> None:
    with _stage(tmp_path) as (proxy, host, _), proxy.client() as client:
        client.start()
        shm = client.bind("wl_shm", 1)
        with _memory(bytes(range(256)) * 256) as pool:
            client.create(shm, "create_pool", 65536, fds=[pool])
            client.sync()
            (received,) = host.connection().fds
            assert os.fstat(received).st_ino != os.fstat(pool).st_ino
        assert os.pread(received, 65536, 0) == bytes(range(256)) * 256
        client.create(client.bind("wl_seat", 5), "get_keyboard")
        client.sync()
        with _memory(b"a keymap\0") as keymap:
            host.connection().event(host.connection().made("wl_seat", "get_keyboard"), "keymap", 1, 9, fds=[keymap])
        client.sync()
        assert os.pread(client.fds[0], 100, 0) == b"a keymap\0"


def test_a_flood_that_the_channel_takes_in_pieces_arrives_whole_and_in_order(tmp_path: Path) -> None:
    with _stage(tmp_path) as (proxy, host, channel), proxy.client() as client:
        client.start()
        surface = client.create(client.bind("wl_compositor"), "create_surface")
        client.sync()
        connection = host.connection()
        with connection.not_reading():
            for number in range(50_000):
                client.request(surface, "damage", number, 0, 1, 1)
            proxy.wait("the channel is full", lambda: any(transport.partial for transport in channel.transports))
        client.sync()
        damages = connection.asked(surface, "damage")
        assert [message.arguments[0] for message in damages] == list(range(50_000))


def test_a_descriptor_that_cannot_pass_ends_its_client_with_the_reason(tmp_path: Path) -> None:
    with _stage(tmp_path) as (proxy, _, _), proxy.client() as client, proxy.client() as other:
        client.start()
        shm = client.bind("wl_shm", 1)
        ours, theirs = os.pipe()
        client.create(shm, "create_pool", 4096, fds=[theirs])
        os.close(theirs)
        error = Client.error_in(client.until_end())
        assert error is not None
        assert error[2] == "this channel sends memory files, no other descriptors"
        assert os.read(ours, 1) == b""  # the proxy holds the other end no more
        os.close(ours)
        other.start()


def test_a_channel_without_a_path_gets_no_sandbox(tmp_path: Path) -> None:
    with _stage(tmp_path, ("wp_security_context_manager_v1", 1)) as (proxy, host, _), proxy.client() as client:
        client.start()
        assert "wp_security_context_manager_v1" not in host.connection(0).bound
        assert not proxy.link.is_sandboxed


def test_a_channel_that_is_gone_is_reported_to_the_client(tmp_path: Path) -> None:
    with between(tmp_path, Config({}), channel=StreamChannel(1)) as proxy, proxy.client() as client:
        error = Client.error_in(client.until_end())
        assert error is not None
        assert error[2] == "the host's half of the stream channel is not there"


def test_the_host_s_end_of_a_stream_ends_the_client(tmp_path: Path) -> None:
    with _stage(tmp_path) as (proxy, host, _), proxy.client() as client:
        client.start()
        host.connection().sock.shutdown(socket.SHUT_RDWR)
        assert client.error_in(client.until_end()) is None

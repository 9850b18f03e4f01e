"""Binds that race with the removal of their global (chromeos-sommelier.md §6.4, §8.1.5)."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pywayland import lib  # type: ignore[attr-defined]  # its Global.destroy() does nothing
from pywayland.protocol.wayland import WlCompositor, WlOutput, WlSeat
from pywayland.server import Display

from guestlink.config import Config
from sommelier_shim.core.hooks import Hooks
from sommelier_shim.core.relay import Flow, Relay
from sommelier_shim.core.routes import Routes
from sommelier_shim.core.translation import TranslatingRoutes
from sommelier_shim.core.wire import DISPLAY, Buffer, WireError, decode, encode
from sommelier_shim.features import own_globals, registry
from sommelier_shim.features.policy.interfaces import GlobalPolicy
from support.protocol import message
from support.wayland_peers import GLOBALS, Between, Client, Host, HostConnection, between, heard_by, stage

_OFFERED = (*GLOBALS, ("zxdg_output_manager_v1", 3))
_GET_POINTER, _RELEASE_POINTER = 0, 1
_NAME = {interface: name for name, (interface, _) in enumerate(_OFFERED, 1)}


@pytest.fixture(params=[{}, {"scale": 2.0}], ids=["as it is", "scaled"])
def config(request: pytest.FixtureRequest) -> Config:
    return Config(request.param)


@pytest.fixture
def staged(tmp_path: Path, config: Config) -> Iterator[tuple[Between, Host]]:
    with stage(tmp_path, config, _OFFERED) as found:
        yield found


@pytest.fixture
def pair(staged: tuple[Between, Host]) -> Iterator[tuple[Client, HostConnection]]:
    proxy, host = staged
    with proxy.client() as client:
        client.start()
        yield client, host.connection(at_least=2)


def _withdraw(client: Client, host: HostConnection, *interfaces: str) -> None:
    client.sync()  # every earlier bind has taken effect
    for registry_id in host.registries:
        for interface in interfaces:
            host.event(registry_id, "global_remove", _NAME[interface])
    client.sync()


def _deleted(client: Client) -> list[int]:
    """The ids of the client's delete_id events, in order."""
    said = client.sync()
    return [number for (number,) in heard_by(said, DISPLAY, "delete_id")]


def _seen(host: HostConnection, interface: str) -> int:
    return len(host.bound.get(interface, ()))


@pytest.mark.parametrize("interface", ["wl_output", "wl_seat"])
def test_the_client_lives_and_the_host_does_not_hear_of_it(
    pair: tuple[Client, HostConnection], interface: str
) -> None:
    client, host = pair
    _withdraw(client, host, interface)
    before = _seen(host, interface)  # includes the proxy's own
    assert heard_by(client.events, client.registry, "global_remove") == [[_NAME[interface]]]
    inert = client.bind(interface)
    said = client.sync()
    assert not [m for m in said if m.object_id == inert]
    assert _seen(host, interface) == before


def test_what_it_makes_is_inert_too_and_every_number_can_be_used_again(pair: tuple[Client, HostConnection]) -> None:
    client, host = pair
    _withdraw(client, host, "wl_seat")
    seat = client.bind("wl_seat")
    pointer = client.create(seat, "get_pointer")
    _deleted(client)
    client.request(pointer, "release")
    client.request(seat, "release")
    assert [number for number in _deleted(client) if number in (seat, pointer)] == [pointer, seat]
    for again in (seat, pointer, seat):
        client.request(DISPLAY, "sync", again)
        said = client.sync()
        assert [m.name for m in said if m.object_id == again] == ["done"]
        assert heard_by(said, DISPLAY, "delete_id").count([again]) == 1


def test_what_is_destroyed_at_once_is_deleted_once(pair: tuple[Client, HostConnection]) -> None:
    client, host = pair
    _withdraw(client, host, "wl_seat")
    for _ in range(50):
        seat, name = client.new_id(), _NAME["wl_seat"]
        client.send(
            client.encode(client.registry, "bind", name, "wl_seat", 5, seat),
            client.encode(seat, "release"),
            client.encode(DISPLAY, "sync", 9999),
        )
        said = []
        while not said or (said[-1].object_id, said[-1].name) != (9999, "done"):
            message = client.receive()
            assert message is not None
            said.append(message)
        said += client.sync()
        assert heard_by(said, DISPLAY, "delete_id").count([seat]) == 1


def test_requests_that_can_do_without_an_inert_object_do(pair: tuple[Client, HostConnection]) -> None:
    client, host = pair
    surface = client.create(client.bind("wl_compositor"), "create_surface")
    xdg = client.create(client.bind("xdg_wm_base"), "get_xdg_surface", surface)
    toplevel = client.create(xdg, "get_toplevel")
    _withdraw(client, host, "wl_output", "wl_seat")
    output, seat = client.bind("wl_output"), client.bind("wl_seat")
    client.request(toplevel, "set_fullscreen", output)
    client.request(toplevel, "move", seat, 7)
    client.request(toplevel, "set_title", "after it")
    client.sync()
    host_xdg = host.wait_request(host.bound["xdg_wm_base"][-1], "get_xdg_surface").arguments[0]
    host_toplevel = host.wait_request(host_xdg, "get_toplevel").arguments[0]
    heard = [m for m in host.requests if m.object_id == host_toplevel]
    assert [m.name for m in heard] == ["set_fullscreen", "set_title"]
    assert heard[0].arguments == [0]


def test_what_is_made_for_an_inert_object_is_inert(pair: tuple[Client, HostConnection]) -> None:
    client, host = pair
    outputs = client.bind("zxdg_output_manager_v1")
    devices = client.bind("wl_data_device_manager")
    _withdraw(client, host, "wl_output", "wl_seat")
    output, seat = client.bind("wl_output"), client.bind("wl_seat")
    xdg_output = client.create(outputs, "get_xdg_output", output)
    device = client.create(devices, "get_data_device", seat)
    client.request(device, "set_selection", 0, 1)
    client.request(xdg_output, "destroy")
    client.request(device, "release")
    gone = _deleted(client)
    assert gone.count(xdg_output) == gone.count(device) == 1
    named = {host.bound["zxdg_output_manager_v1"][-1], host.bound["wl_data_device_manager"][-1]}
    assert not [m for m in host.requests if m.object_id in named]


def test_descriptors_of_inert_objects_are_closed_and_not_mixed_up(pair: tuple[Client, HostConnection]) -> None:
    client, host = pair
    alive = client.bind("wl_shm")
    _withdraw(client, host, "wl_shm")
    inert = client.bind("wl_shm")
    for size in (111, 222):
        descriptor = os.memfd_create("pool")
        os.ftruncate(descriptor, size)
        pool = client.create(inert if size == 111 else alive, "create_pool", size, fds=[descriptor])
        os.close(descriptor)
        client.create(pool, "create_buffer", 0, 1, 1, 4, 0)
    client.sync()
    request = host.wait_request(host.bound["wl_shm"][0], "create_pool")
    assert request.arguments[2] == 222
    assert [os.fstat(descriptor).st_size for descriptor in host.fds] == [222]


def test_what_is_announced_again_is_bound_as_ever(pair: tuple[Client, HostConnection]) -> None:
    client, host = pair
    _withdraw(client, host, "wl_seat")
    client.bind("wl_seat")
    client.sync()
    before = _seen(host, "wl_seat")
    for registry_id in host.registries:
        host.event(registry_id, "global", _NAME["wl_seat"], "wl_seat", 5)
    client.sync()
    client.create(client.bind("wl_seat"), "get_pointer")
    client.sync()
    assert _seen(host, "wl_seat") == before + 1
    assert host.wait_request(host.bound["wl_seat"][-1], "get_pointer")


@pytest.mark.parametrize(
    ("interface", "version"), [("wl_seat", 1), ("wl_output", 9), ("wl_output", 0)], ids=["kind", "newer", "zero"]
)
def test_a_bind_of_what_was_never_announced_is_refused(
    pair: tuple[Client, HostConnection], interface: str, version: int
) -> None:
    client, host = pair
    _withdraw(client, host, "wl_output")
    client.request(client.registry, "bind", _NAME["wl_output"], interface, version, client.new_id())
    error = client.error_in(client.until_end())
    assert error is not None
    assert error[1] == 0


# -- the relay without sockets -------------------------------------------------------------------------------------

_REGISTRY, _SHM, _SEAT, _INERT = 2, 3, 4, 5


def _routes(*, translates: bool) -> Routes:
    hooks = Hooks()
    registry.install(hooks, GlobalPolicy())
    if translates:
        own_globals.install(hooks, {})
    return TranslatingRoutes(hooks) if translates else Routes(hooks)


class _Talk:
    """A client with a shm (3), a seat (4), and an inert output (5) of version 3."""

    def __init__(self, routes: Routes) -> None:
        self.said = {True: b"", False: b""}
        self.relay: Relay = routes.relay(self._taker(False), self._taker(True))
        self.client(message(1, "wl_display.get_registry", _REGISTRY))
        for name, (interface, version) in enumerate((("wl_shm", 1), ("wl_seat", 5), ("wl_output", 3)), 1):
            self.host(message(self.relay.host_id(_REGISTRY), "wl_registry.global", name, interface, version))
        self.client(message(_REGISTRY, "wl_registry.bind", 1, "wl_shm", 1, _SHM))
        self.client(message(_REGISTRY, "wl_registry.bind", 2, "wl_seat", 5, _SEAT))
        self.host(message(self.relay.host_id(_REGISTRY), "wl_registry.global_remove", 3))
        self.take()

    def bind(self, new: int = _INERT) -> None:
        self.client(message(_REGISTRY, "wl_registry.bind", 3, "wl_output", 3, new))

    def client(self, *messages: bytes) -> None:
        self._feed(self.relay.requests, b"".join(messages))

    def host(self, *messages: bytes) -> None:
        self._feed(self.relay.events, b"".join(messages))

    def take(self) -> tuple[bytes, bytes]:
        """The bytes that the host and the client have received since the last call."""
        said = self.said[True], self.said[False]
        self.said = {True: b"", False: b""}
        return said

    def _taker(self, is_host: bool) -> Callable[[Buffer, list[int] | None], None]:
        def take(data: Buffer, descriptors: list[int] | None) -> None:
            self.said[is_host] += data

        return take

    @staticmethod
    def _feed(flow: Flow, data: bytes) -> None:
        buffer = bytearray(data + bytes(8))
        with memoryview(buffer) as view:
            assert flow.feed(buffer, view, len(data)) == len(data)


@pytest.fixture
def talk() -> _Talk:
    return _Talk(_routes(translates=False))


def test_a_callback_uses_the_number_up_on_the_host(talk: _Talk) -> None:
    talk.bind()
    assert talk.take() == (message(1, "wl_display.sync", _INERT), b"")
    talk.host(message(_INERT, "wl_callback.done", 9), message(1, "wl_display.delete_id", _INERT))
    assert talk.take() == (b"", b"")
    talk.client(message(_INERT, "wl_output.release"))
    assert talk.take() == (b"", message(1, "wl_display.delete_id", _INERT))
    talk.client(message(1, "wl_display.sync", _INERT))
    talk.host(message(_INERT, "wl_callback.done", 9), message(1, "wl_display.delete_id", _INERT))
    assert talk.take() == (
        message(1, "wl_display.sync", _INERT),
        message(_INERT, "wl_callback.done", 9) + message(1, "wl_display.delete_id", _INERT),
    )


def test_the_client_hears_of_the_end_when_the_host_has_confirmed_it(talk: _Talk) -> None:
    talk.bind()
    talk.client(message(_INERT, "wl_output.release"))
    talk.take()
    talk.host(message(_INERT, "wl_callback.done", 9))
    assert talk.take() == (b"", b"")
    talk.host(message(1, "wl_display.delete_id", _INERT))
    assert talk.take() == (b"", message(1, "wl_display.delete_id", _INERT))


def test_numbers_that_are_used_again_too_early_harm_nobody_else(talk: _Talk) -> None:
    """A pointer, the inert output, and a keyboard have the same id before the host sends any delete_id."""
    talk.client(message(_SEAT, "wl_seat.get_pointer", _INERT), message(_INERT, "wl_pointer.release"))
    talk.bind()
    talk.client(message(_INERT, "wl_output.release"), message(_SEAT, "wl_seat.get_keyboard", _INERT))
    talk.host(
        message(1, "wl_display.delete_id", _INERT),
        message(_INERT, "wl_callback.done", 9),
        message(1, "wl_display.delete_id", _INERT),
    )
    talk.take()
    talk.host(message(_INERT, "wl_keyboard.repeat_info", 25, 600))
    assert talk.take() == (b"", message(_INERT, "wl_keyboard.repeat_info", 25, 600))


@pytest.mark.parametrize("translates", [False, True])
@pytest.mark.parametrize("new", [0, 1, _SEAT, 0xFF000000])
def test_an_inert_object_may_not_have_any_number(translates: bool, new: int) -> None:
    talk = _Talk(_routes(translates=translates))
    with pytest.raises(WireError, match="invalid new id"):
        talk.bind(new)


@pytest.mark.parametrize("translates", [False, True])
@pytest.mark.parametrize(
    "request_",
    [encode(_INERT, 9), message(_INERT, "wl_output.release") + message(_INERT, "wl_output.release")],
    ids=["opcode", "destroyed twice"],
)
def test_requests_that_no_object_takes_are_refused(translates: bool, request_: bytes) -> None:
    talk = _Talk(_routes(translates=translates))
    talk.bind()
    with pytest.raises(WireError, match=r"invalid (method|object)"):
        talk.client(request_)


@pytest.mark.parametrize("translates", [False, True])
def test_objects_that_were_there_go_on(translates: bool) -> None:
    talk = _Talk(_routes(translates=translates))
    talk.client(
        message(_SEAT, "wl_seat.get_pointer", 6),
        message(_SEAT, "wl_seat.get_keyboard", 7),
        message(7, "wl_keyboard.release"),
        message(_SEAT, "wl_seat.get_keyboard", 7),
    )
    pointer, (first, second) = talk.relay.host_id(6), _keyboards(talk)
    talk.bind()
    talk.take()
    talk.host(message(pointer, "wl_pointer.axis", 0, 0, 0))
    assert talk.take()[1] == message(6, "wl_pointer.axis", 0, 0, 0)
    talk.host(message(1, "wl_display.delete_id", first), message(second, "wl_keyboard.repeat_info", 25, 600))
    assert talk.take()[1] == message(1, "wl_display.delete_id", 7) + message(7, "wl_keyboard.repeat_info", 25, 600)
    talk.client(message(6, "wl_pointer.release"))
    talk.host(message(1, "wl_display.delete_id", pointer))
    assert talk.take() == (message(pointer, "wl_pointer.release"), message(1, "wl_display.delete_id", 6))


def _keyboards(talk: _Talk) -> list[Any]:
    """The host ids of the two keyboards that the client created."""
    heard, at, found = talk.said[True], 0, []
    while at < len(heard):
        size = int.from_bytes(heard[at + 6 : at + 8], sys.byteorder)
        if heard[at : at + 8] == message(talk.relay.host_id(_SEAT), "wl_seat.get_keyboard", 0)[:8]:
            found.append(decode("n", heard[at : at + size])[0])
        at += size
    return found


@pytest.mark.parametrize("translates", [False, True])
def test_other_clients_keep_their_fast_way(translates: bool) -> None:
    routes = _routes(translates=translates)
    first, second, third = _Talk(routes), _Talk(routes), _Talk(routes)
    first.bind()
    third.bind()
    assert second.relay.routes is routes
    assert first.relay.routes is third.relay.routes is not routes


# -- hosts that have forgotten the global --------------------------------------------------------------------------


class Libwayland:
    """A host that is libwayland itself, which checks every rule for clients."""

    def __init__(self, name: str) -> None:
        self.kept: list[Any] = []
        self._display = Display()
        self._display.add_socket(name)
        self._globals = {}
        for interface in (WlCompositor, WlSeat, WlOutput):
            made = self._globals[interface.name] = interface.global_class(self._display, 1)
            made.bind_func = self.kept.append
        self._calls: list[Callable[[], None]] = []
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def forget(self, interface: str) -> None:
        """Destroy a global."""
        done = threading.Event()

        def destroy() -> None:
            lib.wl_global_destroy(self._globals[interface]._ptr)
            done.set()

        self._calls.append(destroy)
        assert done.wait(60)

    def close(self) -> None:
        """Stop the host."""
        self._is_stopping = True
        self._thread.join(60)

    def _run(self) -> None:
        loop = self._display.get_event_loop()
        while not self._is_stopping:
            loop.dispatch(10)
            while self._calls:
                self._calls.pop(0)()
            self._display.flush_clients()
        lib.wl_display_destroy_clients(self._display._ptr)
        self._display.destroy()


@contextmanager
def _libwayland(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Libwayland]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    host = Libwayland("real")
    try:
        yield host
    finally:
        host.close()


@pytest.mark.parametrize("interface", ["wl_seat", "wl_output"])
def test_a_host_that_has_forgotten_the_global_kills_for_a_bind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interface: str
) -> None:
    with _libwayland(tmp_path, monkeypatch) as host, socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(tmp_path / "real"))
        with Client(sock) as client:
            client.start()
            host.forget(interface)
            client.bind(interface)
            error = client.error_in(client.until_end())
    assert error is not None
    assert f"global {interface}" in error[2]


@pytest.mark.parametrize("interface", ["wl_seat", "wl_output"])
def test_it_does_not_through_the_proxy_and_finds_no_gap_in_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config, interface: str
) -> None:
    with _libwayland(tmp_path, monkeypatch) as host, between(tmp_path / "real", config) as proxy:
        with proxy.client() as client:
            client.start()
            host.forget(interface)
            while not heard_by(client.events, client.registry, "global_remove"):
                client.sync()
            for _ in range(3):
                client.bind(interface)
                client.bind("wl_compositor")
                client.sync()
        proxy.wait("the client is gone", lambda: not proxy.server.clients)
        assert proxy.failures == []

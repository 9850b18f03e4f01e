"""Id translation: client ids and host ids of the same objects differ."""

from __future__ import annotations

import pytest

from sommelier_shim.core.hooks import Hooks
from sommelier_shim.core.relay import COUNT_SLACK, UNCONFIRMED_LIMIT, Flow
from sommelier_shim.core.translation import TranslatingRelay, TranslatingRoutes
from sommelier_shim.core.wire import FIRST_SERVER_ID, Buffer, WireError, decode
from sommelier_shim.features import own_globals, registry
from sommelier_shim.features.policy.interfaces import GlobalPolicy
from support.protocol import message

OWN_REGISTRY, REGISTRY, COMPOSITOR, SEAT, MANAGER = 2, 3, 4, 5, 6
"""The host ids; the client ids are one less, because the proxy created its own registry first."""


class Conversation:
    def __init__(self) -> None:
        hooks = Hooks()
        registry.install(hooks, GlobalPolicy())
        own_globals.install(hooks, {})
        self.to_client = b""
        self.to_host = b""
        self.routes = TranslatingRoutes(hooks)
        relay = self.routes.relay(self._client_hears, self._host_hears)
        assert isinstance(relay, TranslatingRelay)
        self.relay = relay
        self.client(message(1, "wl_display.get_registry", REGISTRY - 1))
        for name, interface in enumerate(("wl_compositor", "wl_seat", "wl_data_device_manager"), 1):
            self.host(message(REGISTRY, "wl_registry.global", name, interface, 1))
            self.client(message(REGISTRY - 1, "wl_registry.bind", name, interface, 1, name + 2))
        self.take()

    def _client_hears(self, data: Buffer, descriptors: list[int] | None) -> None:
        self.to_client += data

    def _host_hears(self, data: Buffer, descriptors: list[int] | None) -> None:
        self.to_host += data

    def take(self) -> tuple[bytes, bytes]:
        said = self.to_host, self.to_client
        self.to_host = self.to_client = b""
        return said

    def client(self, *messages: bytes) -> None:
        _feed(self.relay.requests, b"".join(messages))

    def host(self, *messages: bytes) -> None:
        _feed(self.relay.events, b"".join(messages))


def _feed(flow: Flow, data: bytes) -> None:
    buffer = bytearray(data + bytes(8))
    flow.feed(buffer, memoryview(buffer), len(data))


@pytest.fixture
def talk() -> Conversation:
    return Conversation()


def test_the_proxys_registry_comes_first_and_is_not_seen() -> None:
    talk = Conversation()
    talk.host(message(OWN_REGISTRY, "wl_registry.global", 9, "wl_shm", 1))
    assert talk.take() == (b"", b"")


def test_every_id_of_a_request_is_replaced(talk: Conversation) -> None:
    talk.client(
        message(3, "wl_compositor.create_surface", 10),
        message(3, "wl_compositor.create_region", 11),
        message(10, "wl_surface.set_input_region", 11),
        message(10, "wl_surface.set_opaque_region", 0),
    )
    host, _ = talk.take()
    assert host == message(4, "wl_compositor.create_surface", 7) + message(
        4, "wl_compositor.create_region", 8
    ) + message(7, "wl_surface.set_input_region", 8) + message(7, "wl_surface.set_opaque_region", 0)


def test_every_id_of_an_event_is_replaced(talk: Conversation) -> None:
    talk.client(message(4, "wl_seat.get_keyboard", 20), message(3, "wl_compositor.create_surface", 10))
    talk.host(message(7, "wl_keyboard.enter", 1, 8, b""))
    assert talk.take()[1] == message(20, "wl_keyboard.enter", 1, 10, b"")


def test_an_object_that_the_client_does_not_have_cannot_be_named(talk: Conversation) -> None:
    talk.client(message(3, "wl_compositor.create_surface", 10))
    with pytest.raises(WireError, match="invalid object 7"):
        talk.client(message(10, "wl_surface.set_input_region", 7))


def test_numbers_on_the_hosts_side_stay_dense(talk: Conversation) -> None:
    for _ in range(100):
        talk.client(message(3, "wl_compositor.create_surface", 10), message(10, "wl_surface.destroy"))
        host, _ = talk.take()
        created = decode("n", host[:12])[0]
        assert isinstance(created, int)
        assert created <= 8
        talk.host(message(1, "wl_display.delete_id", created))
        assert talk.take()[1] == message(1, "wl_display.delete_id", 10)


def test_events_of_a_destroyed_object_do_not_reach_its_successor(talk: Conversation) -> None:
    talk.client(
        message(3, "wl_compositor.create_surface", 10),
        message(10, "wl_surface.destroy"),
        message(1, "wl_display.sync", 10),
    )
    talk.take()
    talk.host(message(7, "wl_surface.enter", 0))
    assert talk.take()[1] == b""
    talk.host(message(8, "wl_callback.done", 5), message(1, "wl_display.delete_id", 7))
    assert talk.take()[1] == message(10, "wl_callback.done", 5) + message(1, "wl_display.delete_id", 10)


def test_an_own_object_is_invisible_and_its_number_is_used_again(talk: Conversation) -> None:
    own = talk.relay.add_own("wl_surface")
    talk.host(message(own, "wl_surface.enter", 0), message(1, "wl_display.delete_id", own))
    assert talk.take()[1] == b""
    assert talk.relay.allocate() == own


def test_only_objects_that_await_delete_id_are_unconfirmed(talk: Conversation) -> None:
    talk.client(*(message(3, "wl_compositor.create_surface", 10 + i) for i in range(20)))
    own = [talk.relay.add_own("wp_viewport") for _ in range(10)]
    for i in range(5):
        talk.relay.add_virtual(100 + i, "wp_viewport")
    assert talk.relay.unconfirmed == 0
    surface = talk.relay.host_id(10)
    talk.client(message(10, "wl_surface.destroy"))
    talk.relay.disown(own[0], "wp_viewport")
    assert talk.relay.unconfirmed == 2
    talk.host(message(1, "wl_display.delete_id", own[0]), message(1, "wl_display.delete_id", surface))
    assert talk.relay.unconfirmed == 0


def test_a_pending_callback_is_unconfirmed_and_no_object_of_the_client(talk: Conversation) -> None:
    live = len(talk.relay.requests.objects)
    talk.client(message(1, "wl_display.sync", 10), message(1, "wl_display.sync", 11))
    assert (talk.relay.unconfirmed, len(talk.relay.requests.objects)) == (2, live)
    talk.take()
    talk.host(message(8, "wl_callback.done", 5), message(1, "wl_display.delete_id", 8))
    talk.host(message(7, "wl_callback.done", 6), message(1, "wl_display.delete_id", 7))
    assert talk.take()[1] == b"".join(
        message(new, "wl_callback.done", serial) + message(1, "wl_display.delete_id", new)
        for new, serial in ((11, 5), (10, 6))
    )
    assert talk.relay.unconfirmed == 0


def test_a_flood_of_callbacks_waits_for_the_host(talk: Conversation) -> None:
    for first in range(0, UNCONFIRMED_LIMIT + COUNT_SLACK, 1000):
        talk.client(*(message(1, "wl_display.sync", 100 + first + i) for i in range(1000)))
    assert talk.relay.is_ahead
    assert not talk.relay.is_full


def test_a_virtual_object_lives_on_the_clients_side_alone(talk: Conversation) -> None:
    talk.relay.add_virtual(10, "wp_viewport")
    with pytest.raises(WireError, match="counterpart"):
        talk.client(message(10, "wp_viewport.set_destination", 5, 5))
    talk.relay.remove_virtual(10)
    assert talk.take() == (b"", message(1, "wl_display.delete_id", 10))


def test_objects_that_the_host_makes_keep_their_number(talk: Conversation) -> None:
    talk.client(message(5, "wl_data_device_manager.get_data_device", 10, 4))
    talk.take()
    talk.host(
        message(7, "wl_data_device.data_offer", FIRST_SERVER_ID),
        message(7, "wl_data_device.selection", FIRST_SERVER_ID),
    )
    talk.client(message(FIRST_SERVER_ID, "wl_data_offer.accept", 1, None))
    host, client = talk.take()
    assert client == message(10, "wl_data_device.data_offer", FIRST_SERVER_ID) + message(
        10, "wl_data_device.selection", FIRST_SERVER_ID
    )
    assert host == message(FIRST_SERVER_ID, "wl_data_offer.accept", 1, None)


def test_an_error_of_an_own_object_is_reported_for_the_display(talk: Conversation) -> None:
    own = talk.relay.add_own("wp_viewport")
    talk.host(message(1, "wl_display.error", own, 2, "out of buffer"))
    assert talk.take()[1] == message(1, "wl_display.error", 1, 2, "out of buffer")
    assert "out of buffer" in talk.relay.last_error


def test_an_error_of_a_clients_object_has_the_clients_number(talk: Conversation) -> None:
    talk.client(message(3, "wl_compositor.create_surface", 10))
    talk.take()
    talk.host(message(1, "wl_display.error", 7, 2, "bad size"))
    assert talk.take()[1] == message(1, "wl_display.error", 10, 2, "bad size")
    assert "wl_surface#10" in talk.relay.last_error

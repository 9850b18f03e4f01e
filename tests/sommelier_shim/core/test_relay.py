"""The relay without sockets: its input, its output, and its objects in between."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sommelier_shim.core.hooks import Hooks
from sommelier_shim.core.layouts import interface_layout
from sommelier_shim.core.objects import ObjectTable
from sommelier_shim.core.relay import (
    CLIENT_ID_LIMIT,
    COUNT_SLACK,
    OBJECT_LIMIT,
    UNCONFIRMED_LIMIT,
    Flow,
    Relay,
    destructor,
)
from sommelier_shim.core.routes import Routes
from sommelier_shim.core.tables import INTERFACES
from sommelier_shim.core.wire import FIRST_SERVER_ID, Buffer, WireError, decode, encode
from sommelier_shim.features import registry
from sommelier_shim.features.policy.interfaces import GlobalPolicy
from support.protocol import message


class Output:
    """The output of a flow: bytes, the lengths of their pieces, and descriptors."""

    def __init__(self) -> None:
        self.data = b""
        self.pieces: list[int] = []
        self.descriptors: list[int] = []
        self.largest_batch = 0

    def __call__(self, data: Buffer, descriptors: list[int] | None) -> None:
        assert len(data), "an empty piece costs a system call"
        self.data += data
        self.pieces.append(len(data))
        if descriptors:
            self.descriptors += descriptors
            self.largest_batch = max(self.largest_batch, len(descriptors))

    def take(self) -> bytes:
        data, self.data = self.data, b""
        self.pieces.clear()
        return data


class Conversation:
    """A relay with a registry (2), and a bound compositor (3), shm (4), seat (5) and data device manager (6)."""

    def __init__(self) -> None:
        hooks = Hooks()
        registry.install(hooks, GlobalPolicy())
        self.to_client, self.to_host = Output(), Output()
        self.relay = Relay(Routes(hooks), self.to_client, self.to_host)
        self.client(message(1, "wl_display.get_registry", 2))
        for name, interface in enumerate(("wl_compositor", "wl_shm", "wl_seat", "wl_data_device_manager"), 1):
            self.host(message(2, "wl_registry.global", name, interface, 1))
            self.client(message(2, "wl_registry.bind", name, interface, 1, name + 2))
        self.to_client.take()
        self.to_host.take()

    def client(self, *messages: bytes, fds: tuple[int, ...] = ()) -> int:
        return self._feed(self.relay.requests, b"".join(messages), fds)

    def host(self, *messages: bytes, fds: tuple[int, ...] = ()) -> int:
        return self._feed(self.relay.events, b"".join(messages), fds)

    @staticmethod
    def _feed(flow: Flow, data: bytes, fds: tuple[int, ...]) -> int:
        flow.received.extend(fds)
        buffer = bytearray(data + bytes(8))
        return flow.feed(buffer, memoryview(buffer), len(data))


@pytest.fixture
def talk() -> Iterator[Conversation]:
    conversation = Conversation()
    yield conversation
    conversation.relay.close()
    for descriptor in conversation.to_host.descriptors + conversation.to_client.descriptors:
        os.close(descriptor)


def _pipe_end() -> int:
    reading, writing = os.pipe()
    os.close(writing)
    return reading


def test_untouched_messages_go_on_in_one_piece(talk: Conversation) -> None:
    burst = message(3, "wl_compositor.create_surface", 10) + b"".join(
        message(10, "wl_surface.damage", i, 0, 1, 1) for i in range(100)
    )
    talk.client(burst)
    assert talk.to_host.data == burst
    assert len(talk.to_host.pieces) == 1


def test_every_cut_of_the_input_gives_the_same_output(talk: Conversation) -> None:
    burst = (
        message(3, "wl_compositor.create_surface", 10)
        + message(3, "wl_compositor.create_region", 11)
        + message(10, "wl_surface.damage", 1, 2, 3, 4)
        + message(10, "wl_surface.destroy")
    )
    for cut in range(len(burst)):
        fresh = Conversation()
        used = fresh.client(burst[:cut])
        fresh.client(burst[used:])
        assert fresh.to_host.data == burst


@pytest.mark.parametrize("size", [0, 4, 7, 9, 65535])
def test_an_impossible_size_ends_the_conversation(talk: Conversation, size: int) -> None:
    bad = (3).to_bytes(4, "little") + (size << 16).to_bytes(4, "little") + bytes(65536)
    with pytest.raises(WireError, match=f"size {size}"):
        talk.client(message(3, "wl_compositor.create_surface", 10), bad)
    assert talk.to_host.data == message(3, "wl_compositor.create_surface", 10), "what came before was not sent on"


@pytest.mark.parametrize("size", [4088, 4092, 4096, 4100, 65532])
def test_a_message_of_any_length_goes_on_with_its_neighbours(talk: Conversation, size: int) -> None:
    small = message(10, "wl_surface.damage", 0, 0, 1, 1)
    long = (10).to_bytes(4, "little") + (size << 16 | 2).to_bytes(4, "little") + bytes(size - 8)
    talk.client(message(3, "wl_compositor.create_surface", 10))
    talk.to_host.take()
    talk.client(small, long, small)
    assert talk.to_host.pieces == [2 * len(small) + size]
    assert talk.to_host.data == small + long + small


@pytest.mark.parametrize("size", [4094, 4097, 4098, 65533])
def test_a_long_message_of_an_impossible_size_ends_the_conversation(talk: Conversation, size: int) -> None:
    small = message(10, "wl_surface.damage", 0, 0, 1, 1)
    talk.client(message(3, "wl_compositor.create_surface", 10))
    talk.to_host.take()
    with pytest.raises(WireError, match=f"size {size}"):
        talk.client(small, (10).to_bytes(4, "little") + (size << 16 | 2).to_bytes(4, "little") + bytes(65536))
    assert talk.to_host.data == small


def test_a_message_of_the_largest_size_waits_for_its_end(talk: Conversation) -> None:
    head = (3).to_bytes(4, "little") + (65532 << 16).to_bytes(4, "little")
    assert talk.client(head + bytes(100)) == 0


def test_an_unknown_object_is_refused_as_libwayland_does(talk: Conversation) -> None:
    with pytest.raises(WireError, match="invalid object 77") as caught:
        talk.client(encode(77, 0))
    assert caught.value.code == 0


def test_an_unknown_opcode_is_refused(talk: Conversation) -> None:
    with pytest.raises(WireError, match="invalid method 9, object wl_compositor#3") as caught:
        talk.client(encode(3, 9))
    assert caught.value.code == 1


def test_an_unknown_event_of_a_known_object_ends_the_conversation(talk: Conversation) -> None:
    with pytest.raises(WireError, match="invalid event"):
        talk.host(encode(4, 99))


def test_an_event_for_an_unknown_object_is_passed_over(talk: Conversation) -> None:
    talk.host(encode(1234, 5, "u", 1), message(4, "wl_shm.format", 1))
    assert talk.to_client.data == message(4, "wl_shm.format", 1)


@pytest.mark.parametrize("new", [0, 1, 3, FIRST_SERVER_ID, 0xFFFFFFFF])
def test_a_new_id_out_of_range_or_in_use_is_refused(talk: Conversation, new: int) -> None:
    with pytest.raises(WireError, match="invalid new id"):
        talk.client(message(3, "wl_compositor.create_surface", new))


def test_a_sparse_id_is_the_hosts_business(talk: Conversation) -> None:
    talk.client(message(3, "wl_compositor.create_surface", 5000))
    assert talk.to_host.data == message(3, "wl_compositor.create_surface", 5000)
    with pytest.raises(WireError, match="invalid object 4999"):
        talk.client(encode(4999, 0))


def test_an_id_that_no_client_gets_to_is_refused(talk: Conversation) -> None:
    with pytest.raises(WireError, match=f"invalid new id {CLIENT_ID_LIMIT}"):
        talk.client(message(3, "wl_compositor.create_surface", CLIENT_ID_LIMIT))


def test_objects_that_come_and_go_are_not_limited(talk: Conversation) -> None:
    for _ in range(3 * OBJECT_LIMIT // 1000):
        talk.client(
            *(
                message(3, "wl_compositor.create_surface", 100 + i) + message(100 + i, "wl_surface.destroy")
                for i in range(1000)
            )
        )
        talk.host(*(message(1, "wl_display.delete_id", 100 + i) for i in range(1000)))
        assert not talk.relay.is_ahead
    assert len(talk.relay.requests.objects) == len(talk.relay.events.objects) == 6


def test_a_client_that_is_ahead_is_not_when_the_host_has_confirmed_half(talk: Conversation) -> None:
    count = UNCONFIRMED_LIMIT + COUNT_SLACK
    messages = [message(1, "wl_display.sync", 100 + i) for i in range(count)]  # wl_display.sync
    for first in range(0, count, 1000):
        talk.client(*messages[first : first + 1000])
    assert talk.relay.is_ahead
    assert talk.relay.unconfirmed == count
    for i in range(count):
        talk.host(message(100 + i, "wl_callback.done", 0), message(1, "wl_display.delete_id", 100 + i))
        if not talk.relay.is_ahead:
            break
    assert UNCONFIRMED_LIMIT // 2 - 1 <= talk.relay.unconfirmed <= UNCONFIRMED_LIMIT // 2


def _offers(talk: Conversation, ids: range) -> None:
    talk.host(*(message(10, "wl_data_device.data_offer", FIRST_SERVER_ID + i) for i in ids))


def test_objects_that_the_host_created_are_never_unconfirmed(talk: Conversation) -> None:
    talk.client(message(6, "wl_data_device_manager.get_data_device", 10, 5))
    _offers(talk, range(100))
    talk.client(*(message(FIRST_SERVER_ID + i, "wl_data_offer.destroy") for i in range(90)))
    talk.relay.hide_from_client(FIRST_SERVER_ID + 100, "wl_data_offer")
    assert talk.relay.unconfirmed == 0


def test_the_host_may_reuse_an_id_at_the_limit_of_its_objects(talk: Conversation) -> None:
    talk.client(message(6, "wl_data_device_manager.get_data_device", 10, 5))
    _offers(talk, range(OBJECT_LIMIT))
    talk.client(message(FIRST_SERVER_ID + 7, "wl_data_offer.destroy"))
    _offers(talk, range(7, 8))
    assert talk.relay.interface(FIRST_SERVER_ID + 7) == "wl_data_offer"
    with pytest.raises(WireError, match="too many objects"):
        _offers(talk, range(OBJECT_LIMIT, OBJECT_LIMIT + 1))


def test_a_message_too_short_for_its_new_id_is_refused(talk: Conversation) -> None:
    with pytest.raises(WireError, match="too short"):
        talk.client(encode(3, 0))


def test_objects_are_limited() -> None:
    talk = Conversation()
    free = OBJECT_LIMIT - len(talk.relay.requests.objects)
    talk.client(*(message(3, "wl_compositor.create_surface", 100 + i) for i in range(free)))
    assert len(talk.relay.requests.objects) == OBJECT_LIMIT
    more = [message(3, "wl_compositor.create_surface", 100 + free + i) for i in range(COUNT_SLACK + 1)]
    with pytest.raises(WireError, match=f"more than {OBJECT_LIMIT} objects"):
        talk.client(*more)


def test_a_destroyed_object_is_gone_for_the_client_and_stays_for_the_host(talk: Conversation) -> None:
    talk.client(message(3, "wl_compositor.create_surface", 10), message(10, "wl_surface.destroy"))
    talk.host(message(10, "wl_surface.enter", 4))  # sent before the host read the destroy
    assert talk.to_client.data == message(10, "wl_surface.enter", 4)
    with pytest.raises(WireError, match="invalid object 10"):
        talk.client(message(10, "wl_surface.commit"))


def test_an_id_used_again_before_the_host_confirmed_belongs_to_its_successor_afterwards(talk: Conversation) -> None:
    talk.client(
        message(3, "wl_compositor.create_surface", 10),
        message(10, "wl_surface.destroy"),
        message(1, "wl_display.sync", 10),
    )
    talk.host(message(10, "wl_surface.enter", 4))  # still an event of the surface
    talk.host(message(1, "wl_display.delete_id", 10))
    talk.host(message(10, "wl_callback.done", 5), message(1, "wl_display.delete_id", 10))
    assert 10 not in talk.relay.events.objects
    assert 10 not in talk.relay.requests.objects
    assert not talk.relay.successors


def test_a_finished_callback_frees_its_id(talk: Conversation) -> None:
    for _ in range(3):
        talk.client(message(1, "wl_display.sync", 10))
        talk.host(message(10, "wl_callback.done", 1), message(1, "wl_display.delete_id", 10))
    assert 10 not in talk.relay.requests.objects


def test_an_object_that_the_host_makes_can_be_used_and_made_again(talk: Conversation) -> None:
    talk.client(message(6, "wl_data_device_manager.get_data_device", 10, 5))
    for _ in range(3):
        talk.host(message(10, "wl_data_device.data_offer", FIRST_SERVER_ID))
        talk.host(message(FIRST_SERVER_ID, "wl_data_offer.offer", "text/plain"))
        talk.client(message(FIRST_SERVER_ID, "wl_data_offer.destroy"))
    assert FIRST_SERVER_ID not in talk.relay.requests.objects


def test_a_host_that_makes_an_object_in_the_clients_range_is_refused(talk: Conversation) -> None:
    talk.client(message(6, "wl_data_device_manager.get_data_device", 10, 5))
    with pytest.raises(WireError, match="the host made"):
        talk.host(message(10, "wl_data_device.data_offer", 55))


def test_a_descriptor_goes_with_its_message(talk: Conversation) -> None:
    end = _pipe_end()
    talk.client(message(4, "wl_shm.create_pool", 10, 4096), fds=(end,))
    assert talk.to_host.descriptors == [end]


def test_a_missing_descriptor_is_refused(talk: Conversation) -> None:
    with pytest.raises(WireError, match="without its file descriptor"):
        talk.client(message(4, "wl_shm.create_pool", 10, 4096))


def test_surplus_descriptors_are_kept_up_to_a_limit_and_closed(talk: Conversation) -> None:
    ends = tuple(_pipe_end() for _ in range(513))
    with pytest.raises(WireError, match="too many descriptors"):
        talk.client(message(1, "wl_display.sync", 10), fds=ends)
    talk.relay.close()
    for end in ends:
        with pytest.raises(OSError):
            os.fstat(end)


def test_300_descriptors_go_in_batches_that_libwayland_takes(talk: Conversation) -> None:
    ends = tuple(_pipe_end() for _ in range(300))
    talk.client(*(message(4, "wl_shm.create_pool", 10 + i, 4096) for i in range(300)), fds=ends)
    assert talk.to_host.descriptors == list(ends)
    assert talk.to_host.largest_batch <= 28
    assert talk.to_host.data == b"".join(message(4, "wl_shm.create_pool", 10 + i, 4096) for i in range(300))


@pytest.mark.parametrize(
    ("name", "interface", "version", "said"),
    [
        (99, "wl_compositor", 1, "invalid global wl_compositor"),
        (1, "wl_shm", 1, "invalid interface for global 1: have wl_shm, wanted wl_compositor"),
        (1, "wl_compositor", 0, "invalid version"),
        (1, "wl_compositor", 2, "invalid version for global wl_compositor .1.: have 1, wanted 2"),
        (1, "x" * 4000, 1, "invalid interface"),
    ],
)
def test_a_bind_is_checked_against_what_was_announced(
    talk: Conversation, name: int, interface: str, version: int, said: str
) -> None:
    with pytest.raises(WireError, match=said):
        talk.client(message(2, "wl_registry.bind", name, interface, version, 20))


def test_a_bind_cut_at_every_word_is_refused() -> None:
    whole = message(2, "wl_registry.bind", 1, "wl_compositor", 1, 20)
    for size in range(8, len(whole), 4):
        shortened = bytearray(whole[:size])
        shortened[4:8] = (size << 16).to_bytes(4, "little")
        with pytest.raises(WireError):
            Conversation().client(bytes(shortened))


def test_globals_that_the_tables_do_not_know_are_not_offered(talk: Conversation) -> None:
    talk.host(
        message(2, "wl_registry.global", 50, "made_up_manager_v9", 1), message(2, "wl_registry.global_remove", 50)
    )
    assert talk.to_client.data == b""
    with pytest.raises(WireError, match="invalid global"):
        talk.client(message(2, "wl_registry.bind", 50, "made_up_manager_v9", 1, 20))


def test_versions_beyond_the_tables_are_clamped(talk: Conversation) -> None:
    talk.host(message(2, "wl_registry.global", 50, "wl_shm", 1000))
    name, interface, version = decode("usu", talk.to_client.data)
    assert (name, interface) == (50, b"wl_shm")
    assert isinstance(version, int)
    assert version < 100


def test_a_removed_global_may_still_be_bound_for_a_moment(talk: Conversation) -> None:
    talk.host(message(2, "wl_registry.global_remove", 1))
    assert talk.to_client.data == message(2, "wl_registry.global_remove", 1)
    talk.client(message(2, "wl_registry.bind", 1, "wl_compositor", 1, 20))
    assert talk.to_host.data


def test_two_registries_each_hear_of_the_globals(talk: Conversation) -> None:
    talk.client(message(1, "wl_display.get_registry", 30))
    talk.host(message(30, "wl_registry.global", 1, "wl_compositor", 1))
    talk.client(message(30, "wl_registry.bind", 1, "wl_compositor", 1, 31))
    assert talk.relay.interface(31) == "wl_compositor"


def test_the_next_count_is_due_when_the_remaining_objects_can_have_been_created(talk: Conversation) -> None:
    talk.relay.count()
    assert talk.relay.bytes_until_count == 12 * (OBJECT_LIMIT - len(talk.relay.requests.objects))


@pytest.mark.parametrize("object_id", [0, 1, 2, 3, 100, FIRST_SERVER_ID, 2**32 - 1])
def test_an_id_without_an_object_has_no_entries(object_id: int) -> None:
    table = ObjectTable()
    assert object_id not in table
    assert not table.get(object_id)
    assert not table.get(len(table.client_entries))


def test_plain_destructors_take_the_fast_path() -> None:
    routes = Routes(Hooks())
    for interface in INTERFACES:
        layouts = interface_layout(interface).requests
        for layout, entry in zip(layouts, routes.entries(interface)[0], strict=True):
            is_plain = layout.destructor and not layout.new and not layout.descriptors
            assert (entry is destructor) == is_plain, f"{interface}.{layout.name}"


def test_a_message_with_a_descriptor_is_measured_where_it_begins(talk: Conversation) -> None:
    """It follows another message, so its offset in the buffer is not zero."""
    short = encode(4, 0, "n", 50)  # wl_shm.create_pool without its size
    with open(os.devnull, "rb") as null, pytest.raises(WireError, match="create_pool of object 4 is too short"):
        talk.client(encode(1, 0, "n", 51), short, fds=(os.dup(null.fileno()),))

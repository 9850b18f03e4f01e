"""The hook interface: names of messages and arguments, phases, and the state of features."""

from __future__ import annotations

import pytest

from sommelier_shim.core.hooks import FeatureKey, Hooks, MessageHooks, Phase
from sommelier_shim.core.layouts import event, place_after, request
from sommelier_shim.core.relay import Flow, Hook
from sommelier_shim.core.wire import Buffer, WireError, encode
from support.talk import OBJECT, Talk


def test_arguments_are_read_and_written_by_name() -> None:
    set_cursor = request("wl_pointer", "set_cursor")
    message = bytearray(encode(7, 0, "uoii", 1, 2, -3, 4))
    assert set_cursor.encode(7, 1, 2, -3, 4) == message
    assert set_cursor.reader("surface", "hotspot_y")(message, 0) == (2, 4)
    set_cursor.writer("hotspot_x", "hotspot_y")(message, 0, 30, -40)
    assert message == encode(7, 0, "uoii", 1, 2, 30, -40)


def test_arguments_are_found_in_the_middle_of_a_buffer() -> None:
    damage = request("wl_surface", "damage")
    buffer = bytearray(b"before12" + damage.encode(9, 1, 2, 3, 4) + b"after")
    assert damage.reader("x", "width")(buffer, 8) == (1, 3)
    damage.writer("y")(buffer, 8, -2)
    assert buffer == b"before12" + damage.encode(9, 1, -2, 3, 4) + b"after"


def test_a_descriptor_has_no_place_in_a_message() -> None:
    keymap = event("wl_keyboard", "keymap")
    assert keymap.reader("format", "size")(keymap.encode(5, 1, 4096), 0) == (1, 4096)
    with pytest.raises(ValueError, match=r"wl_keyboard\.keymap has no argument fd"):
        keymap.reader("fd")


def test_what_follows_a_string_is_decoded() -> None:
    configure = event("xdg_toplevel", "configure")
    message = bytearray(configure.encode(5, 640, 480, b"abcd"))
    assert configure.decoder("states", "width")(message, 0, len(message)) == (b"abcd", 640)
    with pytest.raises(WireError):
        configure.decoder("states")(message, 0, len(message) - 4)
    bind = request("wl_registry", "bind")
    assert bind.reader("name")(bind.encode(2, 7, "wl_seat", 1, 9), 0) == (7,)
    with pytest.raises(ValueError, match="at a fixed offset"):
        bind.reader("id")


def test_a_misspelt_name_fails_at_once() -> None:
    for lookup, interface, name in (
        (request, "wl_surfaces", "attach"),
        (request, "wl_surface", "atach"),
        (event, "wl_surface", "attach"),
    ):
        with pytest.raises(KeyError):
            lookup(interface, name)
    with pytest.raises(ValueError, match="has no argument bufer"):
        request("wl_surface", "attach").reader("bufer")


def test_a_hook_of_a_misspelt_message_fails_when_it_is_installed() -> None:
    hooks = Hooks()
    with pytest.raises(KeyError):
        hooks.on_request("wl_surface", "atach", lambda flow, object_id, at, stop: None, Phase.OBSERVE)
    with pytest.raises(KeyError):
        hooks.on_event("wl_surface", "attach", lambda flow, object_id, at, stop: None, Phase.OBSERVE)
    with pytest.raises(KeyError):
        hooks.on_own_event("wl_output", "modes", lambda flow, object_id, at, stop: None)
    with pytest.raises(KeyError):
        hooks.on_bind("wl_outputs", lambda flow, name, version, new: None)
    with pytest.raises(KeyError):
        hooks.on_own_global("wl_outputs", lambda flow, name, version: None)


def test_a_second_handler_of_the_proxys_own_objects_fails_when_it_is_installed() -> None:
    hooks = Hooks()
    for _ in range(2):
        hooks.on_bind("wl_output", lambda flow, name, version, new: None)
    hooks.on_own_event("wl_output", "mode", lambda flow, object_id, at, stop: None)
    with pytest.raises(ValueError, match=r"wl_output\.mode"):
        hooks.on_own_event("wl_output", "mode", lambda flow, object_id, at, stop: None)
    hooks.on_own_global("wl_output", lambda flow, name, version: None)
    with pytest.raises(ValueError, match="wl_output"):
        hooks.on_own_global("wl_output", lambda flow, name, version: None)


def test_a_check_adds_hooks_of_messages_alone_and_only_to_the_copy() -> None:
    hooks = Hooks()

    def install(messages: MessageHooks) -> None:
        assert not hasattr(messages, "on_bind")
        messages.on_event("wl_output", "mode", lambda flow, object_id, at, stop: None, Phase.CHECK)

    hooks.checks.append(install)
    assert len(hooks.with_checks().of("wl_output", "mode", is_request=False)) == 1
    assert hooks.of("wl_output", "mode", is_request=False) == []


@pytest.mark.parametrize("missing", [4, 8])
def test_an_id_behind_a_string_ends_with_its_message(missing: int) -> None:
    data = encode(3, 0, "sun", "a", 1, 9)
    assert place_after("s", 4, data, 0, len(data)) == len(data) - 4
    with pytest.raises(WireError, match="shorter"):
        place_after("s", 4, data, 0, len(data) - missing)


def test_readers_and_writers_keep_the_order_of_the_message() -> None:
    damage = request("wl_surface", "damage")
    with pytest.raises(ValueError, match="before"):
        damage.reader("width", "x")
    with pytest.raises(ValueError, match="between"):
        damage.writer("x", "width")


def test_hooks_run_by_phase_whatever_the_order_of_installation() -> None:
    hooks, ran = Hooks(), list[str]()

    def hook(name: str) -> Hook:
        def run(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
            ran.append(name)
            return None

        return run

    for phase in sorted(Phase, key=lambda phase: -phase):
        hooks.on_request("wl_surface", "commit", hook(phase.name), phase)
    for one in hooks.of("wl_surface", "commit", is_request=True):
        one(Talk("plain", "wl_surface", is_request=True).flow, OBJECT, 0, 8)
    assert ran == ["CHECK", "OBSERVE", "CONVERT", "REPLACE", "FINISH"]


def test_each_client_has_its_own_state_of_a_feature() -> None:
    numbers: FeatureKey[list[int]] = FeatureKey("numbers", list)
    first, second = (Talk("plain", "wl_surface", is_request=True).relay for _ in range(2))
    numbers.of(first).append(1)
    assert (numbers.of(first), numbers.of(second)) == ([1], [])
    numbers.set(second, [2])
    assert (numbers.of(first), numbers.of(second)) == ([1], [2])

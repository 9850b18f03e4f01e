"""Accelerators with a real keymap: the client does not receive the host's key combinations."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestlink.config import Config
from guestlink.errors import GuestlinkError
from sommelier_shim.features.policy.accelerators import Accelerator, parse
from sommelier_shim.features.policy.keymap import ALT, Keymap, _compiled, keysym
from support.wayland_peers import GLOBALS, Client, HostConnection, heard_by, stage

KEY_Q, KEY_BRACKETLEFT, KEY_LEFTMETA = 16, 26, 125
MOD_ALT, MOD_SHIFT = 1 << 3, 1 << 0
EXTENDED = (*GLOBALS, ("zcr_keyboard_extension_v1", 1))


@pytest.fixture(scope="module")
def keymap() -> bytes:
    """A keymap as a compositor sends it."""
    xkb = ctypes.CDLL("libxkbcommon.so.0")
    for name in ("xkb_context_new", "xkb_keymap_new_from_names"):
        getattr(xkb, name).restype = ctypes.c_void_p
    xkb.xkb_keymap_get_as_string.restype = ctypes.c_char_p
    context = ctypes.c_void_p(xkb.xkb_context_new(0))
    made = ctypes.c_void_p(xkb.xkb_keymap_new_from_names(context, None, 0))
    text: bytes = xkb.xkb_keymap_get_as_string(made, 1)
    return text + b"\0"


class Typing:
    """A client with a keyboard and a window, and a host that sends key events."""

    def __init__(self, client: Client, host: HostConnection, keymap: bytes) -> None:
        self.client, self.host = client, host
        self.keyboard = client.create(client.bind("wl_seat"), "get_keyboard")
        self.surface = client.create(client.bind("wl_compositor"), "create_surface")
        xdg = client.create(client.bind("xdg_wm_base"), "get_xdg_surface", self.surface)
        self.toplevel = client.create(xdg, "get_toplevel")
        client.sync()
        self._serial = 100
        self._map(keymap)

    def _map(self, keymap: bytes) -> None:
        descriptor = os.memfd_create("keymap")
        os.write(descriptor, keymap)
        self.host.event(self.host_keyboard, "keymap", 1, len(keymap), fds=[descriptor])
        os.close(descriptor)

    @property
    def host_keyboard(self) -> int:
        """The host id of the keyboard: the object that get_keyboard of the seat created."""
        (seat,) = self.host.bound["wl_seat"]
        return int(self.host.wait_request(seat, "get_keyboard").arguments[0])

    def press(self, key: int, modifiers: int = 0, states: tuple[int, ...] = (1, 0)) -> list[list[int]]:
        """Press and release a key; returns the arguments of the key events that the client receives."""
        self.host.event(self.host_keyboard, "modifiers", 1, modifiers, 0, 0, 0)
        for state in states:
            self._serial += 1
            self.host.event(self.host_keyboard, "key", self._serial, 5, key, state)
        return heard_by(self.client.sync(), self.keyboard, "key")


@pytest.fixture
def typing(tmp_path: Path, keymap: bytes, request: pytest.FixtureRequest) -> Iterator[Typing]:
    settings, globals_ = request.param
    with stage(tmp_path, Config(settings), globals_) as (between, host), between.client() as client:
        client.start()
        yield Typing(client, host.connection(at_least=2), keymap)


ALWAYS = ({"accelerators": "Super_L,<Alt>bracketleft"}, GLOBALS)


@pytest.mark.parametrize("typing", [ALWAYS], indirect=True)
@pytest.mark.parametrize(
    ("key", "modifiers", "heard"),
    [
        (KEY_Q, 0, 2),
        (KEY_BRACKETLEFT, 0, 2),
        (KEY_BRACKETLEFT, MOD_ALT, 0),
        (KEY_BRACKETLEFT, MOD_ALT | MOD_SHIFT, 2),
        (KEY_LEFTMETA, 0, 0),
    ],
)
def test_accelerators_do_not_reach_the_client(typing: Typing, key: int, modifiers: int, heard: int) -> None:
    assert len(typing.press(key, modifiers)) == heard


@pytest.mark.parametrize("typing", [ALWAYS], indirect=True)
def test_a_key_that_the_host_repeats_is_released_for_the_client_as_well(typing: Typing) -> None:
    repeated = (1, 2, 2, 0)
    assert [state for *_, state in typing.press(KEY_Q, states=repeated)] == [1, 2, 2, 0]
    assert typing.press(KEY_LEFTMETA, states=repeated) == []


@pytest.mark.parametrize("typing", [({"windowed_accelerators": "<Alt>bracketleft"}, GLOBALS)], indirect=True)
def test_windowed_accelerators_count_unless_the_window_is_fullscreen(typing: Typing) -> None:
    typing.host.event(typing.keyboard, "enter", 1, typing.surface, b"")
    assert typing.press(KEY_BRACKETLEFT, MOD_ALT) == []
    fullscreen, activated = (2).to_bytes(4, "little"), (4).to_bytes(4, "little")
    typing.host.event(typing.toplevel, "configure", 1024, 768, fullscreen + activated)
    assert len(typing.press(KEY_BRACKETLEFT, MOD_ALT)) == 2
    typing.host.event(typing.toplevel, "configure", 0, 0, activated)
    assert typing.press(KEY_BRACKETLEFT, MOD_ALT) == []


@pytest.mark.parametrize("typing", [(ALWAYS[0], EXTENDED)], indirect=True)
def test_a_host_with_the_extension_hears_of_every_key_who_handled_it(typing: Typing) -> None:
    assert "zcr_keyboard_extension_v1" not in typing.client.names
    assert len(typing.press(KEY_Q)) == 2
    assert typing.press(KEY_LEFTMETA) == []
    (extension,) = typing.host.bound["zcr_keyboard_extension_v1"]
    extended, keyboard = typing.host.wait_request(extension, "get_extended_keyboard").arguments
    assert keyboard == typing.host_keyboard

    def acks() -> list[list[int]]:
        return heard_by(typing.host.requests, extended, "ack_key")

    typing.host.wait("all acknowledged", lambda: len(acks()) == 4)
    assert acks() == [[101, 1], [102, 1], [103, 0], [104, 0]]


@pytest.mark.parametrize("typing", [ALWAYS], indirect=True)
def test_a_keymap_that_is_none_switches_accelerators_off(typing: Typing) -> None:
    typing._map(b"nonsense\0")
    assert len(typing.press(KEY_LEFTMETA)) == 2


@pytest.mark.parametrize("typing", [ALWAYS], indirect=True)
def test_keys_that_were_held_at_enter_are_released_for_the_client(typing: Typing) -> None:
    typing.host.event(typing.keyboard, "enter", 1, typing.surface, KEY_LEFTMETA.to_bytes(4, "little"))
    typing.host.event(typing.keyboard, "key", 1, 5, KEY_LEFTMETA, 0)
    assert [m.name for m in typing.client.sync() if m.object_id == typing.keyboard][-1] == "key"


@pytest.mark.parametrize("typing", [ALWAYS], indirect=True)
def test_a_key_that_is_held_while_the_keymap_changes_is_released(typing: Typing, keymap: bytes) -> None:
    """chromeos-sommelier.md §8.1.26."""
    assert len(typing.press(KEY_Q, states=(1,))) == 1
    assert not typing.press(KEY_LEFTMETA, states=(1,))
    typing._map(keymap)
    assert len(typing.press(KEY_Q, states=(0,))) == 1
    assert not typing.press(KEY_LEFTMETA, states=(0,))


def test_lists_are_read_in_any_case() -> None:
    assert parse("super_l, <ALT>bracketleft") == {
        Accelerator(0, keysym("Super_L")),
        Accelerator(2, keysym("bracketleft")),
    }
    assert parse("<Control><Shift>a,") == {Accelerator(5, keysym("a"))}


def test_without_libxkbcommon_programs_get_every_key(
    tmp_path: Path, keymap: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sommelier_shim.features.policy.keymap._SONAME", "libxkbcommon-that-is-missing.so.0")
    monkeypatch.setattr("sommelier_shim.features.policy.keymap._library", None)
    with stage(tmp_path, Config(ALWAYS[0]), GLOBALS) as (between, host), between.client() as client:
        client.start()
        typing = Typing(client, host.connection(at_least=2), keymap)
        assert len(typing.press(KEY_LEFTMETA)) == 2
    assert "accelerators need libxkbcommon; install libxkbcommon0" in caplog.text


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(GuestlinkError, match="'<Alt>nokey'"):
        parse("<Alt>nokey")


def test_keyboards_share_a_keymap_and_not_its_state(keymap: bytes) -> None:
    descriptor = os.memfd_create("keymap")
    with open(descriptor, "r+b", buffering=0) as stream:
        stream.write(keymap)
        first = Keymap(descriptor, len(keymap))
        read = _compiled.cache_info().misses
        # A client may create any number of keyboards, so each must cost next to nothing.
        others = [Keymap(descriptor, len(keymap)) for _ in range(100)]
    assert _compiled.cache_info().misses == read
    first.update(MOD_ALT, 0, 0, 0)
    assert first.modifiers() == ALT
    assert not any(other.modifiers() for other in others)


@pytest.mark.parametrize("size", [0, 1, 1 << 30])
def test_a_keymap_of_a_false_size_is_refused(size: int) -> None:
    with open(os.devnull, "rb") as null, pytest.raises(ValueError, match="keymap"):
        Keymap(null.fileno(), size)

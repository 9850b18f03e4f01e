"""A virtual keyboard and pointer for tests of a compositor."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from types import TracebackType

from support.wayland_peers import Client

LEFT, RIGHT, MIDDLE = 0x110, 0x111, 0x112
"""Mouse buttons, as in linux/input-event-codes.h."""

_KEYMAP = (
    b'xkb_keymap { xkb_keycodes { include "evdev" }; xkb_types { include "complete" };'
    b' xkb_compatibility { include "complete" }; xkb_symbols { include "pc+us" }; };\0'
)
_ROWS = ((2, "1234567890-=", "!@#$%^&*()_+"), (16, "qwertyuiop[]", "QWERTYUIOP{}"))
_ROWS += ((30, "asdfghjkl;'`", 'ASDFGHJKL:"~'), (43, "\\zxcvbnm,./", "|ZXCVBNM<>?"))
_CODES = {character: (first + n, False) for first, plain, _ in _ROWS for n, character in enumerate(plain)}
_CODES |= {character: (first + n, True) for first, _, shifted in _ROWS for n, character in enumerate(shifted)}
_CODES |= {" ": (57, False), "\n": (28, False), "\t": (15, False)}
KEYS = {"Escape": 1, "Return": 28, "Tab": 15, "F11": 87, "Down": 108, "Up": 103, "End": 107, "Home": 102}
MODIFIERS = {"shift": (42, 1), "ctrl": (29, 4), "alt": (56, 8), "super": (125, 64)}
"""By name: the key code, and the bit in the modifiers of the keymap above."""


class VirtualInput:
    """The common part of all input devices; ``time`` stamps count up from 0."""

    def move(self, x: int, y: int) -> None:
        """Move the pointer to a position on the output, in the output's units."""
        raise NotImplementedError

    def button(self, button: int, pressed: bool) -> None:
        """Press or release a button."""
        raise NotImplementedError

    def code(self, code: int, pressed: bool) -> None:
        """Press or release a key by its code in linux/input-event-codes.h."""
        raise NotImplementedError

    def rest(self) -> None:
        """Give a program some time to react."""
        time.sleep(0.1)

    def click(self, x: int, y: int, button: int = LEFT, times: int = 1) -> None:
        """Move to a position and click."""
        self.move(x, y)
        for _ in range(times):
            self.button(button, True)
            self.button(button, False)

    def drag(self, start: tuple[int, int], end: tuple[int, int], steps: int = 10) -> None:
        """Press the left button at one position and release it at another, slowly enough for toolkits to notice."""
        self.move(*start)
        self.button(LEFT, True)
        self.pull(start, end, steps)
        self.button(LEFT, False)

    def pull(self, start: tuple[int, int], end: tuple[int, int], steps: int = 10) -> None:
        """Move from one position to another in small steps."""
        for step in range(1, steps + 1):
            self.move(*(a + (b - a) * step // steps for a, b in zip(start, end, strict=True)))
            time.sleep(0.02)

    def key(self, name: str, *modifiers: str) -> None:
        """Press and release a key, by name or as a character, while modifiers are held."""
        code, shift = (KEYS[name], False) if name in KEYS else _CODES[name]
        held = [*modifiers, *(["shift"] if shift else [])]
        for modifier in held:
            self.code(MODIFIERS[modifier][0], True)
        self.code(code, True)
        self.code(code, False)
        for modifier in reversed(held):
            self.code(MODIFIERS[modifier][0], False)

    def type(self, text: str) -> None:
        """Type a string with the US layout."""
        for character in text:
            self.key(character)


class WlrootsInput(VirtualInput):
    """Sway's ``zwlr_virtual_pointer_v1`` and ``zwp_virtual_keyboard_v1``.

    :param path: the compositor's socket, :param size: the size of the compositor's output, as ``WIDTHxHEIGHT``.
    """

    def __init__(self, path: Path, size: str) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(path))
        self._client = Client(sock)
        self._size = [int(word) for word in size.split("x")]
        self._modifiers = 0

    def __enter__(self) -> WlrootsInput:
        client = self._client
        client.start()
        seat = client.bind("wl_seat", 1)
        pointers, keyboards = (
            client.bind("zwlr_virtual_pointer_manager_v1", 1),
            client.bind("zwp_virtual_keyboard_manager_v1", 1),
        )
        self._pointer = client.create(pointers, "create_virtual_pointer", seat)
        self._keyboard = client.create(keyboards, "create_virtual_keyboard", seat)
        descriptor = os.memfd_create("keymap", os.MFD_CLOEXEC)
        os.write(descriptor, _KEYMAP)
        client.request(self._keyboard, "keymap", 1, len(_KEYMAP), fds=[descriptor])
        os.close(descriptor)
        client.sync()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def move(self, x: int, y: int) -> None:
        """Move the pointer."""
        self._send(self._pointer, "motion_absolute", _now(), x, y, *self._size)
        self._send(self._pointer, "frame")

    def button(self, button: int, pressed: bool) -> None:
        """Press or release a button."""
        self._send(self._pointer, "button", _now(), button, int(pressed))
        self._send(self._pointer, "frame")

    def scroll(self, steps: int) -> None:
        """Turn the wheel, down for positive numbers."""
        self._send(self._pointer, "axis_source", 0)
        self._send(self._pointer, "axis_discrete", _now(), 0, 15.0 * steps, steps)
        self._send(self._pointer, "frame")

    def code(self, code: int, pressed: bool) -> None:
        """Press or release a key; the compositor does not derive the modifiers from it."""
        self._send(self._keyboard, "key", _now(), code, int(pressed))
        for key, bit in MODIFIERS.values():
            if key == code:
                self._modifiers = self._modifiers | bit if pressed else self._modifiers & ~bit
                self._send(self._keyboard, "modifiers", self._modifiers, 0, 0, 0)

    def _send(self, object_id: int, name: str, *values: object) -> None:
        self._client.request(object_id, name, *values)
        self._client.sync()


def _now() -> int:
    return int(time.monotonic() * 1000) & 0xFFFFFFFF

"""The keyboard's state, computed by libxkbcommon: accelerators are keysyms, not key codes.

The proxy loads the library only if accelerators are set.
"""

from __future__ import annotations

import os
from functools import lru_cache

from guestlink.errors import GuestlinkError

KEYMAP_LIMIT = 4 * 1024 * 1024
"""Maximum size of a keymap in bytes; common ones have 60 KB."""
_SONAME = "libxkbcommon.so.0"
_EVDEV_OFFSET = 8
"""An XKB key code is the kernel's key code plus this."""
_TEXT_V1 = 1
_CASE_INSENSITIVE = 1
_EFFECTIVE = 1 << 3
CONTROL, ALT, SHIFT = 1, 2, 4
_MODIFIERS = ((b"Control", CONTROL), (b"Mod1", ALT), (b"Shift", SHIFT))


class LibraryMissing(GuestlinkError):
    """libxkbcommon is not installed."""


class _Library:
    def __init__(self) -> None:
        import ctypes  # imported late: needed only with accelerators

        try:
            xkb = ctypes.CDLL(_SONAME)
        except OSError:
            raise LibraryMissing(
                "accelerators need libxkbcommon", hint="install libxkbcommon0, outside Debian libxkbcommon"
            ) from None
        pointer, number, text = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_char_p
        for name, result, arguments in (
            ("xkb_context_new", pointer, (ctypes.c_int,)),
            ("xkb_context_set_log_level", None, (pointer, ctypes.c_int)),
            ("xkb_keymap_new_from_buffer", pointer, (pointer, text, ctypes.c_size_t, ctypes.c_int, ctypes.c_int)),
            ("xkb_keymap_unref", None, (pointer,)),
            ("xkb_state_new", pointer, (pointer,)),
            ("xkb_state_unref", None, (pointer,)),
            ("xkb_state_update_mask", ctypes.c_int, (pointer, *(number,) * 6)),
            ("xkb_state_key_get_one_sym", number, (pointer, number)),
            ("xkb_state_mod_name_is_active", ctypes.c_int, (pointer, text, ctypes.c_int)),
            ("xkb_keysym_from_name", number, (text, ctypes.c_int)),
        ):
            function = getattr(xkb, name)
            function.restype, function.argtypes = result, arguments
        self.xkb = xkb
        self.context = xkb.xkb_context_new(1)  # no default include paths: hosts send complete keymaps
        xkb.xkb_context_set_log_level(self.context, 10)


_library: _Library | None = None


def _load() -> _Library:
    global _library
    if _library is None:
        _library = _Library()
    return _library


def keysym(name: str) -> int:
    """The number of a keysym by its name, case-insensitive; 0 if there is none.

    :raises LibraryMissing: libxkbcommon is not installed.
    """
    number: int = _load().xkb.xkb_keysym_from_name(name.encode(), _CASE_INSENSITIVE)
    return number


class _Compiled:
    """A keymap compiled by libxkbcommon.

    :raises ValueError: the text is no keymap.
    """

    keymap: int | None = None

    def __init__(self, text: bytes) -> None:
        library = _load()
        self.keymap = library.xkb.xkb_keymap_new_from_buffer(library.context, text, len(text), _TEXT_V1, 0)
        if not self.keymap:
            raise ValueError("not a keymap")
        self._unref = library.xkb.xkb_keymap_unref

    def __del__(self) -> None:
        if self.keymap:
            self._unref(self.keymap)


# A host has one or two keymaps for all keyboards. Compiling one takes 2 ms and 120 KB, and a client may create any
# number of keyboards.
_compiled = lru_cache(maxsize=4)(_Compiled)


class Keymap:
    """The state of a keyboard with one keymap.

    :param descriptor: descriptor of the keymap, which stays open; it is read, not mapped.
    :param size: size of the keymap in bytes.
    :raises ValueError: the descriptor has no keymap.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._state = None
        text = os.pread(descriptor, size, 0) if 0 < size <= KEYMAP_LIMIT else b""
        compiled = _compiled(text.split(b"\0")[0])
        self._xkb = _load().xkb
        self._state = self._xkb.xkb_state_new(compiled.keymap)  # the state holds a reference to the keymap

    def __del__(self) -> None:
        if self._state:
            self._xkb.xkb_state_unref(self._state)

    def update(self, depressed: int, latched: int, locked: int, group: int) -> None:
        """Apply a wl_keyboard.modifiers event."""
        self._xkb.xkb_state_update_mask(self._state, depressed, latched, locked, 0, 0, group)

    def keysym(self, key: int) -> int:
        """The present keysym of a key, given by the kernel's code; 0 if it has none."""
        number: int = self._xkb.xkb_state_key_get_one_sym(self._state, (key + _EVDEV_OFFSET) & 0xFFFFFFFF)
        return number

    def modifiers(self) -> int:
        """The bits of the active modifiers among control, alt and shift."""
        active = self._xkb.xkb_state_mod_name_is_active
        return sum(bit for name, bit in _MODIFIERS if active(self._state, name, _EFFECTIVE) == 1)

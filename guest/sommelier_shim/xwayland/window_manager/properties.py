"""What the properties of an X window say: ICCCM 2.0 §4.1.2, EWMH 1.5, and Motif's hints. Pure.

Any client may write any bytes into any property. A property of the wrong type, format or length says nothing: these
functions return the value that a missing property has.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

TEXT_LIMIT = 4000
"""Bytes of a title that we pass on, in UTF-8: a message of Wayland has at most 4096, or libwayland disconnects."""
NAME_LIMIT = 255
"""Characters of a window class."""
ATOM_LIMIT = 128
"""Atoms of a list, as of protocols or window types; more are passed over."""
SIZE_LIMIT = 0x7FFFFFFF
"""Sizes from this on count as no limit (chromeos-sommelier.md §2.8)."""
PIXEL_LIMIT = 65535
"""The largest width and height of an X window."""


class Property(NamedTuple):
    """A property as the server returns it.

    :ivar kind: the name of its type's atom, ``""`` if there is no such property.
    :ivar form: bits of an item: 8, 16 or 32; 0 without a property.
    """

    kind: str = ""
    form: int = 0
    value: bytes = b""

    def numbers(self, kind: str, least: int = 0) -> tuple[int, ...]:
        """Its 32-bit items; none if it has another type, or fewer than ``least``."""
        if self.form != 32 or self.kind != kind or len(self.value) < 4 * least:
            return ()
        return struct.unpack(f"<{len(self.value) // 4}I", self.value[: len(self.value) // 4 * 4])


MISSING = Property()
"""The property that is not there."""


def text(utf8: Property, other: Property = MISSING) -> str:
    """A title or a name.

    :param utf8: the property of EWMH, as _NET_WM_NAME: UTF-8.
    :param other: the property of ICCCM, as WM_NAME, which counts if the first one is missing: Latin-1, or UTF-8 if
        its type says so. COMPOUND_TEXT is read as Latin-1: for other scripts toolkits set the property of EWMH.
    """
    for found in (utf8, other):
        if found.form == 8 and found.kind in ("UTF8_STRING", "STRING", "COMPOUND_TEXT", "C_STRING"):
            raw = found.value.split(b"\0", 1)[0]
            if found.kind == "UTF8_STRING" or found is utf8:
                decoded = raw.decode("utf-8", "replace")
            else:
                decoded = raw.decode("latin-1")
            shown = "".join(letter if letter.isprintable() else " " for letter in decoded[:TEXT_LIMIT])
            return shown.encode()[:TEXT_LIMIT].decode(errors="ignore")
    return ""


class WindowClass(NamedTuple):
    """WM_CLASS (ICCCM §4.1.2.5)."""

    instance: str = ""
    name: str = ""


def window_class(found: Property) -> WindowClass:
    """The two strings, each of which ends with a NUL byte."""
    if found.form != 8 or found.kind not in ("STRING", "UTF8_STRING"):
        return WindowClass()
    words = [word.decode("utf-8" if found.kind == "UTF8_STRING" else "latin-1", "replace") for word in
             found.value.split(b"\0")[:2]]  # fmt: skip
    printable = [word[:NAME_LIMIT] if word.isprintable() else "" for word in (*words, "", "")]
    return WindowClass(printable[0], printable[1])


class SizeHints(NamedTuple):
    """WM_NORMAL_HINTS (ICCCM §4.1.2.3). Sizes are without the border; 0 means that there is no such hint.

    :ivar is_user_position: whether the user has chosen the position; ``is_program_position``: the program has.
    :ivar minimum: width and height; ``maximum``, ``increment``, ``base`` likewise.
    :ivar aspect: the least and the greatest ratio, each as two numbers.
    :ivar gravity: which point of the window stays where it is (1 is NorthWest, 10 Static).
    :ivar has_base: whether the base size is a hint of its own; otherwise it is the minimum.
    """

    is_user_position: bool = False
    is_program_position: bool = False
    minimum: tuple[int, int] = (0, 0)
    maximum: tuple[int, int] = (0, 0)
    increment: tuple[int, int] = (0, 0)
    base: tuple[int, int] = (0, 0)
    aspect: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    gravity: int = 1
    has_base: bool = False

    @property
    def is_fixed(self) -> bool:
        """Whether the window has one size only."""
        return self.minimum == self.maximum and all(self.minimum)


_US_POSITION, _P_POSITION, _P_MIN, _P_MAX, _P_INCREMENT, _P_ASPECT, _P_BASE, _P_GRAVITY = (
    1, 4, 16, 32, 64, 128, 256, 512,
)  # fmt: skip
_OLD_SIZE_HINTS, _SIZE_HINTS = 15, 18
"""Numbers of the property before ICCCM's first version, which had neither base size nor gravity, and since."""


def size_hints(found: Property) -> SizeHints:
    """Sizes that a window may have. Hints that contradict each other are left out."""
    numbers = found.numbers("WM_SIZE_HINTS", _OLD_SIZE_HINTS)
    if not numbers:
        return SizeHints()
    flags, numbers = numbers[0], (*numbers, *(0,) * _SIZE_HINTS)[:_SIZE_HINTS]
    if len(found.value) < 4 * _SIZE_HINTS:
        flags &= ~(_P_BASE | _P_GRAVITY)

    def pair(flag: int, at: int) -> tuple[int, int]:
        width, height = numbers[at : at + 2] if flags & flag else (0, 0)
        return _pixels(width), _pixels(height)

    minimum, base = pair(_P_MIN, 5), pair(_P_BASE, 15)
    maximum = pair(_P_MAX, 7)
    if not flags & _P_MIN:
        minimum = base  # ICCCM: the base size stands in for a missing minimum, and the other way round.
    if any(0 < most < least for most, least in zip(maximum, minimum, strict=True)):
        maximum = (0, 0)
    aspect = (_ratio(*numbers[11:13]), _ratio(*numbers[13:15])) if flags & _P_ASPECT else ((0, 0), (0, 0))
    gravity = numbers[17] if flags & _P_GRAVITY and 1 <= numbers[17] <= 10 else 1
    return SizeHints(
        bool(flags & _US_POSITION),
        bool(flags & _P_POSITION),
        minimum,
        maximum,
        pair(_P_INCREMENT, 9),
        base if flags & _P_BASE else minimum,
        aspect,
        gravity,
        bool(flags & _P_BASE),
    )


def _pixels(size: int) -> int:
    """A size of the hints; 0 for none, for a negative one, and for one that no window can have."""
    return 0 if size >= SIZE_LIMIT else min(size, PIXEL_LIMIT)


def _ratio(numerator: int, denominator: int) -> tuple[int, int]:
    return (numerator, denominator) if 0 < numerator < SIZE_LIMIT and 0 < denominator < SIZE_LIMIT else (0, 0)


class WindowHints(NamedTuple):
    """WM_HINTS (ICCCM §4.1.2.4).

    :ivar takes_input: whether the window manager gives it the focus; without the hint, it does.
    :ivar is_iconic: whether it begins as an icon.
    :ivar group: the group's leader, 0 for none.
    :ivar is_urgent: whether it wants the user's attention.
    """

    takes_input: bool = True
    is_iconic: bool = False
    group: int = 0
    is_urgent: bool = False


_INPUT_HINT, _STATE_HINT, _GROUP_HINT, _URGENCY_HINT = 1, 2, 64, 256
_ICONIC_STATE = 3
_HINTS, _GROUP_AT = 8, 8
"""Numbers of the property without the group, which old programs leave out, and the group's place."""


def window_hints(found: Property) -> WindowHints:
    """What a window says about its focus, its start and its group."""
    numbers = found.numbers("WM_HINTS", _HINTS)
    if not numbers:
        return WindowHints()
    flags = numbers[0]
    return WindowHints(
        not flags & _INPUT_HINT or bool(numbers[1]),
        bool(flags & _STATE_HINT) and numbers[2] == _ICONIC_STATE,
        numbers[_GROUP_AT] if flags & _GROUP_HINT and len(numbers) > _GROUP_AT else 0,
        bool(flags & _URGENCY_HINT),
    )


_MOTIF_DECORATIONS = 2
_MOTIF_ALL, _MOTIF_TITLE, _MOTIF_BORDER = 1, 8, 2


def wants_decorations(found: Property) -> bool:
    """Whether a window wants a title bar and a border, by _MOTIF_WM_HINTS; a missing property means yes.

    The bit for all decorations turns the other bits round: it means all but these (chromeos-sommelier.md §2.8).
    """
    numbers = found.numbers("_MOTIF_WM_HINTS", 3)
    if not numbers or not numbers[0] & _MOTIF_DECORATIONS:
        return True
    wanted = numbers[2]
    if wanted & _MOTIF_ALL:
        return not wanted & _MOTIF_TITLE
    return bool(wanted & (_MOTIF_TITLE | _MOTIF_BORDER))


def window(found: Property) -> int:
    """A window, as of WM_TRANSIENT_FOR and WM_CLIENT_LEADER; 0 for none."""
    return next(iter(found.numbers("WINDOW", 1)), 0)


def atoms(found: Property) -> tuple[int, ...]:
    """A list of atoms, as of WM_PROTOCOLS, _NET_WM_STATE and _NET_WM_WINDOW_TYPE."""
    return found.numbers("ATOM")[:ATOM_LIMIT]


def cardinal(found: Property) -> int | None:
    """A number, as of _NET_WM_PID, or ``None``."""
    return next(iter(found.numbers("CARDINAL", 1)), None)

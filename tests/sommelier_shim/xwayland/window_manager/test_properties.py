"""sommelier_shim.xwayland.window_manager.properties: what properties say, and that others say nothing."""

from __future__ import annotations

import contextlib
import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sommelier_shim.xwayland.window_manager.properties import (
    MISSING,
    Property,
    SizeHints,
    WindowClass,
    WindowHints,
    atoms,
    cardinal,
    size_hints,
    text,
    wants_decorations,
    window,
    window_class,
    window_hints,
)
from sommelier_shim.xwayland.x11.messages import (
    Atom,
    GetAtomName,
    GetAtomNameReply,
    GetProperty,
    GetPropertyReply,
    QueryTree,
    QueryTreeReply,
)
from support.needs import need
from support.x_server import LIMIT, XClient, x_server


def _numbers(kind: str, *numbers: int) -> Property:
    return Property(kind, 32, struct.pack(f"<{len(numbers)}I", *(number & 0xFFFFFFFF for number in numbers)))


def _sizes(flags: int, *, count: int = 18, **places: int) -> Property:
    numbers = [flags] + [0] * (count - 1)
    for place, number in places.items():
        numbers[int(place[1:])] = number
    return _numbers("WM_SIZE_HINTS", *numbers)


def _utf8(value: bytes) -> Property:
    return Property("UTF8_STRING", 8, value)


TEXTS = [
    (_utf8("Größe".encode()), MISSING, "Größe"),
    (_utf8(b"a\0b"), MISSING, "a"),
    (_utf8(b"bad \xff byte"), MISSING, "bad � byte"),
    (_utf8(b"two\nlines\x1b"), MISSING, "two lines "),
    (_utf8(b""), Property("STRING", 8, b"old"), ""),
    (MISSING, Property("STRING", 8, b"Gr\xf6\xdfe"), "Größe"),
    (MISSING, Property("COMPOUND_TEXT", 8, b"plain"), "plain"),
    (MISSING, _utf8("日本".encode()), "日本"),
    (Property("UTF8_STRING", 32, b"wide"), Property("STRING", 8, b"old"), "old"),
    (MISSING, Property("INTEGER", 8, b"no text"), ""),
    (_utf8(b"x" * 100_000), MISSING, "x" * 4000),
    (_utf8("日本".encode() * 4000), MISSING, "日本" * 666 + "日"),
]


@pytest.mark.parametrize(("utf8", "other", "expected"), TEXTS, ids=range(len(TEXTS)))
def test_titles(utf8: Property, other: Property, expected: str) -> None:
    assert text(utf8, other) == expected


CLASSES = [
    (b"xterm\0XTerm\0", WindowClass("xterm", "XTerm")),
    (b"only\0", WindowClass("only", "")),
    (b"no end", WindowClass("no end", "")),
    (b"", WindowClass()),
    (b"\0Name\0", WindowClass("", "Name")),
    (b"a\nb\0Good\0", WindowClass("", "Good")),
    (b"a\0" + b"B" * 1000 + b"\0", WindowClass("a", "B" * 255)),
]


@pytest.mark.parametrize(("value", "expected"), CLASSES, ids=range(len(CLASSES)))
def test_classes(value: bytes, expected: WindowClass) -> None:
    assert window_class(Property("STRING", 8, value)) == expected
    assert window_class(Property("STRING", 32, value)) == WindowClass()


SIZES = [
    ("none", MISSING, SizeHints()),
    ("another type", _numbers("CARDINAL", *[0xFFFFFFFF] * 18), SizeHints()),
    ("too short", _sizes(0x3FF, count=14, _5=10), SizeHints()),
    ("flags decide", _sizes(0, _5=10, _6=20, _7=30, _8=40), SizeHints()),
    ("minimum", _sizes(16, _5=10, _6=20), SizeHints(minimum=(10, 20), base=(10, 20))),
    ("base for minimum", _sizes(256, _15=3, _16=4), SizeHints(minimum=(3, 4), base=(3, 4), has_base=True)),
    ("before base and gravity", _sizes(0x3FF & ~128, count=15, _5=5, _6=6, _7=7, _8=8, _9=1, _10=2),
     SizeHints(True, True, (5, 6), (7, 8), (1, 2), (5, 6))),
    ("maximum below minimum", _sizes(48, _5=10, _6=20, _7=30, _8=5), SizeHints(minimum=(10, 20), base=(10, 20))),
    ("no limit", _sizes(32, _7=0x7FFFFFFF, _8=0xFFFFFFFF), SizeHints()),
    ("beyond X", _sizes(16, _5=100_000, _6=1), SizeHints(minimum=(65535, 1), base=(65535, 1))),
    ("aspect", _sizes(128, _11=4, _12=3, _13=16, _14=9), SizeHints(aspect=((4, 3), (16, 9)))),
    ("aspect without end", _sizes(128, _11=4, _12=0, _13=16, _14=9), SizeHints(aspect=((0, 0), (16, 9)))),
    ("gravity", _sizes(512, _17=10), SizeHints(gravity=10)),
    ("no gravity", _sizes(512, _17=77), SizeHints()),
    ("user position", _sizes(1), SizeHints(is_user_position=True)),
    ("program position", _sizes(4), SizeHints(is_program_position=True)),
]  # fmt: skip


@pytest.mark.parametrize(("found", "expected"), [case[1:] for case in SIZES], ids=[case[0] for case in SIZES])
def test_sizes(found: Property, expected: SizeHints) -> None:
    assert size_hints(found) == expected


def test_a_window_of_one_size() -> None:
    assert size_hints(_sizes(48, _5=10, _6=20, _7=10, _8=20)).is_fixed
    assert not size_hints(_sizes(48, _5=10, _6=20, _7=10, _8=21)).is_fixed
    assert not SizeHints().is_fixed


HINTS = [
    (MISSING, WindowHints()),
    (_numbers("WM_HINTS", 1, 0, 0, 0, 0, 0, 0, 0, 0), WindowHints(takes_input=False)),
    (_numbers("WM_HINTS", 1, 1, 0, 0, 0, 0, 0, 0, 0), WindowHints()),
    (_numbers("WM_HINTS", 0, 0, 3, 0, 0, 0, 0, 0, 9), WindowHints()),
    (_numbers("WM_HINTS", 2 | 64 | 256, 0, 3, 0, 0, 0, 0, 0, 9), WindowHints(True, True, 9, True)),
    (_numbers("WM_HINTS", 64, 0, 0, 0, 0, 0, 0, 0), WindowHints()),
    (_numbers("WM_HINTS", 1, 0), WindowHints()),
]


@pytest.mark.parametrize(("found", "expected"), HINTS, ids=range(len(HINTS)))
def test_hints(found: Property, expected: WindowHints) -> None:
    assert window_hints(found) == expected


MOTIF = [
    (MISSING, True),
    (_numbers("_MOTIF_WM_HINTS", 2, 0, 0, 0, 0), False),
    (_numbers("_MOTIF_WM_HINTS", 2, 0, 1, 0, 0), True),
    (_numbers("_MOTIF_WM_HINTS", 2, 0, 1 | 8, 0, 0), False),
    (_numbers("_MOTIF_WM_HINTS", 2, 0, 8, 0, 0), True),
    (_numbers("_MOTIF_WM_HINTS", 2, 0, 2, 0, 0), True),
    (_numbers("_MOTIF_WM_HINTS", 1, 0, 0, 0, 0), True),
    (_numbers("_MOTIF_WM_HINTS", 2, 0), True),
    (_numbers("CARDINAL", 2, 0, 0, 0, 0), True),
]


@pytest.mark.parametrize(("found", "expected"), MOTIF, ids=range(len(MOTIF)))
def test_decorations(found: Property, expected: bool) -> None:
    assert wants_decorations(found) is expected


def test_windows_atoms_and_numbers() -> None:
    assert window(_numbers("WINDOW", 7, 8)) == 7
    assert window(_numbers("CARDINAL", 7)) == window(MISSING) == 0
    assert atoms(_numbers("ATOM", *range(1000))) == tuple(range(128))
    assert cardinal(_numbers("CARDINAL", 0)) == 0
    assert cardinal(_numbers("INTEGER", 1)) is None


@given(
    kind=st.sampled_from(
        ("WM_SIZE_HINTS", "WM_HINTS", "_MOTIF_WM_HINTS", "ATOM", "WINDOW", "CARDINAL", "STRING", "")
    ),
    form=st.sampled_from((0, 8, 16, 32)),
    value=st.binary(max_size=90),
)
def test_any_bytes_say_something_or_nothing(kind: str, form: int, value: bytes) -> None:
    found = Property(kind, form, value)
    hints = size_hints(found)
    assert all(0 <= size <= 65535 for pair in (hints.minimum, hints.maximum, hints.increment) for size in pair)
    assert text(found).isprintable()
    for reads in (window_class, window_hints, wants_decorations, window, atoms, cardinal):
        reads(found)


_READ = ("WM_NORMAL_HINTS", "WM_CLASS", "WM_NAME", "WM_HINTS")
PROGRAMS = {
    "xterm": ["xterm", "-geometry", "70x20+5+6", "-title", "Shell", "-e", "sleep", "1000"],
    "xclock": ["xclock", "-geometry", "200x150", "-name", "clock"],
    "xcalc": ["xcalc"],
}


@pytest.fixture(scope="module")
def display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with x_server(tmp_path_factory.mktemp("x")) as display:
        yield display


@pytest.mark.parametrize("program", PROGRAMS)
def test_xprop_reads_the_same_of_real_programs(program: str, display: str, tmp_path: Path) -> None:
    need("xprop", *PROGRAMS, packages="x11-utils x11-apps xterm")
    child = subprocess.Popen(
        PROGRAMS[program], env={"DISPLAY": display, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with contextlib.closing(XClient(display)) as client:
            ours = _window_of(client, program)
            before, said = "", " "
            while said != before:  # Xterm writes its hints twice; ours are read between two equal answers.
                before = said
                sizes = size_hints(_read(client, ours, Atom.WM_NORMAL_HINTS))
                names = window_class(_read(client, ours, Atom.WM_CLASS))
                said = subprocess.run(
                    ["xprop", "-display", display, "-id", hex(ours), *_READ],
                    capture_output=True, text=True, timeout=LIMIT, check=True,
                ).stdout  # fmt: skip
            assert f'WM_CLASS(STRING) = "{names.instance}", "{names.name}"' in said
            assert f'WM_NAME(STRING) = "{text(MISSING, _read(client, ours, Atom.WM_NAME))}"' in said
            takes = window_hints(_read(client, ours, Atom.WM_HINTS)).takes_input
            assert f"Client accepts input or input focus: {takes}" in said
            for words, pair in (("minimum size", sizes.minimum), ("resize increment", sizes.increment)):
                found = re.search(rf"program specified {words}: (\d+) by (\d+)", said)
                assert pair == ((int(found[1]), int(found[2])) if found else (0, 0)), said
            assert sizes.is_user_position == ("user specified location" in said)
    finally:
        child.kill()
        child.wait(LIMIT)


def _read(client: XClient, of: int, name: int) -> Property:
    reply = client.call(GetProperty(False, of, name, 0, 0, 1000), GetPropertyReply)
    if not reply.type:
        return MISSING
    kind = client.call(GetAtomName(reply.type), GetAtomNameReply).name.decode()
    return Property(kind, reply.format, reply.value)


def _window_of(client: XClient, program: str) -> int:
    """Wait for the window of a program; it has a WM_CLASS when it is mapped."""
    for _ in range(100_000):
        for child in client.call(QueryTree(client.root), QueryTreeReply).children:
            if window_class(_read_if_there(client, child)).name:
                return child
    raise AssertionError(f"{program} shows no window")


def _read_if_there(client: XClient, of: int) -> Property:
    """WM_CLASS of a window that may be gone."""
    number = client.wire.request(GetProperty(False, of, Atom.WM_CLASS, 0, 0, 1000))
    reply = client.answer(number)
    return (
        MISSING if not isinstance(reply, GetPropertyReply) or not reply.type else Property("STRING", 8, reply.value)
    )

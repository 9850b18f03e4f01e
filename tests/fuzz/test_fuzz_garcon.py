"""garcon's parsers against arbitrary file contents: each returns a value or raises the module's one error.

The tests compare desktop entries with a reader that follows chromeos-garcon.md §3.2 line by line.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from garcon.desktop.app_list import PublishedApplication, desktop_file_id
from garcon.desktop.app_messages import fit_list
from garcon.desktop.app_scanner import AppScanner
from garcon.desktop.desktop_entry import BrokenEntry, DesktopEntry, parse_desktop_entry, split_list
from garcon.desktop.exec_line import executable_file_name, expand_exec, launch_commands
from garcon.desktop.icon_lookup import IconLookup
from garcon.desktop.icon_theme import (
    BrokenTheme,
    compatible_order,
    parse_index_theme,
    parse_specified_theme,
    specified_order,
)
from garcon.desktop.id_lookup import find_desktop_file
from garcon.desktop.mime_cache import BrokenMimeCache, parse_mime_cache
from garcon.desktop.pictures import SIZE_LIMIT, read_icon
from garcon.desktop.xpm import SIDE_LIMIT, xpm_to_png
from guestlink.pb import container_host_pb2
from support.fuzzing import ROUND

# -- desktop entries ---------------------------------------------------------------------------------------------

_WORDS = [
    *("Type", "Name", "Comment", "Keywords", "Exec", "Icon", "Hidden", "NoDisplay", "OnlyShowIn", "MimeType"),
    *(
        "Categories",
        "Terminal",
        "TryExec",
        "Path",
        "StartupWMClass",
        "X-Other",
        "[de]",
        "[",
        "]",
        "[]",
        "[sr@Latn]",
    ),
    *("=", "==", ";", "\\;", "\\\\", "\\s", "\\n", "\\", "\n", "\r\n", "\n ", "\t", " ", "\v", "\f", "#", "\0"),
    *(
        "Application",
        "Link",
        "true",
        "True",
        "1",
        "é",
        "\u2028",
        "\x85",
        "[Desktop Entry]",
        "[Other]",
        '"',
        "%f",
        "%",
        "%%",
    ),
]
_ENTRY_BYTES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.one_of(st.sampled_from(_WORDS), st.text(max_size=4)), max_size=60).map(
        lambda words: "".join(words).encode(errors="replace")
    ),
    st.lists(st.tuples(st.sampled_from(_WORDS[:21]), st.sampled_from(_WORDS)), max_size=25).map(
        lambda pairs: "\n".join(f"{key}={value}" for key, value in pairs).encode()
    ),
)
_HEAD = b"[Desktop Entry]\nType=Application\nName=N\nExec=prog %f\n"
_SPACE = " \t\r\v\f"


def read_slowly(content: bytes) -> dict[str, object] | None:
    """The group according to chromeos-garcon.md §3.2; ``None`` if the file is invalid."""
    plain: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    texts: dict[tuple[str, str], str] = {}
    words: dict[str, list[str]] = {}
    inside = False
    for raw in content.decode(errors="replace").split("\n"):
        line = raw.strip(_SPACE)
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            if inside:
                break
            inside = line == "[Desktop Entry]"
            continue
        if not inside or "=" not in line:
            continue
        key, value = (part.strip(_SPACE) for part in line.split("=", 1))
        if not value:
            continue
        name, bracket, locale = key.partition("[")
        if bracket and not (len(locale) > 1 and locale.endswith("]")):
            continue
        locale = locale[:-1]
        if name in ("Name", "Comment"):
            texts[name, locale] = unescape_slowly(value)
        elif name == "Keywords":
            words.setdefault(locale, []).extend(split_slowly(value))
        elif not bracket and name in ("OnlyShowIn", "NotShowIn", "MimeType", "Categories"):
            lists.setdefault(name, []).extend(split_slowly(value))
        elif not bracket:
            plain[name] = value
    if plain.get("Type") not in ("Application", "Link", "Directory") or ("Name", "") not in texts:
        return None
    return {
        "type": plain["Type"],
        "names": {locale: text for (name, locale), text in texts.items() if name == "Name"},
        "comments": {locale: text for (name, locale), text in texts.items() if name == "Comment"},
        "keywords": words,
        "exec": unescape_slowly(plain.get("Exec", "")),
        "exec_raw": plain.get("Exec", ""),
        "icon": plain.get("Icon", ""),
        "path": unescape_slowly(plain.get("Path", "")),
        "try_exec": unescape_slowly(plain.get("TryExec", "")),
        "startup_wm_class": unescape_slowly(plain.get("StartupWMClass", "")),
        "mime_types": lists.get("MimeType", []),
        "categories": lists.get("Categories", []),
        "only_show_in": lists.get("OnlyShowIn", []),
        "not_show_in": lists.get("NotShowIn", []),
        "no_display": plain.get("NoDisplay") == "true",
        "hidden": plain.get("Hidden") == "true",
        "terminal": plain.get("Terminal") == "true",
        "startup_notify": plain.get("StartupNotify") == "true",
        "launch_in_terminal": plain.get("Terminal") in ("true", "1"),
        "launch_notified": plain.get("StartupNotify") in ("true", "1"),
        "dbus_activatable": plain.get("DBusActivatable") in ("true", "1"),
    }


def unescape_slowly(text: str) -> str:
    out, at = "", 0
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            out += {"s": " ", "n": "\n", "t": "\t", "r": "\r"}.get(text[at + 1], text[at + 1])
            at += 2
        else:
            out += text[at]
            at += 1
    return out


def split_slowly(text: str) -> list[str]:
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == ";":
            parts.append(text[start:at])
            start = at + 1
        at += 2 if text[at] == "\\" else 1
    if text[start:]:
        parts.append(text[start:])
    return [unescape_slowly(part) for part in parts]


@ROUND
@given(_ENTRY_BYTES)
@example(b"  Name[de] = X\nName[de=Y\nName[de]z=Z\n")
@example(b"Keywords=a;b\nKeywords=c\\;;;\nKeywords=d\n[x\nName=no\n")
@example(b"Comment=\x0b\n\x0cComment\x0b=\x0ba\x0b\n=x\n")
def test_entries_are_read_as_by_the_book(content: bytes) -> None:
    for candidate in (content, _HEAD + content):
        expected = read_slowly(candidate)
        try:
            entry = parse_desktop_entry(candidate)
        except BrokenEntry as error:
            assert (expected, len(str(error)) < 200) == (None, True)  # noqa: PT017
            continue
        found = entry._asdict()
        found["keywords"] = {locale: split_list(words) for locale, words in entry.keywords.items()}
        assert found == expected


def entries(content: bytes) -> list[DesktopEntry]:
    try:
        return [parse_desktop_entry(_HEAD + content)]
    except BrokenEntry:
        return []


@ROUND
@given(st.lists(_ENTRY_BYTES, max_size=5), st.integers(0, 2000))
def test_whatever_is_read_can_be_sent(contents: list[bytes], limit: int) -> None:
    applications = [
        PublishedApplication(str(number), f"/{number}", entry, executable_file_name(entry))
        for number, content in enumerate(contents)
        for entry in entries(content)
    ]
    assert sum(message.ByteSize() for message in fit_list(applications, limit).messages) <= limit
    request = container_host_pb2.UpdateApplicationListRequest(application=fit_list(applications).messages)
    again = container_host_pb2.UpdateApplicationListRequest.FromString(request.SerializeToString())
    assert [app.desktop_file_id for app in again.application] == [app.desktop_file_id for app in applications]
    assert all("" in [name.locale for name in app.name.values] for app in again.application)


@ROUND
@given(_ENTRY_BYTES, st.text(max_size=80), st.lists(st.text(max_size=10), max_size=4))
def test_any_exec_line_is_a_list_of_words(content: bytes, exec_value: str, files: list[str]) -> None:
    for entry in entries(content):
        for value in (exec_value, entry.exec):
            candidate = entry._replace(exec=value, exec_raw=value)
            argv = expand_exec(candidate, "/k.desktop", files)
            assert all(argv) or "" in files
            assert 1 <= len(launch_commands(candidate, "/k.desktop", files, {})) <= max(1, len(files))
            name = executable_file_name(candidate)
            assert name.isascii()
            assert "/" not in name


# -- directories -------------------------------------------------------------------------------------------------

_NAMES = st.one_of(
    st.binary(min_size=1, max_size=12).map(lambda name: name.replace(b"/", b"-").replace(b"\0", b"-")),
    st.sampled_from([b"a.desktop", b"b.desktop", b"sub", b".desktop", b"x.desktop.desktop", b"-.desktop"]),
).filter(lambda name: name not in (b".", b".."))


@ROUND
@given(
    st.lists(
        st.tuples(
            _NAMES, st.sampled_from(["file", "valid", "directory", "fifo", "loop", "up", "gone"]), _ENTRY_BYTES
        ),
        max_size=8,
    )
)
def test_a_scan_of_any_tree_ends(things: list[tuple[bytes, str, bytes]]) -> None:
    root = tempfile.mkdtemp()
    try:
        here = os.fsencode(root) + b"/applications"
        os.mkdir(here)
        for name, kind, content in things:
            path = here + b"/" + name
            try:
                make(path, kind, content)
            except FileExistsError:
                continue
            if kind == "directory":
                here = path
        scanner = AppScanner({"XDG_DATA_DIRS": root, "XDG_DATA_HOME": "/nonexistent", "PATH": "/bin"})
        found = scanner.scan()
        assert scanner.scan() == found
        for identifier, place in found.paths.items():
            identifier.encode()
            assert desktop_file_id(os.path.relpath(place, f"{root}/applications")) == identifier
            assert os.path.isfile(place)
        assert fit_list(found.applications).left_out == ""
    finally:
        shutil.rmtree(root)


def make(path: bytes, kind: str, content: bytes) -> None:
    if kind == "directory":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind in ("loop", "up", "gone"):
        os.symlink({"loop": os.path.basename(path), "up": b"..", "gone": b"/nonexistent"}[kind], path)
    else:
        if os.path.lexists(path):
            raise FileExistsError
        Path(os.fsdecode(path)).write_bytes(_HEAD + content if kind == "valid" else content)


@ROUND
@given(
    st.one_of(
        st.text(max_size=60), st.lists(st.sampled_from(["a", "-", "/", ".", "..", "\0"]), max_size=25).map("".join)
    )
)
def test_any_id_stays_in_its_directory(identifier: str) -> None:
    asked: list[str] = []
    real = os.path.isfile
    os.path.isfile = lambda path: asked.append(os.fspath(path)) or False
    try:
        assert find_desktop_file(identifier, ["/d1/applications", "/d2/applications"]) is None
    finally:
        os.path.isfile = real
    assert len(asked) <= 2 * 2**10
    for path in asked:
        assert "\0" not in path
        assert os.path.normpath(path) == path
        assert path.startswith(("/d1/applications/", "/d2/applications/"))


# -- icons -------------------------------------------------------------------------------------------------------

_THEME_WORDS = [
    "[Icon Theme]",
    "[a/apps]",
    "[b]",
    "Directories=a/apps,b",
    "Inherits=x",
    "Size=",
    "Scale=",
    "Type=Fixed",
]
_THEME_BYTES = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.one_of(
            st.sampled_from([*_THEME_WORDS, "Type=Scalable", "MinSize=8", "MaxSize=9999", "Threshold=0", "#", "["]),
            st.builds(
                lambda key, value: f"{key}={value}",
                st.sampled_from(["Size", "Scale", "MinSize", "MaxSize", "Threshold"]),
                st.one_of(st.integers(-10, 5000), st.text(max_size=5)),
            ),
        ),
        max_size=30,
    ).map(lambda lines: "\n".join(lines).encode(errors="replace")),
)


@ROUND
@given(_THEME_BYTES, st.integers(1, 1024), st.integers(1, 8))
def test_any_index_gives_an_order(content: bytes, size: int, scale: int) -> None:
    for candidate in (content, b"[Icon Theme]\nDirectories=a/apps,b\n[a/apps]\nSize=48\n" + content):
        for parse, order in ((parse_index_theme, compatible_order), (parse_specified_theme, specified_order)):
            try:
                theme = parse(candidate)
            except BrokenTheme:
                continue
            names = order(theme.directories, size, scale)
            assert sorted(names) == sorted(entry.name for entry in theme.directories)
            assert not any(name.startswith("/") or ".." in name.split("/") for name in names)


@ROUND
@given(st.binary(max_size=400), st.sampled_from([".png", ".svg", ".svgz", ".xpm"]), st.booleans())
def test_any_picture_is_one_or_none(content: bytes, suffix: str, marked: bool) -> None:
    marks = {
        ".png": b"\x89PNG\r\n\x1a\n",
        ".svg": b"<svg",
        ".svgz": b"\x1f\x8b\x08",
        ".xpm": b'/* XPM */"2 1 1 1",',
    }
    with tempfile.NamedTemporaryFile(suffix=suffix) as stream:
        stream.write(marks[suffix] + content if marked else content)
        stream.flush()
        icon = read_icon(stream.name)
    assert icon is None or 0 < len(icon.content) <= SIZE_LIMIT


@ROUND
@given(
    st.integers(-1, SIDE_LIMIT + 1),
    st.integers(-1, SIDE_LIMIT + 1),
    st.integers(-1, 5),
    st.lists(
        st.sampled_from(['"a c red",', '"aa",', '"a",', "/*", "*/", '"', "\\", "\n", "c", " ", "#ff"]), max_size=40
    ),
)
def test_any_xpm_is_a_picture_or_none(width: int, height: int, characters: int, rest: list[str]) -> None:
    text = f'/* XPM */\n"{width} {height} 1 {characters}",\n' + "".join(rest)
    png = xpm_to_png(text.encode())
    assert png is None or png.startswith(b"\x89PNG\r\n\x1a\n")


@ROUND
@given(st.text(max_size=30), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1))
@pytest.mark.filterwarnings("error")
def test_any_icon_name_size_and_scale(name: str, size: int, scale: int) -> None:
    lookup = IconLookup(
        {"HOME": "/nonexistent", "XDG_DATA_DIRS": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"}
    )
    assert lookup.find(f"guestlink-{name}", size, scale) is None


# -- MIME types --------------------------------------------------------------------------------------------------

_NUMBERS = st.one_of(st.integers(0, 80).map(lambda number: number * 4), st.integers(0, 2**32 - 1), st.just(0x2E))


@ROUND
@given(st.lists(_NUMBERS, min_size=10, max_size=60), st.binary(max_size=8))
def test_any_cache_is_a_map_or_broken(numbers: list[int], tail: bytes) -> None:
    content = b"".join(number.to_bytes(4, "big") for number in numbers) + tail
    try:
        found = parse_mime_cache(content)
    except BrokenMimeCache:
        return
    request = container_host_pb2.UpdateMimeTypesRequest(mime_type_mappings=found)
    assert dict(request.mime_type_mappings) == found

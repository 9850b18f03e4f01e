"""Exec to arguments: garcon's rules (chromeos-garcon.md §5.2, cases E1 to E4 of §9.4), and GLib's rules compared
with GLib itself."""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from garcon.desktop.desktop_entry import DesktopEntry, parse_desktop_entry, unescape
from garcon.desktop.exec_line import executable_file_name, expand_exec, launch_commands
from garcon.desktop.shell_words import BadQuoting, quote_word, split_words
from support.needs import absent, need_status_0


def entry_with(exec_value: str, icon: str = "", name: str = "N") -> DesktopEntry:
    entry = parse_desktop_entry(f"[Desktop Entry]\nType=Application\nName={name}\n".encode())
    return entry._replace(exec=exec_value, icon=icon)


def written(exec_raw: str, icon: str = "", name: str = "N") -> DesktopEntry:
    """An entry whose file contains this Exec value."""
    return entry_with(unescape(exec_raw), icon, name)._replace(exec_raw=exec_raw)


@pytest.mark.parametrize(
    ("exec_value", "icon", "files", "argv"),
    [
        ("viewer --open=%F -n", "", ["/a", "/b"], ["viewer", "--open=", "/a", "/b", "-n"]),
        ("pre%Fpost", "", ["1", "2"], ["pre", "1", "2", "post"]),
        ('a"b c"d', "", [], ["ab c", "d"]),
        ('tool "" z', "", [], ["tool", "z"]),
        ("tool a\\ b", "", [], ["tool", "a\\", "b"]),
        ("sh -c 'echo hi'", "", [], ["sh", "-c", "'echo", "hi'"]),
        ("p --f=%f", "", [], ["p", "--f="]),
        ("p %f", "", [], ["p"]),
        ('p "%f"', "", ["/a"], ["p", "%f"]),
        ('p "a"b', "", [], ["p", "a", "b"]),
        ("prog %d%D%n%N%v%m end", "", [], ["prog", "end"]),
        ("p x%i", "", [], ["p", "x"]),
        ("p %i x", "org.ex.App", [], ["p", "--icon", "org.ex.App", "x"]),
        ("p\ta", "", [], ["p\ta"]),
        ("p %", "", [], ["p"]),
        ('p "open', "", [], ["p", "open"]),
        ("", "", [], []),
        ("/usr/bin/ed", "", [], ["/usr/bin/ed"]),
    ],
)
def test_the_table(exec_value: str, icon: str, files: Sequence[str], argv: list[str]) -> None:
    assert expand_exec(entry_with(exec_value, icon), "/k", files) == argv


def test_every_field_code_is_expanded() -> None:
    """Case E2 (chromeos-garcon.md §9.4)."""
    entry = entry_with("run.bin --one=%f many %F --u %u urls %U icon %i name %c path %k", icon="ic", name="Nm")
    assert expand_exec(entry, "/the/file", ["/f1", "/f2", "u1", "u2"]) == [
        *("run.bin", "--one=/f1", "many", "/f1", "/f2", "u1", "u2", "--u", "/f1", "urls"),
        *("/f1", "/f2", "u1", "u2", "icon", "--icon", "ic", "name", "Nm", "path", "/the/file"),
    ]


def test_percent_and_escapes_inside_quotes() -> None:
    """Case E3 (chromeos-garcon.md §9.4)."""
    entry = entry_with('rv %% "A %f \\" B \\\\ " "C D"')
    assert expand_exec(entry, "", ["/x"]) == ["rv", "%", 'A %f " B \\ ', "C D"]


@pytest.mark.parametrize(
    ("exec_value", "name"),
    [
        ("tool", "tool"),
        ("x/y/tool -a b", "tool"),
        ("x/y/t", "t"),
        ("x/y/", "y"),
        ("/usr/bin/X", "X"),
        ("", ""),
        ("env FOO=1 prog", "env"),
        ("/opt/ä", ""),
        ("/", ""),
    ],
)
def test_the_executable_file_name(exec_value: str, name: str) -> None:
    """Case E4 (chromeos-garcon.md §9.4)."""
    assert executable_file_name(entry_with(exec_value)) == name


@pytest.mark.parametrize(
    ("exec_value", "files", "argvs"),
    [
        ("wine C:\\\\\\\\x\\\\\\\\y.exe /a/Start\\\\ Menu", [], [["wine", "C:\\x\\y.exe", "/a/Start Menu"]]),
        ("p -c '/disk/a b' -n 'd f'", [], [["p", "-c", "/disk/a b", "-n", "d f"]]),
        ('emacsclient -c -a "" %F', ["/a"], [["emacsclient", "-c", "-a", "", "/a"]]),
        ('"/100%%files/App" %U', ["/a"], [["/100%files/App", "/a"]]),
        ("sh -c 'echo hi'", [], [["sh", "-c", "echo hi"]]),
        ('a"b c"d', [], [["ab cd"]]),
        ("p\ta", [], [["p", "a"]]),
        ("p --open=%f", ["/a b"], [["p", "--open=/a b"]]),
        ("p --open=%f", [], [["p", "--open="]]),
        ("p %f", ["/1", "/2"], [["p", "/1"], ["p", "/2"]]),
        ("p %u x", ["/1", "http://x"], [["p", "/1", "x"], ["p", "http://x", "x"]]),
        ("p %U", ["/1", "file:///a%20b"], [["p", "/1", "/a b"]]),
        ("p %f", ["http://x/"], [["p", "http://x/"]]),
        ("p %F", [], [["p"]]),
        ("p", ["/1", "/2"], [["p", "/1"], ["p", "/2"]]),
        ("p %i %c %k", [], [["p", "--icon", "the icon", "N", "/k"]]),
        ("p $HOME `x`", [], [["p", "$HOME", "`x`"]]),
        ("", ["/1"], [["/1"]]),
    ],
)  # fmt: skip
def test_commands_are_glibs(exec_value: str, files: list[str], argvs: list[list[str]]) -> None:
    assert launch_commands(written(exec_value, "the icon"), "/k", files, {}) == argvs


@pytest.mark.parametrize("exec_value", ['p "open', "p 'open", "p open\\\\"])
def test_a_line_that_glib_refuses_is_read_as_garcon_reads_it(exec_value: str) -> None:
    entry = written(exec_value)
    assert launch_commands(entry, "", [], {}) == [expand_exec(entry, "", [])]


def test_the_published_reading_is_the_originals() -> None:
    entry = written("'/opt/a b/program' x")
    assert (entry.exec, executable_file_name(entry)) == ("'/opt/a b/program' x", "a")


_SPECIAL = st.text(" \t'\"\\#$`=%ab\né", max_size=30)


@given(_SPECIAL)
def test_words_are_split_as_glib_splits_them(line: str) -> None:
    expected = _glib_words(line)
    try:
        words = split_words(line)
    except BadQuoting:
        assert expected is None
    else:
        assert words == (expected or []) or line.endswith("#"), "GLib takes that for an open quote"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))))
def test_a_quoted_word_is_one_word(word: str) -> None:
    assert split_words(quote_word(word)) == [word]


@given(st.text(), st.lists(st.text(), max_size=3))
def test_the_published_name_is_ascii_whatever_the_line(exec_value: str, files: list[str]) -> None:
    entry = written(exec_value)
    assert executable_file_name(entry).isascii()
    assert launch_commands(entry, "", files, {})


def _glib_words(line: str) -> list[str] | None:
    try:
        glib = ctypes.CDLL("libglib-2.0.so.0")
    except OSError:
        absent("there is no GLib: apt install libglib2.0-0")
    argc, argv, error = ctypes.c_int(), ctypes.POINTER(ctypes.c_char_p)(), ctypes.c_void_p()
    if not glib.g_shell_parse_argv(line.encode(), ctypes.byref(argc), ctypes.byref(argv), ctypes.byref(error)):
        glib.g_clear_error(ctypes.byref(error))
        return None
    words = [(argv[index] or b"").decode() for index in range(argc.value)]
    glib.g_strfreev(argv)
    return words


@pytest.fixture(scope="module")
def glib(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str, list[str]], list[list[str]] | None]]:
    """A function that makes GLib start a desktop file; it returns the arguments of GLib's processes."""
    need_status_0("/usr/bin/python3", "-c", "import gi", packages="python3-gi gir1.2-glib-2.0")
    script = Path(__file__).parents[2] / "support/glib_launch.py"
    argv = ["/usr/bin/python3", str(script)]
    entry = tmp_path_factory.mktemp("glib") / "entry.desktop"
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def launch(exec_value: str, files: list[str]) -> list[list[str]] | None:
            keys = f"Type=Application\nName=The Name\nIcon=the-icon\nExec=program {exec_value}\n"
            entry.write_text(f"[Desktop Entry]\n{keys}")
            stdin.write(json.dumps([str(entry), files]) + "\n")
            answer = json.loads(stdout.readline())
            return None if answer is None else answer["arguments"]

        yield launch
        stdin.close()


_PARTS = st.sampled_from(
    [
        "%f",
        "%u",
        "%F",
        "%U",
        "%%",
        "%i",
        "%c",
        "%d",
        "%N",
        "%m",
        "%q",
        "%",
        '"',
        "'",
        "\\\\",
        "\\s",
        "\\",
        "\\t",
        "\\\\\\\\",
        "$HOME",
        "`",
        " ",
        " ",
        "word",
        "--open=",
        "#",
        "~",
        "é",
    ]
)
_FILES = st.sampled_from(["/a", "/a b", "/c'd", "/$HOME", "/100%", 'https://example.org/?a="b"&c', "file:///x%20y"])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_PARTS, max_size=8).map("".join), st.lists(_FILES, max_size=3))
@example("%é", [])
@pytest.mark.slow
def test_programs_get_what_glib_gives_them(
    glib: Callable[[str, list[str]], list[list[str]] | None], exec_value: str, files: list[str]
) -> None:
    exec_value = exec_value.strip()  # The parser removes spaces around a value.
    expected = glib(exec_value, files)
    codes = set(re.findall("%(.)", exec_value)) & set("fFuUdDnN")
    takes_urls = codes in ({"u"}, {"U"}, {"u", "U"})
    if expected is None or (not takes_urls and any(file.startswith("https") for file in files)):
        return
    if "%é" in exec_value:
        return  # GLib drops the first byte of the é.
    entry = written(f"program {exec_value}".strip(), icon="the-icon", name="The Name")
    assert [argv[1:] for argv in launch_commands(entry, "", files, {})] == expected

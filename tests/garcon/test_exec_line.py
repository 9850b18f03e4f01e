"""Exec to arguments (garcon.md §5.2, cases E1 to E4 of §9.4)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garcon.desktop_entry import DesktopEntry, parse_desktop_entry
from garcon.exec_line import executable_file_name, expand_exec, expand_per_file


def entry_with(exec_value: str, icon: str = "", name: str = "N") -> DesktopEntry:
    entry = parse_desktop_entry(f"[Desktop Entry]\nType=Application\nName={name}\n".encode())
    return entry._replace(exec=exec_value, icon=icon)


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


def test_e2_every_field_code() -> None:
    entry = entry_with("run.bin --one=%f many %F --u %u urls %U icon %i name %c path %k", icon="ic", name="Nm")
    assert expand_exec(entry, "/the/file", ["/f1", "/f2", "u1", "u2"]) == [
        *("run.bin", "--one=/f1", "many", "/f1", "/f2", "u1", "u2", "--u", "/f1", "urls"),
        *("/f1", "/f2", "u1", "u2", "icon", "--icon", "ic", "name", "Nm", "path", "/the/file"),
    ]


def test_e3_percent_and_escapes_inside_quotes() -> None:
    entry = entry_with('rv %% "A %f \\" B \\\\ " "C D"')
    assert expand_exec(entry, "", ["/x"]) == ["rv", "%", 'A %f " B \\ ', "C D"]


@pytest.mark.parametrize(
    ("exec_value", "name"),
    [
        ("tool", "tool"),
        ("x/y/tool -a b", "tool"),
        ("x/y/t", "t"),
        ("x/y/", "y"),
        ("", ""),
        ("env FOO=1 prog", "env"),
        ("/opt/ä", ""),
        ("/", ""),
    ],
)
def test_e4_executable_file_name(exec_value: str, name: str) -> None:
    assert executable_file_name(entry_with(exec_value)) == name


@pytest.mark.parametrize(
    ("exec_value", "argvs"),
    [
        ("p %f", [["p", "1"], ["p", "2"]]),
        ("p %u x", [["p", "1", "x"], ["p", "2", "x"]]),
        ("p %U", [["p", "1", "2"]]),
        ("p %f %F", [["p", "1", "1", "2"]]),
        ('p "%f"', [["p", "%f"]]),
        ("p %%f", [["p", "%f"]]),
        ('p "\\\n" %f', [["p", "\n", "1"], ["p", "\n", "2"]]),
        ('p "open %f', [["p", "open %f"]]),
        ("p", [["p"]]),
    ],
)
def test_a_program_for_one_file_is_started_per_file(exec_value: str, argvs: list[list[str]]) -> None:
    assert expand_per_file(entry_with(exec_value), "", ["1", "2"]) == argvs


@given(st.text(), st.lists(st.text(), max_size=1))
def test_up_to_one_file_nothing_differs_from_the_original(exec_value: str, files: list[str]) -> None:
    entry = entry_with(exec_value)
    assert expand_per_file(entry, "", files) == [expand_exec(entry, "", files)]
    assert executable_file_name(entry).isascii()

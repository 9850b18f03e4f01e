"""Desktop entries (chromeos-garcon.md §3.2, cases D1 to D16 of §9.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garcon.desktop.app_list import desktop_file_id
from garcon.desktop.desktop_entry import (
    SIZE_LIMIT,
    BrokenEntry,
    DesktopEntry,
    parse_desktop_entry,
    split_list,
    unescape,
)

BASE = "[Desktop Entry]\nType=Application\nName=N\n"


def parse(text: str) -> DesktopEntry:
    return parse_desktop_entry(text.encode())


def test_every_key_is_read_and_unknown_ones_are_passed_over() -> None:
    """Case D1 (chromeos-garcon.md §9.1)."""
    entry = parse(
        "# comment\n\n[Desktop Entry]\nType=Application\nName=N\nName[de]=D\nComment=C\nComment[it]=I\n"
        "Keywords=a;b\nKeywords[de]=x;y\nNoDisplay=true\nIcon=i\nHidden=true\nOnlyShowIn=A;\nNotShowIn=B;\n"
        "TryExec=t\nExec=e %f\nPath=/p\nTerminal=true\nMimeType=m/n;\nCategories=K;\nStartupWMClass=W\n"
        "StartupNotify=true\nDBusActivatable=true\n# again\nX-Unknown=1\nGenericName=G\n"
    )
    assert entry == DesktopEntry(
        type="Application",
        names={"": "N", "de": "D"},
        comments={"": "C", "it": "I"},
        keywords={"": "a;b", "de": "x;y"},
        exec="e %f",
        exec_raw="e %f",
        icon="i",
        path="/p",
        try_exec="t",
        startup_wm_class="W",
        mime_types=["m/n"],
        categories=["K"],
        only_show_in=["A"],
        not_show_in=["B"],
        no_display=True,
        hidden=True,
        terminal=True,
        startup_notify=True,
        launch_in_terminal=True,
        launch_notified=True,
        dbus_activatable=True,
    )


@pytest.mark.parametrize(
    ("value", "published", "launched"),
    [("true", True, True), ("1", False, True), ("0", False, False), ("True", False, False), ("yes", False, False)],
)
def test_a_boolean_is_glibs_for_a_launch_and_the_originals_for_the_host(
    value: str, published: bool, launched: bool
) -> None:
    entry = parse(f"{BASE}Terminal={value}\nStartupNotify={value}\nDBusActivatable={value}\n")
    assert (entry.terminal, entry.startup_notify) == (published, published)
    assert (entry.launch_in_terminal, entry.launch_notified, entry.dbus_activatable) == (launched,) * 3


def test_locales_are_passed_on_as_written() -> None:
    """Case D2 (chromeos-garcon.md §9.1)."""
    entry = parse(BASE + "Name[sr_YU@Latn]=1\nName[ab@xyz]=2\nName[ab_cd]=3\nName[ab]=4\nName[]=5\n")
    assert entry.names == {"": "N", "sr_YU@Latn": "1", "ab@xyz": "2", "ab_cd": "3", "ab": "4"}


@pytest.mark.parametrize(
    "line", ["Name[de=X", "Name[de]x=X", "Name[]=X", "Name]de[=X", "Name [de]=X", "name[de]=X"]
)
def test_brackets_that_hold_no_locale(line: str) -> None:
    assert parse(f"{BASE}{line}\n").names == {"": "N"}


def test_lines_may_be_indented() -> None:
    entry = parse(" [Desktop Entry]\t\n\tType=Application\n  Name=N\n  Name[de] = D\n # no\n [Other]\nName=O\n")
    assert entry.names == {"": "N", "de": "D"}


def test_escapes_of_strings_are_read() -> None:
    """Case D3 (chromeos-garcon.md §9.1)."""
    entry = parse('[Desktop Entry]\nType=Application\nName=A \\"B\\" \\t \\s \\r \\n \\\\ C\n')
    assert entry.name == 'A "B" \t   \r \n \\ C'


def test_escapes_and_empty_elements_of_lists_are_read() -> None:
    """Case D4 (chromeos-garcon.md §9.1)."""
    assert parse(BASE + "OnlyShowIn=x\\;;;Y;Z\\;W;").only_show_in == ["x;", "", "Y", "Z;W"]


def test_white_space_is_trimmed() -> None:
    """Case D5 (chromeos-garcon.md §9.1)."""
    entry = parse("[Desktop Entry]\nType =Application \nName = Pad\t\n")
    assert (entry.type, entry.name) == ("Application", "Pad")


@pytest.mark.parametrize(
    ("kind", "valid"), [("Application", True), ("Directory", True), ("Link", True), ("Bogus", False)]
)
def test_only_known_types_are_valid(kind: str, valid: bool) -> None:
    """Case D6 (chromeos-garcon.md §9.1)."""
    text = f"[Desktop Entry]\nType={kind}\nName=N\n"
    if valid:
        assert parse(text).type == kind
    else:
        with pytest.raises(BrokenEntry, match="Bogus"):
            parse(text)


@pytest.mark.parametrize("keys", ["", "Name[fr]=F\n"])
def test_an_unlocalised_name_is_needed(keys: str) -> None:
    """Case D7 (chromeos-garcon.md §9.1)."""
    with pytest.raises(BrokenEntry, match="no Name"):
        parse("[Desktop Entry]\nType=Application\n" + keys)


def test_parsing_ends_at_the_next_group() -> None:
    """Case D9 (chromeos-garcon.md §9.1)."""
    entry = parse(BASE + "Exec=good\n[Desktop Action New]\nType=Directory\nName=Bad\nExec=bad\n")
    assert (entry.type, entry.name, entry.exec) == ("Application", "N", "good")


def test_what_stands_before_the_group_is_ignored() -> None:
    assert parse("Name=Before\n[Other]\nType=Link\n" + BASE).name == "N"


@pytest.mark.parametrize(
    ("relative", "expected"),
    [("a/b_c/d.desktop", "a-b_c-d"), ("a/applications/b.desktop", "a-applications-b"), ("foo.desktop", "foo")],
)
def test_ids_are_relative_paths_with_hyphens(relative: str, expected: str) -> None:
    """Cases D10 and D11 (chromeos-garcon.md §9.1)."""
    assert desktop_file_id(relative) == expected


def test_scalars_are_replaced_and_lists_appended() -> None:
    """Case D12 (chromeos-garcon.md §9.1)."""
    entry = parse(BASE + "Exec=one\nExec=two\nCategories=A\nCategories=B\nName[de]=1\nName[de]=2\n")
    assert (entry.exec, entry.categories, entry.names["de"]) == ("two", ["A", "B"], "2")


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("a;b;", "c;", ["a", "b", "c"]),
        ("a", "b", ["a", "b"]),
        ("a\\;;", "b", ["a;", "b"]),
        ("a\\\\;", ";b", ["a\\", "", "b"]),
        ("a;;", "b\\sc", ["a", "", "b c"]),
    ],
)
def test_keywords_are_appended_too(first: str, second: str, words: list[str]) -> None:
    """Case D12 (chromeos-garcon.md §9.1)."""
    entry = parse(BASE + f"Keywords={first}\nKeywords={second}\nKeywords[de]=x;y\n")
    assert split_list(entry.keywords[""]) == words
    assert split_list(entry.keywords["de"]) == ["x", "y"]


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("True", False), ("1", False), ("yes", False)])
def test_only_the_word_true_is_true(value: str, expected: bool) -> None:
    """Case D13 (chromeos-garcon.md §9.1)."""
    assert parse(BASE + f"Terminal={value}\n").terminal is expected


def test_an_empty_value_is_none() -> None:
    """Case D14 (chromeos-garcon.md §9.1)."""
    assert parse(BASE + "Exec=\n").exec == ""
    assert parse(BASE + "Exec=a\nExec=\n").exec == "a"


def test_a_file_that_is_too_long_is_broken() -> None:
    """Case D15 (chromeos-garcon.md §9.1)."""
    content = BASE.encode()
    assert parse_desktop_entry(content + b"\n" * (SIZE_LIMIT - len(content))).name == "N"
    with pytest.raises(BrokenEntry, match="longer"):
        parse_desktop_entry(content + b"\n" * (SIZE_LIMIT - len(content) + 1))


def test_crlf_is_as_lf() -> None:
    """Case D16 (chromeos-garcon.md §9.1)."""
    assert parse(BASE.replace("\n", "\r\n") + "Exec=e\r\n").exec == "e"


def test_a_byte_order_mark_breaks_the_first_group() -> None:
    with pytest.raises(BrokenEntry, match=r"no \[Desktop Entry\] group"):
        parse("\ufeff" + BASE)


def test_what_is_not_utf8_is_repaired() -> None:
    entry = parse_desktop_entry(BASE.encode() + b"Comment=Caf\xe9\n")
    assert entry.comments == {"": "Caf\ufffd"}


LONG = 4 * 1024 * 1024


@pytest.mark.parametrize(
    "keys",
    [
        "Comment=" + "\t" * LONG,
        "Comment" + "\t" * LONG,
        "\t" * LONG,
        "Comment=" + " x" * (LONG // 2),
        "Name[" * (LONG // 5),
        "Name[" + "]" * LONG,
        "MimeType=" + "\\;" * (LONG // 2),
        "MimeType=" + "\\s;" * (LONG // 8),
        "Keywords=a\n" * (LONG // 11),
        "Categories=a\n" * (LONG // 13),
        "\n" * LONG,
    ],
    ids=["value", "key", "indent", "words", "open", "close", "escapes", "elements", "keywords", "lists", "lines"],
)
def test_no_content_takes_longer_than_its_length(keys: str) -> None:
    """A parser that tried a division at every position would take hours for this content."""
    entry = parse(BASE + keys)
    split_list(entry.keywords.get("", ""))
    assert entry.name == "N"


@given(st.binary(max_size=400))
def test_any_bytes_are_an_entry_or_one_error(content: bytes) -> None:
    for candidate in (content, BASE.encode() + content):
        try:
            entry = parse_desktop_entry(candidate)
        except BrokenEntry:
            continue
        assert entry.type in ("Application", "Link", "Directory")
        str(entry).encode()


@given(st.text())
def test_lists_and_strings_never_fail(text: str) -> None:
    split_list(text)
    assert len(unescape(text)) <= len(text)


def test_a_locale_of_a_key_that_has_none_is_ignored() -> None:
    content = "[Desktop Entry]\nType=Application\nName=N\nExec=x\nIcon=a\nIcon[de]=b\nMimeType[de]=a/b\nOther=c\n"
    entry = parse_desktop_entry(content.encode())
    assert (entry.icon, list(entry.mime_types)) == ("a", [])

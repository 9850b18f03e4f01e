"""Names and texts that stay safe for any input from a container."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestlink.errors import GuestlinkError
from guestlink_host.names import check_container_name, file_stem, is_usable_id, visible_line


@pytest.mark.parametrize("name", ["a", "penguin", "debian-12", "My_box.2", "x" * 63])
def test_usual_container_names_pass(name: str) -> None:
    assert check_container_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "-a", "a-", "a/b", "a b", "a\n", "a\0", "é", "x" * 64, "../x", "a\u202eb", None, 3, ["a"]],
)
def test_other_names_are_refused_with_the_rule(name: object) -> None:
    with pytest.raises(GuestlinkError) as caught:
        check_container_name(name)
    assert "letters" in caught.value.hint


CONTAINERS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,20}[A-Za-z0-9])?", fullmatch=True)
IDS = st.one_of(
    st.text(min_size=1, max_size=300), st.from_regex(r"[a-z._+-]{1,12}(_[0-9a-f]{16})?", fullmatch=True)
)


@given(CONTAINERS, IDS)
def test_a_stem_is_always_one_short_plain_file_name(container: str, desktop_file_id: str) -> None:
    stem = file_stem(container, desktop_file_id)
    assert stem.startswith(f"guestlink-{container}-")
    assert len(stem) <= 220
    assert stem.isascii()
    assert stem.isprintable()
    assert not set(stem) & set("/ \"'\\$`;%")


@given(CONTAINERS, IDS, CONTAINERS, IDS)
def test_no_two_applications_share_a_stem(one: str, first: str, two: str, second: str) -> None:
    assert (file_stem(one, first) == file_stem(two, second)) == ((one, first) == (two, second))


def test_hyphens_cannot_make_two_containers_meet() -> None:
    assert file_stem("a", "b-c") == "guestlink-a-b-c"
    assert file_stem("a-b", "c") != "guestlink-a-b-c"
    guessed = file_stem("a-b", "c").removeprefix("guestlink-a-")
    assert file_stem("a", guessed) != file_stem("a-b", "c")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  Text\tEditor \n", "Text Editor"),
        ("a\nExec=evil", "a Exec=evil"),
        ("a\0b\x1b[31mc\x7f", "ab[31mc"),
        ("gnp\u202eexe.\u2066x\u2069", "gnpexe.x"),
        ("obrazów i\u00a0fotografii", "obrazów i\u00a0fotografii"),
        ("Éditeur\u202f: texte", "Éditeur\u202f: texte"),
        ("ម៉ាស៊ីន\u200bគិត\u200bលេខ", "ម៉ាស៊ីន\u200bគិត\u200bលេខ"),
        ("\u00a0a\u00a0\u00a0 \u2003b\u2028c\u00a0", "a\u00a0b c"),
        ("\u200b \u200c", ""),
        ("a\u2028b\u2029c", "a b c"),
        ("\ufeffx\ufffe", "x"),
        ("עברית\u200f", "עברית\u200f"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("\u00a0\u3000", ""),
    ],
)
def test_visible_line_keeps_what_a_person_sees(text: str, shown: str) -> None:
    assert visible_line(text, 100) == shown


@given(st.text(), st.integers(0, 50))
def test_a_visible_line_is_bounded_and_stays_itself(text: str, limit: int) -> None:
    line = visible_line(text, limit)
    assert len(line) <= limit
    assert visible_line(line, limit) == line
    assert "\n" not in line


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "x" * 1025, "a\u202eb"])
def test_ids_that_cannot_be_sent_back_are_not_usable(name: str) -> None:
    assert not is_usable_id(name)


@pytest.mark.parametrize(
    "name",
    ["org.gnome.gedit", "kde-foo", "a b", "-x", "ünï", "../../etc/passwd", "%U", "a\u00a0b", "می\u200cخواهم"],
)
def test_odd_ids_are_usable(name: str) -> None:
    assert is_usable_id(name)

"""Icons in the user's theme: the sizes in which pictures are drawn, their places, and their marks."""

from __future__ import annotations

import pytest

from guestlink_host.border.pictures.draw_protocol import ReceivedPicture
from guestlink_host.border.pictures.png import BadPicture, Square
from guestlink_host.launchers.icons import are_from, fingerprint, icon_files, is_drawn, owner_of, sides
from support.fake_garcon import SVG, chunk, png
from support.pixels import pixels


def square(side: int, value: bytes = b"\x40\x80\xc0\xff") -> Square:
    return Square(side, 6, (b"\0" + value * side) * side)


@pytest.mark.parametrize(
    ("width", "side"),
    [
        (48, 48),
        (47, 48),
        (1, 16),
        *((size, size) for size in (16, 22, 24, 32, 36, 64, 72, 96, 128, 192, 256, 512)),
        (100, 96),
        (600, 512),
        (4000, 512),
        (112, 128),
    ],
)
def test_a_png_is_drawn_in_the_size_of_themes_next_to_its_own(width: int, side: int) -> None:
    assert sides(ReceivedPicture(False, png(width, 1))) == (side,)
    assert sides(ReceivedPicture(False, png(1, width))) == (side,)


def test_an_svg_is_drawn_in_all_sizes_of_launchers() -> None:
    assert sides(ReceivedPicture(True, SVG)) == (16, 22, 24, 32, 48, 64, 96, 128, 256)


@pytest.mark.parametrize("content", [b"", b"hello", SVG, png()[:20], b"\x89PNG\r\n\x1a\n" + b"x" * 40])
def test_what_has_no_header_of_a_png_is_none(content: bytes) -> None:
    with pytest.raises(BadPicture):
        sides(ReceivedPicture(False, content))


def test_files_are_named_by_their_sizes_and_have_marks_that_change_no_pixel() -> None:
    files = icon_files([square(16), square(48)], "demo", "f00")
    assert [file.directory for file in files] == ["16x16/apps", "48x48/apps"]
    for file, side in zip(files, (16, 48), strict=True):
        assert pixels(file.content) == (side, side, b"\x40\x80\xc0\xff" * side * side)
        assert owner_of(file.content) == "demo"
        assert is_drawn(file.content)


def test_of_two_pictures_of_one_size_the_first_counts() -> None:
    (file,) = icon_files([square(48), square(48, b"\0\0\0\xff")], "demo", "f00")
    assert pixels(file.content)[2].startswith(b"\x40\x80\xc0\xff")


@pytest.mark.parametrize("container", ["a", "ab", "a-b", "x" * 63, *(f"c{n}" for n in range(20))])
def test_the_mark_names_exactly_the_container(container: str) -> None:
    assert owner_of(icon_files([square(16)], container, "f00")[0].content) == container


def test_the_mark_tells_whether_all_files_of_the_same_pictures_are_there() -> None:
    files = [file.content for file in icon_files([square(16), square(24)], "demo", "f00")]
    assert are_from(files, "f00")
    assert not are_from(files, "f01")
    assert not are_from(files[:1], "f00")
    assert not are_from([*files, b""], "f00")
    assert not are_from([], "f00")


def test_another_picture_kind_or_order_has_another_fingerprint() -> None:
    one, two = ReceivedPicture(False, b"ab"), ReceivedPicture(False, b"c")
    sets = (
        [],
        [one],
        [two],
        [one, two],
        [two, one],
        [ReceivedPicture(True, b"ab")],
        [ReceivedPicture(False, b"abc")],
    )
    assert len({fingerprint(pictures) for pictures in sets}) == len(sets)
    assert fingerprint([one, two]) == fingerprint([one, two])


def test_icons_of_earlier_versions_are_ours_and_not_drawn_by_us() -> None:
    marked = png()[:33] + chunk(b"tEXt", b"Guestlink-Container\0demo") + png()[33:]
    for content in (marked, SVG + b"\n<!-- Guestlink-Container: demo -->\n"):
        assert owner_of(content) == "demo"
        assert not is_drawn(content)


@pytest.mark.parametrize(
    "content", [b"", SVG, png(), b"<!-- Guestlink-Container: a", png(extra=chunk(b"tEXt", b"x")), png()[:8]]
)
def test_other_pictures_belong_to_nobody(content: bytes) -> None:
    assert owner_of(content) is None
    assert not is_drawn(content)

"""PNGs that guestlink-host writes itself, and headers of those that it receives."""

from __future__ import annotations

import pytest

from guestlink_host.border.pictures.png import BadPicture, Square, encode, leading_texts, lines_length, size
from support.fake_garcon import chunk, png
from support.pixels import pixels


@pytest.mark.parametrize(("color", "pixel"), [(2, b"\x01\x02\x03"), (6, b"\x01\x02\x03\x04")])
@pytest.mark.parametrize("side", [1, 16, 256])
def test_a_square_is_a_png_of_its_pixels(side: int, color: int, pixel: bytes) -> None:
    found = encode(Square(side, color, (b"\0" + pixel * side) * side))
    assert pixels(found) == (side, side, pixel.ljust(4, b"\xff") * side * side)
    assert size(found) == (side, side)


@pytest.mark.parametrize("kind", range(5))
def test_every_filter_that_decoders_know_is_taken(kind: int) -> None:
    lines = bytes([kind]) + b"\x01\x02\x03\x04" * 2
    assert pixels(encode(Square(2, 6, lines * 2)))[:2] == (2, 2)


@pytest.mark.parametrize(
    "square",
    [
        Square(2, 6, b""),
        Square(2, 6, bytes(lines_length(2, 6) - 1)),
        Square(2, 6, bytes(lines_length(2, 6) + 1)),
        Square(2, 6, bytes(lines_length(2, 2))),
        Square(2, 2, b"\0" * 7 + b"\5" + b"\0" * 6),
    ],
)
def test_other_lines_are_refused(square: Square) -> None:
    with pytest.raises(BadPicture):
        encode(square)


def test_texts_stand_directly_after_the_header() -> None:
    square = Square(1, 6, bytes(5))
    texts = ((b"One", b"1"), (b"Two", b"\xc3\xa4"))
    found = encode(square, texts)
    assert leading_texts(found) == dict(texts)
    assert found.startswith(encode(square)[:33])
    assert leading_texts(encode(square)) == {}


def test_texts_at_another_place_do_not_count() -> None:
    late = png()[:-12] + chunk(b"tEXt", b"One\x001") + png()[-12:]
    assert leading_texts(late) == {}
    assert leading_texts(png()[:40]) == {}
    assert leading_texts(b"tEXtOne\x001") == {}

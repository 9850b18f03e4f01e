"""Requests and answers between the daemon and a renderer, cut at every byte."""

from __future__ import annotations

import io

import pytest

from guestlink_host.border.pictures.draw_protocol import (
    ANSWER_HEADER,
    TEXT_LIMIT,
    DrawAnswer,
    DrawRequest,
    ReceivedPicture,
    Verdict,
    pack_squares,
    read_answer_header,
    read_request,
    refusal,
    split_squares,
)
from guestlink_host.border.pictures.png import BadPicture, Square, lines_length

SQUARES = [Square(2, 6, bytes(lines_length(2, 6))), Square(3, 2, bytes(lines_length(3, 2)))]


@pytest.mark.parametrize("is_svg", [False, True])
@pytest.mark.parametrize("sides", [(16,), (1, 512, 1024)])
def test_a_request_arrives_as_it_was_sent(is_svg: bool, sides: tuple[int, ...]) -> None:
    request = DrawRequest(ReceivedPicture(is_svg, b"content"), sides)
    stream = io.BytesIO(request.pack() * 2)
    assert [read_request(stream.read) for _ in range(3)] == [request, request, None]


def test_squares_arrive_as_they_were_drawn() -> None:
    content = pack_squares(SQUARES)
    assert split_squares(content, (2, 3)) == SQUARES
    assert len(content) <= DrawRequest(ReceivedPicture(True, b""), (2, 3)).answer_limit


@pytest.mark.parametrize("sides", [(2,), (3, 2), (2, 3, 2)])
def test_other_squares_than_were_asked_for_are_refused_or_have_another_length(sides: tuple[int, ...]) -> None:
    with pytest.raises(BadPicture):
        split_squares(pack_squares(SQUARES), sides)


def test_squares_that_are_cut_off_are_refused_or_have_another_length() -> None:
    content = pack_squares(SQUARES)
    for length in range(len(content)):
        try:
            found = split_squares(content[:length], (2, 3))
        except BadPicture:
            continue
        assert any(len(one.lines) != lines_length(one.side, one.color) for one in found)


def test_an_answer_is_no_longer_than_expected() -> None:
    for verdict, limit in ((Verdict.DONE, 100), (Verdict.REFUSED, TEXT_LIMIT), (Verdict.UNAVAILABLE, TEXT_LIMIT)):
        header = DrawAnswer(verdict, bytes(limit)).pack()[:ANSWER_HEADER]
        assert read_answer_header(header, 100) == (verdict, limit)
        with pytest.raises(ValueError):
            read_answer_header(DrawAnswer(verdict, bytes(limit + 1)).pack()[:ANSWER_HEADER], 100)
    with pytest.raises(ValueError):
        read_answer_header(b"\x07\0\0\0\0", 100)


def test_a_reason_is_cut() -> None:
    assert len(refusal("ä" * 1000).content) == TEXT_LIMIT
    assert refusal("no").reason == "no"

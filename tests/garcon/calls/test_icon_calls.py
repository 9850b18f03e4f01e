"""How many icons fit into one response."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import cast

import pytest

from garcon.calls.icons import ICONS_LIMIT, IconCalls
from garcon.desktop.pictures import Icon, IconFormat
from garcon.parts import GarconParts
from guestlink.pb import container_guest_pb2 as pb
from guestlink.rpc import RECEIVE_LIMIT


def _calls(sizes: dict[str, int]) -> IconCalls:
    """The calls of a garcon whose applications have icons of these sizes in bytes, by id."""

    def find(name: str, size: int, scale: int) -> Icon:
        return Icon(bytes(sizes[name]), IconFormat.PNG)

    entries = SimpleNamespace(find=lambda desktop_file_id: ("", SimpleNamespace(icon=desktop_file_id)))
    return IconCalls(cast(GarconParts, SimpleNamespace(entries=entries, icons=SimpleNamespace(find=find))))


async def test_a_small_icon_after_a_large_one_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    sizes = {"first": RECEIVE_LIMIT - 1000, "large": 2000, "small": 100}
    with caplog.at_level(logging.WARNING):
        response = await _calls(sizes).get_icon(pb.IconRequest(desktop_file_ids=list(sizes)))
    assert [icon.desktop_file_id for icon in response.desktop_icons] == ["first", "small"]
    assert "icons left out of one response" in caplog.text


async def test_long_ids_count_for_the_responses_size() -> None:
    ids = [f"{number:0255}" for number in range(ICONS_LIMIT)]
    sizes = dict.fromkeys(ids, RECEIVE_LIMIT // ICONS_LIMIT)
    response = await _calls(sizes).get_icon(pb.IconRequest(desktop_file_ids=ids))
    assert 0.9 * RECEIVE_LIMIT < response.ByteSize() <= RECEIVE_LIMIT


async def test_ids_above_the_limit_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    sizes = {str(number): 10 for number in range(ICONS_LIMIT + 1)}
    with caplog.at_level(logging.WARNING):
        response = await _calls(sizes).get_icon(pb.IconRequest(desktop_file_ids=list(sizes)))
    assert len(response.desktop_icons) == ICONS_LIMIT
    assert f"{ICONS_LIMIT + 1} icons" in caplog.text

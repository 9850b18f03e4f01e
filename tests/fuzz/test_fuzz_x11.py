"""For any bytes of an X server, the connection returns messages or raises one error."""

from __future__ import annotations

import contextlib
import struct

from hypothesis import given
from hypothesis import strategies as st

from sommelier_shim.xwayland.x11.connection import X11Connection
from sommelier_shim.xwayland.x11.layout import X11WireError
from sommelier_shim.xwayland.x11.messages import GetProperty, MapWindow, QueryTree, RandRGetMonitors
from support.fuzzing import ROUND
from support.x_stand_in import BEGIN

REQUESTED = (MapWindow(5), QueryTree(5), GetProperty(False, 5, 1, 0, 0, 9))
"""What the client has requested when the server's bytes come."""
HEADERS = st.builds(
    lambda kind, first, number, words: struct.pack("<BBHI", kind, first, number, words),
    st.one_of(st.sampled_from((0, 1, 17, 20, 28, 33, 35, 64, 0x80 | 33)), st.integers(0, 255)),
    st.integers(0, 255),
    st.one_of(st.integers(8, 14), st.integers(0, 0xFFFF)),
    st.one_of(st.integers(0, 4), st.integers(0, 2**32 - 1)),
)
PACKETS = st.lists(st.builds(bytes.__add__, HEADERS, st.binary(min_size=24, max_size=40)), max_size=6).map(b"".join)


@ROUND
@given(data=st.one_of(PACKETS, st.binary(max_size=300)), cut=st.integers(0, 300))
def test_any_bytes_after_the_set_up(data: bytes, cut: int) -> None:
    client = X11Connection()
    client.receive(BEGIN)
    for request in REQUESTED:
        client.request(request)
    with contextlib.suppress(X11WireError):
        found = client.receive(data[:cut])
        found += client.receive(data[cut:])
        assert len(found) <= len(data) // 32


@ROUND
@given(place=st.integers(0, len(BEGIN) - 1), byte=st.integers(0, 255))
def test_any_change_of_the_set_up(place: int, byte: int) -> None:
    client = X11Connection()
    with contextlib.suppress(X11WireError):
        client.receive(BEGIN[:place] + bytes([byte]) + BEGIN[place + 1 :])
        if client.has("RANDR"):
            client.request(RandRGetMonitors(1, True))

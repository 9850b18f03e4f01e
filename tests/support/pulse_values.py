"""Random packets of PulseAudio's native protocol, by their layouts."""

from __future__ import annotations

from hypothesis import strategies as st

from guestlink_host.border.sound import tagstruct
from guestlink_host.border.sound.commands import NONE
from guestlink_host.border.sound.layouts import PacketLayout, PacketValues
from guestlink_host.border.sound.tagstruct import FormatInfo, SampleSpec, TagKind

U32 = st.one_of(st.sampled_from([0, 1, 2, 3, NONE]), st.integers(0, NONE))
_TEXT = st.binary(max_size=12).map(lambda text: text.replace(b"\0", b""))
TEXT = st.one_of(st.none(), st.sampled_from([b"mic", b"speakers.monitor", b"@DEFAULT_SOURCE@"]), _TEXT)
KEY = st.one_of(
    st.sampled_from(
        [b"media.name", b"application.name", b"application.icon_name", b"target.object", b"media.role"]
    ),
    _TEXT,
)
PROPERTIES = st.dictionaries(KEY, st.binary(max_size=12), max_size=4)
FORMAT = st.builds(FormatInfo, st.integers(0, 255), PROPERTIES)
_KINDS: dict[TagKind, st.SearchStrategy[object]] = {
    tagstruct.U32: U32,
    tagstruct.U8: st.integers(0, 255),
    tagstruct.U64: st.integers(0, 2**64 - 1),
    tagstruct.USEC: st.integers(0, 2**64 - 1),
    tagstruct.S64: st.integers(-(2**63), 2**63 - 1),
    tagstruct.VOLUME: U32,
    tagstruct.STRING: TEXT,
    tagstruct.BOOL: st.booleans(),
    tagstruct.COOKIE: st.binary(min_size=256, max_size=256),
    tagstruct.SPEC: st.builds(SampleSpec, st.integers(0, 255), st.integers(0, 255), U32),
    tagstruct.MAP: st.binary(max_size=32),
    tagstruct.VOLUMES: st.binary(max_size=32).map(lambda data: data[: len(data) // 4 * 4]),
    tagstruct.TIMEVAL: st.binary(min_size=8, max_size=8),
    tagstruct.PROPERTIES: PROPERTIES,
    tagstruct.STRINGS: st.lists(KEY, max_size=4),
    tagstruct.FORMAT: FORMAT,
    tagstruct.FORMATS: st.lists(FORMAT, max_size=3),
}


def values(layout: PacketLayout) -> st.SearchStrategy[PacketValues]:
    """Values for every field of a layout."""
    return st.fixed_dictionaries(
        {
            field.name: _KINDS[field.kind]
            if isinstance(field.kind, TagKind)
            else st.lists(values(field.kind), max_size=2)
            for field in layout
        }
    )


_PLAIN: dict[TagKind, object] = {
    tagstruct.STRING: b"name",
    tagstruct.BOOL: False,
    tagstruct.COOKIE: bytes(256),
    tagstruct.SPEC: SampleSpec(3, 2, 48000),
    tagstruct.MAP: b"\1\2",
    tagstruct.VOLUMES: bytes(8),
    tagstruct.TIMEVAL: bytes(8),
    tagstruct.PROPERTIES: {},
    tagstruct.STRINGS: [],
    tagstruct.FORMAT: FormatInfo(1, {}),
    tagstruct.FORMATS: [],
}
CHANGES: st.SearchStrategy[PacketValues] = st.fixed_dictionaries(
    {},
    optional={
        "channel": st.integers(0, 3),
        "index": st.integers(0, 3),
        "device": st.sampled_from([0, 1, NONE]),
        "device_name": TEXT,
        "name": TEXT,
        "properties": PROPERTIES,
        "keys": st.lists(KEY, max_size=3),
        "formats": st.lists(FORMAT, max_size=2),
        "monitor": st.sampled_from([NONE, NONE, 1]),
        "direct_on_input": st.sampled_from([NONE, NONE, 1]),
        "mask": U32,
        "event": U32,
    },
)
"""Values of the fields on which the filter decides."""


def plain(layout: PacketLayout, changes: PacketValues) -> PacketValues:
    """Values for every field of a layout: the changes, and the same ones always for the others."""
    found: PacketValues = {}
    for field in layout:
        if not isinstance(field.kind, TagKind):
            found[field.name] = []
            continue
        number = NONE if field.name in ("device", "monitor", "direct_on_input") else 0
        found[field.name] = changes.get(field.name, _PLAIN.get(field.kind, number))
    return found

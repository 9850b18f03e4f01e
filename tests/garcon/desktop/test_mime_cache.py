"""The MIME cache (chromeos-garcon.md §3.10; M1 to M8 of §9.6): hand-made caches, and update-mime-database's."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garcon.desktop.data_directories import mime_directories
from garcon.desktop.mime_cache import BrokenMimeCache, merge_mime_maps, parse_mime_cache
from support.needs import need

GLOBS = [
    ("*.aa", 50, "t/a"),
    ("*.bb", 50, "t/b"),
    ("*.cc", 50, "t/b"),
    ("*.dd", 60, "t/x"),
    ("*.dd", 80, "t/y"),
    ("*.dd", 50, "t/b"),
    ("*.\u2603", 50, "t/s"),
    ("*~", 50, "t/n"),
]


class CacheWriter:
    """Writes a cache that contains only a reverse suffix tree."""

    def __init__(self, globs: list[tuple[str, int, str]]) -> None:
        self.strings = {kind: 0 for _, _, kind in globs}
        self.content = bytearray(40)
        for kind in self.strings:
            self.strings[kind] = len(self.content)
            self.content += kind.encode() + b"\0"
        self.content += b"\0" * (-len(self.content) % 4)
        self.alias = len(self.content)
        self.content += struct.pack(">I", 0)
        self.tree = len(self.content)
        root: dict = {}
        for pattern, weight, kind in globs:
            node = root
            for char in reversed(pattern[1:]):
                node = node.setdefault(ord(char), {})
            node.setdefault(0, []).append((self.strings[kind], weight))
        self.content += bytes(8)
        count, first = self._children(root)
        self.put(self.tree, count)
        self.put(self.tree + 4, first)
        self.put(4, self.alias)
        self.put(16, self.tree)

    def _children(self, node: dict) -> tuple[int, int]:
        rows = [(0, leaf) for leaf in node.get(0, [])] + [(char, child) for char, child in node.items() if char]
        first = len(self.content)
        self.content += bytes(12 * len(rows))
        for index, (char, value) in enumerate(rows):
            at = first + 12 * index
            if char:
                count, offset = self._children(value)
                self.content[at : at + 12] = struct.pack(">III", char, count, offset)
            else:
                self.content[at : at + 12] = struct.pack(">III", 0, *value)
        return len(rows), first

    def put(self, offset: int, number: int) -> None:
        struct.pack_into(">I", self.content, offset, number)

    def parse(self) -> dict[str, str]:
        return parse_mime_cache(bytes(self.content))


def test_each_extension_has_the_type_of_the_largest_weight() -> None:
    """Case M1 (chromeos-garcon.md §9.6)."""
    assert CacheWriter(GLOBS).parse() == {"aa": "t/a", "bb": "t/b", "cc": "t/b", "dd": "t/y", "\u2603": "t/s"}


def test_on_a_tie_the_first_one_stays() -> None:
    assert CacheWriter([("*.a", 50, "t/1"), ("*.a", 50, "t/2")]).parse() == {"a": "t/1"}


@pytest.mark.parametrize("content", [b"", b"x" * 39])
def test_a_cache_that_is_too_short_is_broken(content: bytes) -> None:
    """Case M2 (chromeos-garcon.md §9.6)."""
    with pytest.raises(BrokenMimeCache):
        parse_mime_cache(content)


def test_broken_offsets_reject_the_file() -> None:
    """Cases M3 to M7 (chromeos-garcon.md §9.6)."""

    def broken(offset_of: str, number: int) -> None:
        writer = CacheWriter(GLOBS)
        first = struct.unpack_from(">I", writer.content, writer.tree + 4)[0]
        leaf = next(
            at
            for at in range(first, len(writer.content) - 11, 12)
            if struct.unpack_from(">I", writer.content, at)[0] == 0
        )
        place = {
            "alias": 4,
            "tree": 16,
            "count": writer.tree,
            "first": writer.tree + 4,
            "char": first,
            "children": first + 4,
            "mime": leaf + 4,
        }[offset_of]
        writer.put(place, number)
        with pytest.raises(BrokenMimeCache):
            writer.parse()

    for number in (39, 10**6):
        broken("alias", number)
    broken("tree", 81)
    for place in ("count", "char", "children"):
        broken(place, 0x110000)
    broken("first", 40)
    broken("first", 10**6)
    broken("mime", 39)
    broken("mime", CacheWriter(GLOBS).alias)


def test_the_strings_must_be_terminated() -> None:
    """Case M3 (chromeos-garcon.md §9.6)."""
    writer = CacheWriter(GLOBS)
    writer.content[writer.alias - 1] = ord("x")
    with pytest.raises(BrokenMimeCache, match="terminated"):
        writer.parse()


def test_a_tree_that_leads_into_itself_ends() -> None:
    writer = CacheWriter([("*.a", 50, "t/a")])
    first = struct.unpack_from(">I", writer.content, writer.tree + 4)[0]
    writer.put(first + 4, 30_000)
    writer.put(first + 8, first)
    with pytest.raises(BrokenMimeCache):
        writer.parse()


def test_a_tree_of_leaves_ends() -> None:
    writer = CacheWriter([("*.a", 50, "t/a")])
    writer.content += bytes(12 * 200_000)
    writer.put(writer.tree, 200_000)
    for at in range(len(writer.content) - 12 * 200_000, len(writer.content), 12):
        struct.pack_into(">III", writer.content, at, 0, 40, 50)
    writer.put(writer.tree + 4, len(writer.content) - 12 * 200_000)
    with pytest.raises(BrokenMimeCache, match="leaves"):
        writer.parse()


def test_a_type_that_is_too_long_costs_only_itself() -> None:
    assert CacheWriter(
        [("*.a", 50, "t/" + "a" * 253), ("*.b", 50, "t/" + "a" * 254), ("*.c", 1, "t/c")]
    ).parse() == {
        "a": "t/" + "a" * 253,
        "c": "t/c",
    }


def test_a_suffix_that_is_too_long_is_not_followed() -> None:
    assert CacheWriter(
        [("*." + "a" * 99, 50, "t/a"), ("*." + "b" * 100, 50, "t/b"), ("*.c", 1, "t/c")]
    ).parse() == {
        "a" * 99: "t/a",
        "c": "t/c",
    }


def test_only_suffixes_with_a_dot_count_and_their_case_stays() -> None:
    globs = [("*.tar.gz", 50, "t/z"), ("*.C", 50, "t/c"), ("*.", 50, "t/d"), ("*x.y", 50, "t/x")]
    assert CacheWriter(globs).parse() == {"tar.gz": "t/z", "C": "t/c"}


def test_the_users_types_precede_the_systems() -> None:
    """Case M8 (chromeos-garcon.md §9.6)."""
    assert merge_mime_maps([{"a": "1", "b": "2"}, {"a": "3"}]) == {"a": "3", "b": "2"}
    assert merge_mime_maps([{"a": "1"}, None]) == {"a": "1"}
    # The original sends nothing here; a partial map is better (chromeos-garcon.md §8.2).
    assert merge_mime_maps([None, {"a": "3"}]) == {"a": "3"}
    assert merge_mime_maps([None, None]) is None


def test_what_other_data_directories_add_lies_between_the_systems_and_the_users() -> None:
    environ = {"HOME": "/u", "XDG_DATA_DIRS": "/u/.local/share:/first:/second:/usr/share"}
    assert mime_directories(environ) == ["/usr/share/mime", "/second/mime", "/first/mime", "/u/.local/share/mime"]
    assert mime_directories({"HOME": "/u"}) == [
        "/usr/share/mime",
        "/usr/local/share/mime",
        "/u/.local/share/mime",
    ]


@pytest.mark.interop
def test_what_update_mime_database_writes_is_read(tmp_path: Path) -> None:
    need("update-mime-database", packages="shared-mime-info")
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "own.xml").write_text(
        '<?xml version="1.0"?><mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">'
        '<mime-type type="application/x-guestlink"><glob pattern="*.guestlink"/>'
        '<glob pattern="*.Guest.LINK" case-sensitive="true"/><glob pattern="literal"/></mime-type></mime-info>'
    )
    subprocess.run(["update-mime-database", str(tmp_path)], check=True, timeout=60, capture_output=True)
    found = parse_mime_cache((tmp_path / "mime.cache").read_bytes())
    assert found["guestlink"] == "application/x-guestlink"
    assert found["Guest.LINK"] == "application/x-guestlink"
    assert not any("literal" in extension for extension in found)
    system = parse_mime_cache(Path("/usr/share/mime/mime.cache").read_bytes())
    assert system["tar.gz"] == "application/x-compressed-tar"
    assert len(system) > 500


@given(st.binary(max_size=200), st.integers(0, 300))
def test_any_bytes_are_a_map_or_one_error(content: bytes, at: int) -> None:
    whole = bytearray(CacheWriter(GLOBS).content)
    whole[at : at + len(content)] = content
    for candidate in (content, bytes(whole)):
        try:
            parse_mime_cache(candidate)
        except BrokenMimeCache:
            pass


def test_a_cache_without_types_is_empty() -> None:
    """The alias list and the tree follow the header."""
    content = bytearray(48)
    struct.pack_into(">I", content, 4, 40)
    struct.pack_into(">I", content, 16, 40)
    struct.pack_into(">II", content, 40, 0, 48)
    assert parse_mime_cache(bytes(content)) == {}


def test_a_tree_of_too_many_nodes_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("garcon.desktop.mime_cache._NODE_LIMIT", 3)
    assert CacheWriter([("*.ab", 50, "t/a")]).parse() == {"ab": "t/a"}
    with pytest.raises(BrokenMimeCache, match="more than 3 nodes"):
        CacheWriter([("*.abc", 50, "t/a")]).parse()


@pytest.mark.parametrize("character", [0xD800, 0xDFFF])
def test_a_surrogate_is_no_character(character: int) -> None:
    writer = CacheWriter([("*.a", 50, "t/a")])
    writer.put(writer.tree + 8, character)
    with pytest.raises(BrokenMimeCache, match="surrogate"):
        writer.parse()

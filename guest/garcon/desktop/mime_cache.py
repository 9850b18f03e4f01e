"""Reads file name extensions and their MIME types from shared-mime-info's ``mime.cache``. Pure.

The file is binary and big-endian; its suffix tree stores names backwards. A violation of any rule rejects the whole
file (chromeos-garcon.md §3.10).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

SIZE_LIMIT = 10 * 1024 * 1024
"""Bytes of a cache file."""
HEADER_SIZE = 40
_ALIAS_LIST_AT, _SUFFIX_TREE_AT = 4, 16
_CODE_POINT_LIMIT = 0x10FFFF
_NODE_LIMIT = 30_000
_LEAF_LIMIT = 100_000
"""Leaves; ChromeOS's garcon has no such limit, but a tree whose nodes share children is practically endless."""
_TYPE_LIMIT = 255
"""Bytes of a MIME type (RFC 6838 allows two names of 127); longer ones are skipped."""
_SUFFIX_LIMIT = 100
"""Bytes of a suffix with its dot; a longer one is not followed."""


class BrokenMimeCache(ValueError):
    """The content breaks a rule of the format; the text says which."""


def parse_mime_cache(content: bytes) -> dict[str, str]:
    """Read the extensions.

    :param content: the file.
    :returns: MIME type by extension without its first dot, as in ``{"tar.gz": "application/x-compressed-tar"}``.
    :raises BrokenMimeCache: the file is rejected.
    """
    return _Parser(content).parse()


def merge_mime_maps(maps: Iterable[dict[str, str] | None]) -> dict[str, str] | None:
    """Merge maps; entries of later maps replace those of earlier ones.

    ``None`` stands for a missing or broken file and is skipped; ChromeOS's garcon sends nothing without a valid
    system file (chromeos-garcon.md §8.2).

    :returns: ``None`` if there is no map at all.
    """
    there = [mapping for mapping in maps if mapping is not None]
    return {extension: kind for mapping in there for extension, kind in mapping.items()} if there else None


class _Parser:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._nodes = 0
        self._leaves = 0
        self._best: dict[str, tuple[int, str]] = {}

    def parse(self) -> dict[str, str]:
        size = len(self._content)
        if not HEADER_SIZE <= size <= SIZE_LIMIT:
            raise BrokenMimeCache(f"{size} bytes are no cache")
        self._aliases = self._number(_ALIAS_LIST_AT)
        if not HEADER_SIZE <= self._aliases <= size:
            raise BrokenMimeCache("the alias list lies outside")
        if self._content[self._aliases - 1] != 0:
            raise BrokenMimeCache("the strings are not terminated")
        self._tree = self._number(_SUFFIX_TREE_AT)
        self._walk_children(self._count(self._tree), self._child_offset(self._tree + 4))
        return {extension: kind for extension, (_, kind) in self._best.items()}

    def _walk_children(self, count: int, offset: int) -> None:
        # A stack of (nodes left, offset of the next, suffix so far), because the file decides the tree's depth.
        pending = [(count, offset, "")]
        while pending:
            left, offset, suffix = pending.pop()
            if left == 0:
                continue
            pending.append((left - 1, offset + 12, suffix))
            character = self._count(offset)
            if character == 0:
                self._leaf(offset, suffix)
                continue
            self._nodes += 1
            if self._nodes > _NODE_LIMIT:
                raise BrokenMimeCache(f"more than {_NODE_LIMIT} nodes")
            if 0xD800 <= character <= 0xDFFF:
                raise BrokenMimeCache("a surrogate is no character")
            longer = chr(character) + suffix
            children, first = self._count(offset + 4), self._child_offset(offset + 8)
            if len(longer.encode()) <= _SUFFIX_LIMIT:
                pending.append((children, first, longer))

    def _leaf(self, offset: int, suffix: str) -> None:
        self._leaves += 1
        if self._leaves > _LEAF_LIMIT:
            raise BrokenMimeCache(f"more than {_LEAF_LIMIT} leaves")
        at = self._number(offset + 4)
        if not HEADER_SIZE <= at < self._aliases:
            raise BrokenMimeCache("a MIME type lies outside")
        weight = self._number(offset + 8) & 0xFF
        if not suffix.startswith(".") or len(suffix) < 2:
            return
        end = self._content.find(b"\0", at, at + _TYPE_LIMIT + 1)
        if end < 0:
            return
        kind = self._content[at:end].decode(errors="replace")
        extension = suffix[1:]
        if extension not in self._best or weight > self._best[extension][0]:
            self._best[extension] = (weight, kind)

    def _number(self, offset: int) -> int:
        if offset % 4 or not 0 <= offset <= len(self._content) - 4:
            raise BrokenMimeCache(f"there is no number at {offset}")
        number: int = struct.unpack_from(">I", self._content, offset)[0]
        return number

    def _count(self, offset: int) -> int:
        number = self._number(offset)
        if number > _CODE_POINT_LIMIT:
            raise BrokenMimeCache(f"{number} at {offset} is too large")
        return number

    def _child_offset(self, at: int) -> int:
        offset = self._number(at)
        if not self._tree <= offset <= len(self._content):
            raise BrokenMimeCache("a child lies outside")
        return offset

"""Checks the icons that a container sends, strips needless parts and marks them as ours. Pure.

The user's desktop decodes these files with libraries in C, in processes that matter more than ours. So only plain
pictures pass: PNG of limited size with only its drawing chunks, and SVG that refers to nothing outside itself.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape

SIZE_LIMIT = 1024 * 1024
"""Bytes of one picture (chromeos-garcon.md §4)."""
SIDE_LIMIT = 1024
"""Pixels of one side; twice the largest directory of the hicolor theme."""

REQUESTS = ((48, 1), (128, 1))
"""Sizes and scales to request: for menus and lists; for overviews and docks, also on high-density displays."""

_DIRECTORIES = (16, 22, 24, 32, 36, 48, 64, 72, 96, 128, 192, 256, 512)
"""Sizes that the hicolor theme's index lists; desktops find no file in another directory."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"sRGB", b"cHRM", b"sBIT", b"IDAT", b"IEND"})
_KEYWORD = b"Guestlink-Container"
_COMMENT = "<!-- Guestlink-Container: "

_DEPTH_LIMIT, _ELEMENT_LIMIT = 64, 20_000
_ENTITIES_LIMIT, _ENTITY_LIMIT = 100, 1000
"""Entities that an SVG declares, and characters of one of them."""
_ENTITY = re.compile(rb"&([^\s&;<>]{1,100});")
_PREDEFINED = frozenset({"lt", "gt", "amp", "quot", "apos"})
_SVG = "http://www.w3.org/2000/svg"
_FORBIDDEN = frozenset({"script", "foreignobject", "iframe", "audio", "video", "handler", "listener"})
_INSIDE = re.compile(r"\s*(#|data:image/(png|jpeg|gif);base64,)", re.IGNORECASE)
_URL = re.compile(r"url\(\s*['\"]?\s*(?!['\"#\s])|@import|expression\(", re.IGNORECASE)


class BadPicture(ValueError):
    """The bytes are not a picture that the desktop may decode."""


class Picture(NamedTuple):
    """A checked picture, its directory below the icon theme, and its file name's suffix."""

    directory: str
    suffix: str
    content: bytes


def check_picture(content: bytes, *, is_svg: bool, container: str) -> Picture:
    """Check a picture and mark it as belonging to a container.

    :param is_svg: whether the container calls the picture an SVG; otherwise it must be a PNG.
    :raises BadPicture: the bytes are not such a picture.
    """
    if len(content) > SIZE_LIMIT:
        raise BadPicture(f"it has more than {SIZE_LIMIT} bytes")
    if is_svg:
        content = _without_entities(content)
        _check_svg(content)
        return Picture("scalable/apps", ".svg", content.rstrip() + f"\n{_COMMENT}{container} -->\n".encode())
    chunks, side = _png_chunks(content)
    marker = _chunk(b"tEXt", _KEYWORD + b"\0" + container.encode())
    kept = b"".join(_chunk(kind, data) + (marker if kind == b"IHDR" else b"") for kind, data in chunks)
    nearest = min(_DIRECTORIES, key=lambda size: (abs(size - side), -size))
    return Picture(f"{nearest}x{nearest}/apps", ".png", _SIGNATURE + kept)


def owner_of(content: bytes) -> str | None:
    """The container's name from a picture's mark; ``None`` if the picture is not ours."""
    if content.startswith(_SIGNATURE):
        # The mark is always the second chunk: after the signature and the 25 bytes of IHDR.
        beginning = b"tEXt" + _KEYWORD + b"\0"
        if content[37 : 37 + len(beginning)] != beginning:
            return None
        (length,) = struct.unpack_from(">I", content, 33)
        return content[37 + len(beginning) : 41 + length].decode(errors="replace")
    tail = content[-256:].decode(errors="replace")
    svg = re.search(re.escape(_COMMENT) + r"([A-Za-z0-9_.-]{1,63}) -->\n$", tail)
    return svg[1] if svg else None


def _png_chunks(content: bytes) -> tuple[list[tuple[bytes, bytes]], int]:
    """The chunks to keep, and the longer side in pixels."""
    if not content.startswith(_SIGNATURE):
        raise BadPicture("it is not a PNG")
    chunks: list[tuple[bytes, bytes]] = []
    position = len(_SIGNATURE)
    while not chunks or chunks[-1][0] != b"IEND":
        if len(content) < position + 12:
            raise BadPicture("the PNG is cut off")
        length, kind = struct.unpack_from(">I4s", content, position)
        data = content[position + 8 : position + 8 + length]
        position += 12 + length
        if len(content) < position:
            raise BadPicture("the PNG is cut off")
        if zlib.crc32(kind + data) != struct.unpack_from(">I", content, position - 4)[0]:
            raise BadPicture("the PNG is damaged")
        if not chunks and (kind != b"IHDR" or length != 13):
            raise BadPicture("the PNG has no header")
        if kind in _KEPT_CHUNKS:
            chunks.append((kind, data))
        elif not kind[0] & 0x20:
            raise BadPicture(f"the PNG has an unknown chunk {kind!r}")
    if sum(kind == b"IHDR" for kind, _ in chunks) != 1 or not any(kind == b"IDAT" for kind, _ in chunks):
        raise BadPicture("the PNG has no picture")
    width, height = struct.unpack_from(">II", chunks[0][1])
    if not 1 <= min(width, height) <= max(width, height) <= SIDE_LIMIT:
        raise BadPicture(f"{width} x {height} pixels are no icon")
    return chunks, max(width, height)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _without_entities(content: bytes) -> bytes:
    """Replace the entities that an SVG declares by their texts, and remove the declarations.

    Inkscape and Illustrator declare namespaces in this way. The texts must be plain, so that one entity cannot
    multiply another one; :func:`_check_svg` checks the result.

    :raises BadPicture: an entity is not a plain text, or the result is too long.
    """
    if b"<!ENTITY" not in content:
        return content
    entities: dict[bytes, bytes] = {}
    start, end = _declarations(content, entities)
    length = len(content)

    def text_of(reference: re.Match[bytes]) -> bytes:
        nonlocal length
        text = entities.get(reference[1], reference[0])
        length += len(text) - len(reference[0])
        if length > SIZE_LIMIT:
            raise BadPicture(f"with its entities it has more than {SIZE_LIMIT} bytes")
        return text

    return content[:start] + _ENTITY.sub(text_of, content[end:])


def _declarations(content: bytes, entities: dict[bytes, bytes]) -> tuple[int, int]:
    """Read the declarations of entities, and nothing after them.

    :param entities: gets the texts by name, escaped.
    :returns: where the declarations begin and end.
    """
    parser = expat.ParserCreate("utf-8")
    places: list[int] = []

    def entity(name: str, is_parameter: int, value: str | None, *_rest: object) -> None:
        if is_parameter or value is None or any(char in "&<%" for char in value):
            raise BadPicture("the SVG declares an entity that is not a plain text")
        if len(entities) >= _ENTITIES_LIMIT or len(value) > _ENTITY_LIMIT:
            raise BadPicture("the SVG declares too many entities")
        if name not in _PREDEFINED:
            entities.setdefault(name.encode(), escape(value, {'"': "&quot;", "'": "&apos;"}).encode())

    def doctype_ends() -> None:
        places.append(parser.CurrentByteIndex)
        raise _EndOfDeclarations

    parser.StartDoctypeDeclHandler = lambda *_: places.append(parser.CurrentByteIndex)
    parser.EntityDeclHandler = entity
    parser.EndDoctypeDeclHandler = doctype_ends
    try:
        parser.Parse(content, True)
    except _EndOfDeclarations:
        pass
    except expat.ExpatError as error:
        raise BadPicture(f"the SVG is not well-formed: {error}") from error
    if len(places) != 2 or content[places[0] : places[0] + 1] != b"[" or content[places[1] : places[1] + 1] != b">":
        raise BadPicture("the SVG's declarations cannot be read")
    return places[0], places[1]


class _EndOfDeclarations(Exception):
    """The parser has read all declarations."""


def _check_svg(content: bytes) -> None:
    parser = expat.ParserCreate("utf-8", " ")
    checker = _SvgChecker()
    parser.XmlDeclHandler = checker.declaration
    parser.StartElementHandler = checker.start
    parser.EndElementHandler = checker.end
    parser.CharacterDataHandler = checker.text
    parser.StartDoctypeDeclHandler = checker.doctype
    parser.EntityDeclHandler = checker.entity
    parser.ProcessingInstructionHandler = checker.instruction
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise BadPicture(f"the SVG is not well-formed: {error}") from error


class _SvgChecker:
    """Refuses an SVG that refers to another file, contains a script, declares entities or has too many elements."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._elements = 0
        self._style: list[str] = []

    def declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        # We parse UTF-8; with another declared encoding a renderer would read another text.
        if encoding is not None and encoding.lower() not in ("utf-8", "us-ascii"):
            raise BadPicture("the SVG is not UTF-8")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        namespace, _, local = name.rpartition(" ")
        self._elements += 1
        if not self._open and (local != "svg" or namespace not in ("", _SVG)):
            raise BadPicture("it is not an SVG")
        if self._elements > _ELEMENT_LIMIT or len(self._open) >= _DEPTH_LIMIT:
            raise BadPicture("the SVG has too many elements for an icon")
        if local.lower() in _FORBIDDEN:
            raise BadPicture(f"the SVG has an element <{local}>")
        self._open.append(local)
        for attribute, value in attributes.items():
            key = attribute.rpartition(" ")[2].lower()
            if key.startswith("on"):
                raise BadPicture("the SVG has a script")
            if key in ("href", "src") and local.lower() != "a" and value and not _INSIDE.match(value):
                raise BadPicture("the SVG refers to another file")
            self._check_style(value)

    def end(self, name: str) -> None:
        if self._open.pop() == "style":
            self._check_style("".join(self._style))
            self._style.clear()

    def text(self, text: str) -> None:
        if self._open and self._open[-1] == "style":
            self._style.append(text)

    def doctype(self, _name: str, _system: str | None, _public: str | None, has_internal_subset: int) -> None:
        if has_internal_subset:
            raise BadPicture("the SVG declares entities")

    def entity(self, *_declaration: object) -> None:
        raise BadPicture("the SVG declares entities")

    def instruction(self, target: str, _data: str) -> None:
        if target.lower() == "xml-stylesheet":
            raise BadPicture("the SVG refers to another file")

    @staticmethod
    def _check_style(text: str) -> None:
        # A CSS escape (a backslash) could hide one of the words from the pattern.
        if _URL.search(text) or ("\\" in text and "url" in text.lower()):
            raise BadPicture("the SVG refers to another file")

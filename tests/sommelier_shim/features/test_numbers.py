"""``protocols/numbers.txt`` describes every number of every message, and the proxy treats each as described."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from sommelier_shim import protocols
from sommelier_shim.core.layouts import event, request
from sommelier_shim.core.tables import INTERFACES
from sommelier_shim.core.wire import HEADER, WireError, decode
from sommelier_shim.features.policy.interfaces import HOST_ONLY
from support.talk import Talk

DIRECTORY = Path(protocols.__file__).parent
CONVERTED = {"surface", "parent", "popup", "cursor", "output"}
REPLACED = {"viewport", "described"}
OTHERS = {
    "angle", "bytes", "colour", "count", "device", "enum", "flag", "id", "key", "layout", "millimetres", "pixels",
    "ratio", "serial", "steps", "text", "time", "unoffered", "version",
}  # fmt: skip
NUMBER = 48


class Line(NamedTuple):
    """A message and its numbers: the arguments' names and their kinds."""

    interface: str
    kind: str
    message: str
    numbers: tuple[tuple[str, str], ...]


def _lines() -> Iterator[Line]:
    for text in (DIRECTORY / "numbers.txt").read_text().splitlines():
        if not text.startswith("#"):
            interface, kind, message, *arguments = text.split()
            numbers = [argument.partition(":") for argument in arguments]
            yield Line(interface, kind, message, tuple((name, word) for name, _, word in numbers))


def test_every_number_of_the_sources_is_in_the_list() -> None:
    """A new protocol file fails this test until somebody has classified its numbers."""
    kinds = ("int", "uint", "fixed")
    expected = [
        (interface.attrib["name"], kind, message.attrib["name"], tuple(numbers))
        for source in DIRECTORY.rglob("*.xml")
        for interface in ElementTree.parse(source).iterfind("interface")
        for kind in ("request", "event")
        for message in interface.iterfind(kind)
        if (numbers := [a.attrib["name"] for a in message.iterfind("arg") if a.get("type") in kinds])
    ]
    found = [(*line[:3], tuple(name for name, _ in line.numbers)) for line in _lines()]
    assert sorted(found) == sorted(expected)
    assert {word for line in _lines() for _, word in line.numbers} == CONVERTED | REPLACED | OTHERS


def test_what_is_not_offered_is_made_by_globals_that_are_not_offered() -> None:
    reached = set(HOST_ONLY)
    for _ in INTERFACES:
        made = {
            name
            for interface in reached
            for message in INTERFACES[interface].requests + INTERFACES[interface].events
            for letter, name in zip(message.signature.replace("?", ""), message.interfaces, strict=True)
            if letter == "n" and name
        }
        if made <= reached:
            break
        reached |= made
    assert {line.interface for line in _lines() if line.numbers[0][1] == "unoffered"} <= reached


def test_exactly_what_the_list_calls_a_length_is_converted() -> None:
    for line in _lines():
        words = [word for _, word in line.numbers]
        if line.interface in ("wl_display", "wl_registry") or REPLACED & set(words):
            assert not CONVERTED & set(words)
            continue
        changed = [value != NUMBER for value in _through(line)]
        assert changed == [word in CONVERTED for word in words], f"{line.interface}.{line.message}"


def _through(line: Line) -> list[float]:
    """The numbers of a message after it passed through a scaling proxy; before, all of them were the same."""
    is_request = line.kind == "request"
    message = (request if is_request else event)(line.interface, line.message)
    opcode = message.opcode
    talk = Talk("scaled", line.interface, is_request=is_request)
    try:
        sent = talk.message(opcode, message, is_request=is_request, number=NUMBER, fixed=NUMBER)
        talk.feed(sent, message.descriptors)
    except WireError as error:
        raise AssertionError(f"{line.interface}.{line.message}: {error}") from error
    finally:
        talk.relay.close()
    at = 0
    while at < len(talk.output):
        _, word = HEADER.unpack_from(talk.output, at)
        part = talk.output[at : at + (word >> 16)]
        if word & 0xFFFF == opcode and len(part) == len(sent):
            values = zip(message.signature, decode(message.signature, part), strict=True)
            return [value for letter, value in values if letter in "iuf" and isinstance(value, (int, float))]
        at += word >> 16
    raise AssertionError(f"{line.interface}.{line.message} did not come through")
